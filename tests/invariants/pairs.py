"""Pairs that a gateway of a virtual fleet has placed and rebound by its ledger, each leg on any rank."""

from __future__ import annotations

from typing import Any

import msgspec

from scheduler.decision import Ask, Candidate, Leg, LegKind, Place, RequestShape
from scheduler.messages import Phase
from scheduler.reservation import Reservation, reserve
from tests.invariants.virtual_fleet import Gateway, Held, VirtualFleet
from tests.samples import ask, card, leg


async def place_pair(fleet: VirtualFleet, gateway: Gateway, shape: RequestShape) -> None:
    """As `Pool.place` does: without an answer of the store the gateway chooses alone."""
    ledger = gateway.pool._ledger
    prefills, decodes = (_candidates(fleet, kind) for kind in (LegKind.PREFILL, LegKind.DECODE))
    asked = _ask(shape, prefills=prefills, decodes=decodes, transfer_s={"a": {"a": 0.0}})
    answer = await ledger.place(asked)
    if answer is None:
        reservation = reserve(asked, (prefills[0], decodes[-1]))
        _hold(gateway, ledger.adopt(reservation), reservation, shape)
    elif answer.reservation is not None:
        _hold(gateway, answer.reservation_id, answer.reservation, shape)


async def rebind(fleet: VirtualFleet, gateway: Gateway, reservation_id: int, dear: int) -> None:
    """As `Pool.rebind` does. The rank of the number `dear` is none to go to, unless there is no other."""
    held = gateway.held[reservation_id]
    gateway.held[reservation_id] = held._replace(phase=max(held.phase, Phase.PREFILL_DONE))
    decodes = _candidates(fleet, LegKind.DECODE)
    dear %= len(decodes)
    decodes[dear] = msgspec.structs.replace(decodes[dear], base_s=9.0)
    ledger = gateway.pool._ledger
    try:
        answer = await ledger.rebind(reservation_id, _ask(held.shape, decodes=decodes))
        if answer is None and dear:
            ledger.bind(reservation_id, decodes[0])
    finally:  # who hangs up holds what it held, perhaps with another leg
        if reservation_id in gateway.held:
            _hold(gateway, reservation_id, ledger.live[reservation_id], held.shape)


def pairs_of(gateway: Gateway) -> list[int]:
    """The pairs that may still be rebound."""
    held = gateway.held.items()
    return sorted(i for i, one in held if one.place.legs[-1].kind is LegKind.DECODE and one.phase < Phase.FIRST_TOKEN)


def _hold(gateway: Gateway, reservation_id: int, reservation: Reservation, shape: RequestShape) -> None:
    legs = tuple(
        Leg(kind=each.kind, card=card(each.rank, each.incarnation, dp_group=each.group.removeprefix("-")))
        for each in reservation.legs
    )
    place = Place(reservation=reservation_id, legs=legs, cost_s=0.0, first_token_s=0.0)
    gateway.held[reservation_id] = Held(place, shape, reservation.phase)


def _candidates(fleet: VirtualFleet, kind: LegKind) -> list[Candidate]:
    ranks = fleet.ranks.items()
    found = (leg(kind, rank, group=group or "-", per_request_s=1.0) for rank, group in ranks)
    return [msgspec.structs.replace(each, incarnation=f"i{fleet.lives[each.rank]}") for each in found]


def _ask(shape: RequestShape, **fields: Any) -> Ask:
    return ask(tokens=shape.prompt_tokens, output=shape.output_tokens, **fields)
