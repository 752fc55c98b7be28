"""When the requests of a workload come: at times of their own, or each when a client has its last answer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from functools import partial
from typing import Protocol

import msgspec

from simulator.cluster.clock import EventQueue
from simulator.cluster.request import SimRequest


class Arrivals(Protocol):
    """Has requests arrive, in their order; `all_came` when there are no more."""

    all_came: bool

    def begin(self, queue: EventQueue, take: Callable[[SimRequest], None], over: Callable[[], None]) -> None:
        """`take` gets each request when it arrives; `over` is called once, when there are no more."""

    def ended(self) -> None:
        """A request has had its last token, or was rejected."""


class OpenLoop:
    """Each request comes at its own time, however the others fare."""

    def __init__(self, requests: Iterable[SimRequest]) -> None:
        self.all_came = False
        self._requests = iter(requests)

    def begin(self, queue: EventQueue, take: Callable[[SimRequest], None], over: Callable[[], None]) -> None:
        """See Arrivals."""
        request = next(self._requests, None)
        if request is None:
            self.all_came = True
            over()
        else:
            queue.at(request.arrival_s, partial(self._arrive, request, queue, take, over))

    def ended(self) -> None:
        """See Arrivals."""

    def _arrive(
        self, request: SimRequest, queue: EventQueue, take: Callable[[SimRequest], None], over: Callable[[], None]
    ) -> None:
        take(request)
        self.begin(queue, take, over)


class ClosedLoop:
    """So many clients, each with one request under way; arrivals are when they ask. They begin all at once."""

    def __init__(self, requests: Iterable[SimRequest], clients: int) -> None:
        self.all_came = False
        self._requests = iter(requests)
        self._clients = clients
        self._ask_soon: Callable[[], None] = _nobody_asks

    def begin(self, queue: EventQueue, take: Callable[[SimRequest], None], over: Callable[[], None]) -> None:
        """See Arrivals."""
        # As an event of its own: whoever is rejected at once asks again, and that must not nest.
        self._ask_soon = partial(queue.after, 0.0, partial(self._ask, queue, take, over))
        for _ in range(self._clients):
            self._ask_soon()

    def ended(self) -> None:
        """See Arrivals."""
        self._ask_soon()

    def _ask(self, queue: EventQueue, take: Callable[[SimRequest], None], over: Callable[[], None]) -> None:
        if self.all_came:
            return
        request = next(self._requests, None)
        if request is None:
            self.all_came = True
            over()
        else:
            take(msgspec.structs.replace(request, arrival_s=queue.now_s))


def arrivals_of(requests: Iterable[SimRequest], clients: int | None) -> Arrivals:
    """Those of so many clients; without any number each request comes at its own time."""
    return OpenLoop(requests) if clients is None else ClosedLoop(requests, clients)


def _nobody_asks() -> None:
    """Nothing has begun."""
