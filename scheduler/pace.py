"""How often the store is told of a pool and read: less often where it is large, so that its share stays small. Pure."""

from __future__ import annotations

LARGE_POOL_RANKS = 1_000
LARGE_POOL_SNAPSHOT_MS = 1_000
REPORT_MS_PER_RANK = 0.2
"""A rank's part of a report costs Redis about 20 µs, so that reports of the whole pool take up to a tenth of a core."""
SOONEST_REPORT_MS = 50
LATEST_REPORT_MS = 1_000
"""A sample counts whole for 2 s, so a node is heard at least every second.

One call moves pool time by at most a quarter of the lease, 500 ms, and pool time must keep up with the clock, or a
killed gateway's reservations stay for longer than 3 s. A node waits for more than 500 ms only in a pool of more than
2,500 ranks. Unless one node has nearly all of them, others report meanwhile, and each gateway that lives renews."""


def snapshot_interval_ms(ranks: int, normal_ms: int) -> int:
    """How long a gateway waits between two snapshots of a pool of that many ranks."""
    return normal_ms if ranks <= LARGE_POOL_RANKS else max(normal_ms, LARGE_POOL_SNAPSHOT_MS)


def report_interval_ms(ranks: int) -> int:
    """How long a node of a pool of that many ranks waits at least between two reports of changes."""
    return min(LATEST_REPORT_MS, max(SOONEST_REPORT_MS, round(REPORT_MS_PER_RANK * ranks)))
