"""Finds the receipts of a request in the store."""

from __future__ import annotations

from typing import NamedTuple

from scheduler import calls
from scheduler.errors import NoReceiptError, StoreRejectedError, UnreadableReceiptError
from scheduler.keys import POOLS, PoolKeys
from scheduler.receipt import Receipt, read
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

PIECE = 200
"""Entries that the store looks at in one call: a millisecond or two of its time."""
MOST_PIECES_PER_KEPT = 2
"""A stream is cut at whole nodes, so it is a little longer than it need be; who made it longer still is not followed
to its end."""


class FoundReceipt(NamedTuple):
    """A receipt in a pool's stream; `written_ms` is the store's time, `intact` whether its digest fits."""

    pool: str
    entry: str
    receipt: Receipt
    intact: bool

    @property
    def written_ms(self) -> int:
        """When it was written, by the store's clock."""
        return int(self.entry.partition("-")[0])


class Findings(NamedTuple):
    """What there is of a request, in the order in which it was decided, and what could not be read, and why."""

    receipts: tuple[FoundReceipt, ...]
    unreadable: tuple[str, ...]


async def find(store: Store, request: str, settings: SchedulerSettings) -> Findings:
    """All receipts of a request, of all pools.

    Raises NoReceiptError where there is none, StoreUnavailableError, or StoreRejectedError where not even the pools'
    names can be read.
    """
    receipts: list[FoundReceipt] = []
    unreadable: list[str] = []
    for pool in sorted(name.decode(errors="replace") for name in await store.command("SMEMBERS", POOLS)):
        try:
            entries = await _entries(store, PoolKeys(pool), request, settings)
        except StoreRejectedError as error:
            unreadable.append(f"pool {pool}: {error}")
            continue
        once = {(digest, packed): entry for entry, digest, packed in entries}  # else its answer was lost
        for (digest, packed), entry in once.items():
            try:
                receipts.append(FoundReceipt(pool, entry, *read(packed, digest)))
            except UnreadableReceiptError as error:
                unreadable.append(f"pool {pool}, entry {entry}: {error}")
    if not receipts and not unreadable:
        raise NoReceiptError(_missing(request, settings))
    return Findings(tuple(receipts), tuple(unreadable))


async def _entries(
    store: Store, keys: PoolKeys, request: str, settings: SchedulerSettings
) -> list[tuple[str, str, bytes]]:
    """Entry id, digest and receipt, the oldest first."""
    found: list[tuple[str, str, bytes]] = []
    start = "+"
    for _ in range(MOST_PIECES_PER_KEPT * settings.receipts_kept // PIECE + 1):
        (reply,) = await store.run([calls.receipt_find(keys, request, start, PIECE)])
        last, *cells = reply
        each = iter(cells)
        found += [
            (entry.decode(), digest.decode(errors="replace"), packed)
            for entry, digest, packed in zip(each, each, each, strict=True)
        ]
        if not last:
            break
        start = f"({last.decode()}"
    return found[::-1]


def _missing(request: str, settings: SchedulerSettings) -> str:
    return (
        f"there is no receipt of {request!r}. Kept are those of a share of all requests (--receipt-share of the "
        "gateways) and of every request with `x-forebay-explain: 1` where a gateway has --explain; of each pool the "
        f"last {settings.receipts_kept:,}. The id is the x-request-id of the answer"
    )
