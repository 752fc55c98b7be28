"""One fault under load: what requests, streams and the ledger come to."""

from __future__ import annotations

from collections.abc import Callable

import redis

from tests.e2e.outages.ledger import books_of
from tests.e2e.outages.live import live_streams
from tests.e2e.outages.site import LOOK_S, Site
from tests.e2e.outages.traffic import Traffic, traffic_to
from tests.polling import until_now

BEFORE, AFTER = 10, 5
"""Requests that are answered before the fault, and after it."""
SLACK = 2
"""Requests of one gateway that come or go while the ledger and the gateways are looked at, one after the other."""


def undergo(site: Site, store: redis.Redis, fault: Callable[[], None]) -> None:
    """Has the fault happen while streams are open and requests come; all of them must be served.

    `fault` returns when it is over. The ledger must then come to be exactly what gateways hold.
    """
    with live_streams(site.urls) as streams:
        with traffic_to(site.urls) as traffic:
            until_more(traffic, BEFORE)
            fault()
            until_agreed(site, store, SLACK)
            until_more(traffic, AFTER)
        assert not traffic.problems(), traffic.problems()
        for stream in streams:
            stream.goes_on()
        until_held(site, store, len(streams))
    until_held(site, store, 0)


def until_more(traffic: Traffic, requests: int) -> None:
    """Waits until so many more have been answered."""
    answered = len(traffic.outcomes) + requests
    until_now(lambda: len(traffic.outcomes) >= answered, f"{requests} more requests are answered")


def until_agreed(site: Site, store: redis.Redis, slack: int = 0) -> None:
    """Waits until no gateway is degraded, and the ledger is what they hold, but for `slack` each."""
    last = ""

    def agreed() -> bool:
        nonlocal last
        last = site.disagreement(store, slack)
        return not last

    try:
        until_now(agreed, "gateways and ledger agree", pause_s=LOOK_S)
    except AssertionError as error:
        raise AssertionError(f"{error}: {last}") from error


def until_held(site: Site, store: redis.Redis, streams: int) -> None:
    """Waits until the ledger holds so many streams, and nothing else."""

    def holds() -> bool:
        books = books_of(store)
        return books.reservations == streams and books.is_exact

    until_now(holds, f"the ledger holds {streams} streams", pause_s=LOOK_S)
    until_agreed(site, store)
