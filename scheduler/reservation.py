"""A reservation as a gateway keeps it and as the ledger writes it down. Pure."""

from __future__ import annotations

import msgspec

from scheduler.decision import Ask, Candidate, LegKind
from scheduler.messages import Phase

ID_MODULUS = 1 << 48
"""Ids are below this, and so are their sums: Lua's numbers hold them exactly."""


WAITS = "w"
"""How a record spells a decode leg that waits."""


class ReservedLeg(msgspec.Struct, frozen=True):
    """One rank that a reservation weighs on, in one incarnation; `group` is '-' for none.

    A decode rank `waits` if it has the request before its prefill is done: its engine counts it from then on.
    """

    kind: LegKind
    rank: str
    incarnation: str
    group: str
    waits: bool = False

    def spelled(self) -> str:
        """In a record."""
        return f"{WAITS if self.waits else self.kind} {self.rank} {self.incarnation} {self.group}"


class Reservation(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway has placed and not yet given back; tokens as estimated at the placement."""

    phase: Phase
    uncached_tokens: int
    prompt_tokens: int
    output_tokens: int
    legs: tuple[ReservedLeg, ...]

    def record(self) -> str:
        """The ledger's spelling, as scripts/weights.lua reads it."""
        head = f"{self.phase:d} {self.uncached_tokens} {self.prompt_tokens} {self.output_tokens}"
        return " ".join([head, *(leg.spelled() for leg in self.legs)])

    def at(self, phase: Phase) -> Reservation:
        """The same reservation in a later phase; an earlier one changes nothing."""
        return msgspec.structs.replace(self, phase=phase) if phase > self.phase else self

    def with_decode_waiting(self) -> Reservation:
        """The same pair with its decode rank having the request."""
        legs = (msgspec.structs.replace(leg, waits=leg.waits or leg.kind is LegKind.DECODE) for leg in self.legs)
        return msgspec.structs.replace(self, legs=tuple(legs))

    def bound_to(self, decode: Candidate) -> Reservation:
        """The same pair with its prefill done and this decode leg instead of its own."""
        legs = (*(leg for leg in self.legs if leg.kind is not LegKind.DECODE), _leg(decode))
        return msgspec.structs.replace(self.at(Phase.PREFILL_DONE), legs=legs)


def reserve(ask: Ask, chosen: tuple[Candidate, ...]) -> Reservation:
    """The reservation that placing `ask` on the chosen candidates makes."""
    return Reservation(
        phase=Phase.PLACED,
        uncached_tokens=ask.uncached_tokens(chosen[0]),
        prompt_tokens=ask.prompt_tokens,
        output_tokens=ask.output_tokens,
        legs=tuple(map(_leg, chosen)),
    )


def _leg(candidate: Candidate) -> ReservedLeg:
    return ReservedLeg(candidate.kind, candidate.rank, candidate.incarnation, candidate.group)
