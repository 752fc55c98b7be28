"""The calls of the ledger's scripts, one builder a script: keys and arguments in the order it reads them. Pure.

What an argument means, and what the reply says, stands at the head of scripts/<name>.lua.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import msgspec

from scheduler.ask_columns import ask_json
from scheduler.decision import Ask
from scheduler.group_generation import NONE, SILENT_MS, Generation
from scheduler.keys import PoolKeys
from scheduler.lua import Script
from scheduler.messages import RankCard, RankReport, Source
from scheduler.prefix_calibration import CacheBelief
from scheduler.rows import PUSHED

Word = str | bytes | int | float
Reply = Any
"""What Redis answers: bytes, int, None, or a list of these."""

AS_READ = "surrogateescape"
"""What should be text is told again to the last byte, or nothing would take the place of what is none."""

ReportRow = tuple[str, str, str, int, int, int, float, str, int, int, str, str]
"""What report.lua is told of one rank."""


class Call(NamedTuple):
    """One script call."""

    script: Script
    keys: tuple[str, ...]
    args: tuple[Word, ...]


class Head(NamedTuple):
    """The first arguments of what a gateway tells: `gateway` is its name since its last statement, `number` the call's
    place among the calls under that name, from 1 on.
    """

    epoch: str
    lease_ms: int
    gateway: str
    number: int


class GroupMemberRow(NamedTuple):
    """Who a member of a DP group is, and which ranks it has: `ranks` from `first` on, of `size`."""

    name: str
    instance: str
    first: int
    ranks: int
    size: int


def open_pool(keys: PoolKeys, epoch: str, gateways: Iterable[str] = (), *, spoilt: str = "") -> Call:
    """open.lua: `epoch` begins if the pool has none or the `spoilt` one; then the live sets of `gateways` go too."""
    head, *others = keys.of_the_epoch()
    return Call(Script.OPEN, (head, keys.drain, *others, *map(keys.live, gateways)), (epoch, spoilt))


def place(keys: PoolKeys, head: Head, reservation_id: int, ask: Ask, instead_of: int | None = None) -> Call:
    """place.lua; the reservation `instead_of` is given back in the same call."""
    former = "" if instead_of is None else instead_of
    return Call(Script.PLACE, _book(keys, head), (*head, reservation_id, ask_json(ask), former))


def rebind(keys: PoolKeys, head: Head, reservation_id: int, record: str, ask: Ask) -> Call:
    """rebind.lua; `record` is the reservation's, its prefill done."""
    return Call(Script.REBIND, _book(keys, head), (*head, reservation_id, record, ask_json(ask)))


def advance(keys: PoolKeys, head: Head, records: Mapping[int, str]) -> Call:
    """advance.lua; `records` by reservation id."""
    return Call(Script.ADVANCE, _book(keys, head), (*head, *_pairs(records)))


def release(keys: PoolKeys, head: Head, reservation_ids: Iterable[int]) -> Call:
    """release.lua."""
    return Call(Script.RELEASE, _book(keys, head), (*head, *reservation_ids))


def renew(keys: PoolKeys, head: Head, count: int, id_sum: int, wish: Literal["stay", "leave"]) -> Call:
    """renew.lua; `count` and `id_sum` are of all that the gateway holds."""
    return Call(Script.RENEW, (keys.head, keys.gate, keys.lease), (*head, count, id_sum, wish))


def resync(keys: PoolKeys, head: Head, former: Sequence[str], records: Mapping[int, str]) -> Call:
    """resync.lua; `former` are the gateway's old names, `records` by reservation id."""
    names = (*_book(keys, head), keys.lease, *map(keys.live, former))
    return Call(Script.RESYNC, names, (*head, " ".join(former), *_pairs(records)))


def reap(keys: PoolKeys, epoch: str, lease_ms: int, gateway: str, limit: int) -> Call:
    """reap.lua."""
    return Call(Script.REAP, (*keys.book(keys.live(gateway)), keys.lease), (epoch, lease_ms, gateway, limit))


def report(keys: PoolKeys, epoch: str, lease_ms: int, owner: str, claim_ms: int, rows: Sequence[ReportRow]) -> Call:
    """report.lua."""
    names = (keys.head, keys.lease, keys.card, keys.load, keys.hist, keys.group, keys.change, keys.seen, keys.drain)
    return Call(Script.REPORT, names, (epoch, lease_ms, owner, claim_ms, msgspec.json.encode(rows)))


def report_row(
    report: RankReport, card: RankCard | None = None, *, drains: int = 0, belief: CacheBelief | None = None
) -> ReportRow:
    """One rank of a report; `card` goes along if it is new, `drains` is how often it was drained and undrained.

    `belief` is what is known of its prefix cache beside its odometer.
    """
    return (
        report.rank,
        report.incarnation,
        report.state.value,
        report.age_ms,
        report.running + report.waiting,
        report.kv_used_tokens,
        report.prefill_tokens_per_s,
        msgspec.json.encode(card).decode() if card else "",
        drains,
        report.running,
        _cache(report.computed_tokens, belief),
        PUSHED if report.source is Source.PUSH else "",
    )


def snapshot(keys: PoolKeys, lease_ms: int, epoch: str = "", version: int = -1) -> Call:
    """snapshot.lua: what changed since `version` of `epoch`; by default everything."""
    names = (keys.head, keys.change, keys.card, keys.seen, keys.load, keys.breaker)
    return Call(Script.SNAPSHOT, names, (lease_ms, epoch, version))


def drain(keys: PoolKeys, epoch: str, lease_ms: int, rank: str, *, undo: bool = False) -> Call:
    """drain.lua."""
    names = (keys.head, keys.seen, keys.drain, keys.change)
    return Call(Script.DRAIN, names, (epoch, lease_ms, rank, 0 if undo else 1))


def breaker(keys: PoolKeys, epoch: str, lease_ms: int, changes: Iterable[tuple[str, str, str, str]]) -> Call:
    """breaker.lua; each of the `changes` is a rank, its incarnation, its row as read, and as it is to be."""
    names = (keys.head, keys.seen, keys.breaker, keys.change)
    words = (word.encode(errors=AS_READ) for change in changes for word in change)
    return Call(Script.BREAKER, names, (epoch, lease_ms, *words))


def dp_group(
    keys: PoolKeys,
    head: tuple[str, int, str, str],
    known: Generation,
    wish: tuple[str, str] = ("", ""),
    member: GroupMemberRow | None = None,
    at: Generation = NONE,
    step: str = "",
) -> Call:
    """dp_group.lua; `head` is the epoch, the lease, the group and a new mark, `wish` why its generation is to end.

    Without a `member` it is an operator's.
    """
    told = (*head, *known, *wish, SILENT_MS)
    own = (member.name, member.instance, *at, step, member.first, member.ranks, member.size) if member else ("",)
    return Call(Script.DP_GROUP, (keys.head, keys.dp), (*told, *own))


def prefix_look(blocks: Sequence[str]) -> Call:
    """prefix_look.lua; `blocks` by `PoolKeys.blocks`."""
    return Call(Script.PREFIX_LOOK, tuple(blocks), ())


def prefix_touch(blocks: Sequence[str], known_ms: int, holders: Iterable[str]) -> Call:
    """prefix_touch.lua; `holders` as prefix_holders.py spells them."""
    return Call(Script.PREFIX_TOUCH, tuple(blocks), (known_ms, *holders))


def prefix_believed(keys: Sequence[str], known_ms: int, more: Iterable[int]) -> Call:
    """prefix_believed.lua; `keys` by `PoolKeys.believed`, `more` what is added to each of them, one after another."""
    return Call(Script.PREFIX_BELIEVED, tuple(keys), (known_ms, *more))


def _cache(computed_tokens: int | None, belief: CacheBelief | None) -> str:
    """What scripts/rows.lua calls `cache`."""
    if computed_tokens is None:
        return ""
    return "/".join(map(str, (computed_tokens, *(belief or ()))))


def receipt_add(keys: PoolKeys, kept: int, receipts: Iterable[tuple[str, str, bytes]]) -> Call:
    """receipt_add.lua; each of the `receipts` is a request id, a digest and a receipt as receipt.py writes it."""
    return Call(Script.RECEIPT_ADD, (keys.receipts,), (kept, *(word for each in receipts for word in each)))


def receipt_find(keys: PoolKeys, request: str, start: str, entries: int) -> Call:
    """receipt_find.lua."""
    return Call(Script.RECEIPT_FIND, (keys.receipts,), (request, start, entries))


def _book(keys: PoolKeys, head: Head) -> tuple[str, ...]:
    return keys.book(keys.live(head.gateway))


def _pairs(records: Mapping[int, str]) -> Iterable[Word]:
    return (word for pair in records.items() for word in pair)
