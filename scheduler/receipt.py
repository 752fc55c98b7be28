"""A receipt: all that one decision depended on, and what it was, so that it can be made again. Pure.

It holds nothing of a prompt but how long it was, and how much of it ranks were believed to hold. Its digest shows that
it is as it was written; whoever may write into the store can make a new one, so what a receipt says is also recomputed
(receipt_check.py).
"""

from __future__ import annotations

import zlib
from enum import StrEnum
from hashlib import blake2b

import msgspec

from scheduler.decision import Ask, Candidate, PricedRank, RequestShape
from scheduler.errors import UnreadableReceiptError
from scheduler.known_rank import KnownRank
from scheduler.loads import Loads
from scheduler.reservation import Reservation

RECEIPT_VERSION = 2
LARGEST_BYTES = 4_000_000
"""Of a receipt once it is unpacked. A request has at most some 50 candidates, of less than a KiB each."""


class Verdict(StrEnum):
    """What the answer was."""

    PLACE = "place"
    WAIT = "wait"
    REJECT = "reject"


class RankRows(msgspec.Struct, frozen=True, array_like=True):
    """The rows of one candidate that the script read (scripts/receipt.lua); empty for none."""

    load: str
    seen: str
    group: str


class Receipt(msgspec.Struct, frozen=True, kw_only=True):
    """One decision: a placement, or the rebinding of the reservation that is `held`.

    Who decided: `gateway`, by the rules of `policy` as of the release that `rules` names (rules_version.py), `alone`
    without the ledger. From what: the request's `shape`, the ranks to `avoid`, the gateway's `turn`, the chance that
    `seed` gives, and a snapshot (`epoch`, `version`, read at pool time `snapshot_ms`) by whose loads at `pool_ms` it
    priced `priced` of `eligible` ranks, with the `least_queue_s` of these. `known` are those that were asked about,
    `left_out` those to avoid since their breakers are not closed.
    What was asked: `ask`. What the store saw: `rows`, at its own pool time `rows_ms`, and `loads`, read from them;
    alone, `believed` by rank. The decision: `verdict`, `legs` as positions in the ask from 1 on, `cost_s`.
    """

    v: int = RECEIPT_VERSION
    request: str
    pool: str
    gateway: str
    policy: str
    rules: str
    connectors: tuple[str, ...]
    shape: RequestShape
    avoid: tuple[str, ...]
    turn: int
    seed: int
    epoch: str
    version: int
    snapshot_ms: int
    pool_ms: float
    eligible: int
    priced: int
    least_queue_s: float
    known: tuple[KnownRank, ...]
    held: Reservation | None = None
    left_out: tuple[str, ...] = ()
    ask: Ask
    rows_ms: int = 0
    rows: tuple[RankRows, ...] = ()
    believed: dict[str, Loads] = {}
    alone: bool = False
    verdict: Verdict
    legs: tuple[int, ...]
    cost_s: float
    loads: tuple[PricedRank, ...]
    reservation: int

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """All that were asked about, in the order that `legs` count in."""
        return (*self.ask.singles, *self.ask.prefills, *self.ask.decodes)

    @property
    def chosen(self) -> tuple[Candidate, ...]:
        """Those that were chosen, in the order in which they start; raises IndexError where there are none such."""
        return tuple(self.candidates[place - 1] for place in self.legs)

    @property
    def is_whole(self) -> bool:
        """Whether every rank that could have been chosen is in it, so that all of the decision can be made again."""
        return not self.alone and len({each.rank for each in self.candidates}) == self.eligible


class WrittenReceipt(msgspec.Struct, frozen=True):
    """A receipt as it stands in the stream."""

    request: str
    digest: str
    packed: bytes


def write(receipt: Receipt) -> WrittenReceipt:
    """A receipt, packed, with its digest."""
    text = msgspec.json.encode(receipt)
    return WrittenReceipt(receipt.request, digest(text), zlib.compress(text))


def read(packed: bytes, written_digest: str) -> tuple[Receipt, bool]:
    """A receipt of the stream, and whether its digest fits. Raises UnreadableReceiptError."""
    try:
        unpacking = zlib.decompressobj()
        text = unpacking.decompress(packed, LARGEST_BYTES)
        if not unpacking.eof:
            raise UnreadableReceiptError("it is cut off, or too long")
        version = msgspec.json.decode(text, type=_Versioned).v
        if version != RECEIPT_VERSION:
            raise UnreadableReceiptError(f"it is of version {version}; this release reads {RECEIPT_VERSION}")
        receipt = msgspec.json.decode(text, type=Receipt)
    except (zlib.error, msgspec.MsgspecError, ValueError, RecursionError) as error:
        raise UnreadableReceiptError(str(error)) from error
    return receipt, digest(text) == written_digest


class _Versioned(msgspec.Struct):
    v: int


def digest(text: bytes) -> str:
    """Of a receipt's JSON."""
    return blake2b(text, digest_size=16).hexdigest()
