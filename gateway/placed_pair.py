"""What an attempt with a pair of ranks is made from, in whatever order its connector starts the legs."""

from __future__ import annotations

from typing import NamedTuple

from gateway.dispatch import Dispatch
from gateway.gateway import Gateway
from gateway.notes import Notes
from gateway.phases import Phases
from gateway.placing import Pool
from gateway.request import Request


class PlacedPair(NamedTuple):
    """A request that was placed on a pair, under this `reservation`."""

    gateway: Gateway
    pool: Pool
    request: Request
    reservation: int
    phases: Phases
    notes: Notes

    def dispatch(self) -> Dispatch:
        """What sends both legs under one id, which the request's record has from now on."""
        dispatch = Dispatch(self.gateway, self.pool, self.request.head, self.reservation)
        self.request.record.attempt_id = dispatch.attempt_id
        return dispatch
