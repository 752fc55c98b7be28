"""When a node's next report is due. Pure.

Reports cost the store time, so it says in each reply how often it wants one. Health does not wait for that: a rank that
went down or restarted costs requests.
"""

from __future__ import annotations

from agent.node_report import NodeReport

LEAST_GAP_S = 0.05
"""Between two reports of a node, whatever happens or is wished for."""
_LONGEST_INTERVAL_S = 1.0
"""A sample counts whole for 2 s, so a node is heard at least every second; what pool time needs:
scheduler/pace.py."""


def interval_s(wanted_ms: int) -> float:
    """How often to report load at most, where the store wants it each `wanted_ms`: within 50 ms and 1 s."""
    return min(max(LEAST_GAP_S, wanted_ms / 1e3), _LONGEST_INTERVAL_S)


def due_at_s(sent: NodeReport, latest: NodeReport, *, sent_at_s: float, heartbeat_s: float, wanted_s: float) -> float:
    """When `latest` is due, if `sent` left at `sent_at_s` and the store wants a report each `wanted_s`."""
    if latest.states != sent.states:
        return sent_at_s + LEAST_GAP_S
    if latest.facts != sent.facts:
        return sent_at_s + wanted_s
    return sent_at_s + max(wanted_s, heartbeat_s)
