"""Which ranks of a snapshot a request may go to: by role, health, and which of them pair. Pure.

Ranks whose agents fell silent are left out where they are few. Where they are many, the others could not carry all of
the load, and they are taken too, but not beside a rank to avoid: something has failed, and they may have died with
their agents (docs/adr/0008). Ranks to avoid are left out as long as any rank is left that can answer; an avoided
prefill rank is never taken, for a decode rank can do without it. A request that only one rank can serve goes there, or
nowhere. A rank whose context is surely too short would refuse the request: it is left out, also where only ranks to
avoid have a longer one, unless no rank that is up has.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler.decision import RequestShape
from scheduler.messages import Role
from scheduler.placeable import Placeable
from scheduler.view import PoolView

FEW_SILENT = 0.25
"""Of the ranks that can do the same."""
_ANSWERING = (Role.MIXED, Role.DECODE)


class PairRanks(NamedTuple):
    """The ranks of one pair class, at least one of each role."""

    prefill: Placeable
    decode: Placeable


class Choice(NamedTuple):
    """The ranks that may answer a request whole, and those that may in pairs, by pair class; false if there is none."""

    mixed: Placeable
    decode: Placeable
    pairs: Sequence[PairRanks]

    def __bool__(self) -> bool:
        return bool(self.mixed or self.decode or self.pairs)


def choose(shape: RequestShape, view: PoolView, connectors: frozenset[str], avoid: frozenset[str]) -> Choice:
    """The choice of a gateway that speaks these connectors, for a request that is to avoid some ranks."""
    if shape.only_on:
        mixed, decode = (view.by_role[role].only(shape.only_on) for role in (Role.MIXED, Role.DECODE))
        return Choice(mixed, decode.serving_whole, [])
    choice = _choice(shape, view, connectors, avoid, shape.least_tokens)
    # Those that have room may need a prefill rank, where the request can have none.
    return choice or _choice(shape, view, connectors, avoid, 0)


def _choice(
    shape: RequestShape, view: PoolView, connectors: frozenset[str], avoid: frozenset[str], least_tokens: int
) -> Choice:
    mixed, decode = _answering(view, avoid, least_tokens)
    pairs = _pairs(_prefilling(view, avoid, least_tokens), decode, connectors) if shape.pairable else []
    return Choice(mixed, decode.serving_whole, pairs)


def decoding(view: PoolView, pair_class: str, avoid: frozenset[str], least_tokens: int = 0) -> Placeable:
    """The decode ranks of a pair class that a request may go on with; those to avoid only if there is no other.

    And those of a context of fewer than `least_tokens`, only if no other is up at all.
    """
    trusted, all_up = _trusted(view, (Role.DECODE,), avoid)[Role.DECODE], view.by_role[Role.DECODE]
    ranks = all_up.with_room(least_tokens)
    for some in (trusted.with_room(least_tokens).but(avoid), ranks.but(avoid), ranks, all_up.but(avoid), all_up):
        if pair_class in some.by_class:
            return some.by_class[pair_class]
    return Placeable(())


def missing(view: PoolView, pool: str) -> str:
    """Why no request can be placed, for clients."""
    if view.by_role[Role.PREFILL] and not view.by_role[Role.MIXED]:
        return f"no decode or mixed rank of {pool} can take a request now"
    return f"no rank of {pool} can take a request now"


def _answering(view: PoolView, avoid: frozenset[str], least_tokens: int) -> tuple[Placeable, Placeable]:
    """Mixed and decode ranks."""
    all_up = view.by_role
    has_room = all_up[Role.MIXED].with_room(least_tokens) or all_up[Role.DECODE].with_room(least_tokens)
    room = least_tokens if has_room else 0
    for ranks in (_trusted(view, _ANSWERING, avoid), all_up):
        mixed, decode = ranks[Role.MIXED].with_room(room).but(avoid), ranks[Role.DECODE].with_room(room).but(avoid)
        if mixed or decode:
            return mixed, decode
    return all_up[Role.MIXED].with_room(room), all_up[Role.DECODE].with_room(room)


def _prefilling(view: PoolView, avoid: frozenset[str], least_tokens: int) -> Placeable:
    """Where silent prefill ranks are left out they do not stand in for one that failed, unless all are silent."""
    trusted, all_up = _trusted(view, (Role.PREFILL,), avoid)[Role.PREFILL], view.by_role[Role.PREFILL]
    room = least_tokens if all_up.with_room(least_tokens) else 0
    return (trusted.with_room(room) or all_up.with_room(room)).but(avoid)


def _trusted(view: PoolView, roles: Sequence[Role], avoid: frozenset[str]) -> Mapping[Role, Placeable]:
    """All ranks, or those that were heard: by what is known of the ranks of these roles, which can do the same."""
    heard, all_up = view.heard_by_role, view.by_role
    if heard is all_up:
        return all_up
    up = sum(len(all_up[role]) for role in roles)
    silent = up - sum(len(heard[role]) for role in roles)
    if silent <= FEW_SILENT * up:
        return heard
    return heard if any(all_up[role].named(avoid) for role in roles) else all_up


def _pairs(prefill: Placeable, decode: Placeable, connectors: frozenset[str]) -> Sequence[PairRanks]:
    return [
        PairRanks(ranks, decode.by_class[pair_class])
        for pair_class, ranks in prefill.by_class.items()
        if pair_class in decode.by_class and ranks.ranks[0].card.connector in connectors
    ]
