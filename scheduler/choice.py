"""Which ranks of a snapshot a request may go to: by role, health, and which of them pair. Pure.

Ranks whose agents fell silent are left out where others can answer, or prefill. Ranks to avoid are left out as long as
any rank is left that can answer; an avoided prefill rank is never taken, for a decode rank can do without it. A
request that only one rank can serve goes there, or nowhere.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from scheduler.decision import RequestShape
from scheduler.messages import Role
from scheduler.placeable import Placeable
from scheduler.view import PoolView


class PairRanks(NamedTuple):
    """The ranks of one pair class, at least one of each role."""

    prefill: Placeable
    decode: Placeable


class Choice(NamedTuple):
    """The ranks that may answer a request, and those that may do so in pairs, by pair class; false if there is none."""

    mixed: Placeable
    decode: Placeable
    pairs: Sequence[PairRanks]

    def __bool__(self) -> bool:
        return bool(self.mixed or self.decode)


def choose(shape: RequestShape, view: PoolView, connectors: frozenset[str], avoid: frozenset[str]) -> Choice:
    """The choice of a gateway that speaks these connectors, for a request that is to avoid some ranks."""
    if shape.only_on:
        mixed, decode = (view.by_role[role].only(shape.only_on) for role in (Role.MIXED, Role.DECODE))
        return Choice(mixed, decode, [])
    mixed, decode = _answering(view, avoid)
    pairs = _pairs(_prefilling(view, avoid), decode, connectors) if shape.pairable else []
    return Choice(mixed, decode, pairs)


def decoding(view: PoolView, pair_class: str, avoid: frozenset[str]) -> Placeable:
    """The decode ranks of a pair class that a request may go on with; those to avoid only if there is no other."""
    heard, ranks = view.heard_by_role[Role.DECODE], view.by_role[Role.DECODE]
    for some in (heard.but(avoid), ranks.but(avoid), ranks):
        if pair_class in some.by_class:
            return some.by_class[pair_class]
    return Placeable(())


def missing(view: PoolView, pool: str) -> str:
    """Why no request can be placed, for clients."""
    if view.by_role[Role.PREFILL] and not view.by_role[Role.MIXED]:
        return f"no decode or mixed rank of {pool} can take a request now"
    return f"no rank of {pool} can take a request now"


def _answering(view: PoolView, avoid: frozenset[str]) -> tuple[Placeable, Placeable]:
    """Mixed and decode ranks."""
    heard, all_up = view.heard_by_role, view.by_role
    for ranks in (heard, all_up):
        mixed, decode = ranks[Role.MIXED].but(avoid), ranks[Role.DECODE].but(avoid)
        if mixed or decode:
            return mixed, decode
    return all_up[Role.MIXED], all_up[Role.DECODE]


def _prefilling(view: PoolView, avoid: frozenset[str]) -> Placeable:
    """A silent prefill rank is used only where all are silent: then an agent may have died, and its rank not."""
    return (view.heard_by_role[Role.PREFILL] or view.by_role[Role.PREFILL]).but(avoid)


def _pairs(prefill: Placeable, decode: Placeable, connectors: frozenset[str]) -> Sequence[PairRanks]:
    return [
        PairRanks(ranks, decode.by_class[pair_class])
        for pair_class, ranks in prefill.by_class.items()
        if pair_class in decode.by_class and ranks.ranks[0].card.connector in connectors
    ]
