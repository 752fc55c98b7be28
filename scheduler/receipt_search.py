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
    """What there is of a request, in the order in which it was decided.

    `unreadable`: receipts under its id that cannot be read, and why. `strange`: what has no request's id, so nobody can
    say whose it is; and pools of which nothing can be read, which is no matter where receipts are found in another.
    """

    receipts: tuple[FoundReceipt, ...]
    unreadable: tuple[str, ...]
    strange: tuple[str, ...]


async def find(store: Store, request: str, settings: SchedulerSettings) -> Findings:
    """All receipts of a request, of all pools.

    Raises NoReceiptError where there is none, StoreUnavailableError, or StoreRejectedError where not even the pools'
    names can be read.
    """
    receipts: list[FoundReceipt] = []
    unreadable: list[str] = []
    strange: list[str] = []
    for pool in sorted(name.decode(errors="replace") for name in await store.command("SMEMBERS", POOLS)):
        try:
            entries, nameless = await _entries(store, PoolKeys(pool), request, settings)
        except StoreRejectedError as error:
            strange.append(f"pool {pool} cannot be read: {error}")
            continue
        if nameless:
            strange.append(f"pool {pool}: entries without a request's id among its receipts: {nameless:,}")
        once = {(digest, packed): entry for entry, digest, packed in entries}  # else its answer was lost
        for (digest, packed), entry in once.items():
            try:
                receipts.append(FoundReceipt(pool, entry, *read(packed, digest)))
            except UnreadableReceiptError as error:
                unreadable.append(f"pool {pool}, entry {entry}: {error}")
    if not receipts and not unreadable:
        raise NoReceiptError("; ".join([_missing(request, settings), *strange]))
    return Findings(tuple(receipts), tuple(unreadable), tuple(strange))


async def _entries(
    store: Store, keys: PoolKeys, request: str, settings: SchedulerSettings
) -> tuple[list[tuple[str, str, bytes]], int]:
    """Entry id, digest and receipt, the oldest first; and how many entries have no request's id."""
    found: list[tuple[str, str, bytes]] = []
    nameless = 0
    start = "+"
    for _ in range(MOST_PIECES_PER_KEPT * settings.receipts_kept // PIECE + 1):
        (reply,) = await store.run([calls.receipt_find(keys, request, start, PIECE)])
        last, more, *cells = reply
        nameless += more
        each = iter(cells)
        found += [
            (entry.decode(), digest.decode(errors="replace"), packed)
            for entry, digest, packed in zip(each, each, each, strict=True)
        ]
        if not last:
            break
        start = f"({last.decode()}"
    return found[::-1], nameless


def _missing(request: str, settings: SchedulerSettings) -> str:
    return (
        f"there is no receipt of {request!r}. Kept are those of a share of all requests (--receipt-share of the "
        "gateways) and of every request with `x-forebay-explain: 1` where a gateway has --explain; of each pool the "
        f"last {settings.receipts_kept:,}. The id is the x-request-id of the answer"
    )
