"""A fleet of three ranks, some of which fail the requests that gateways place there."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from scheduler.breaker import BreakerState
from scheduler.decision import Place, RequestShape
from scheduler.settings import SchedulerSettings
from tests.invariants.virtual_fleet import Gateway, VirtualFleet

SETTINGS = SchedulerSettings(policy="least_requests")
SHAPE = RequestShape(prompt_tokens=10, output_tokens=10, prompt_key="k")


@contextmanager
def three_gateways() -> Iterator[VirtualFleet]:
    """On the ranks r0, r1 and r2; at work for a while."""
    fleet = VirtualFleet(SETTINGS, ranks=dict.fromkeys(("r0", "r1", "r2"), ""), report_ms=200, timeout_ms=700)
    for _ in range(3):
        fleet.start_gateway()
    fleet.run(2_000)
    yield fleet
    fleet.close()


def serve(fleet: VirtualFleet, gateway: Gateway, *, failing: frozenset[str] = frozenset()) -> str:
    """The rank that one request went to; it answers at once."""
    place = fleet.do(gateway.place(SHAPE))
    assert isinstance(place, Place)
    card = place.legs[0].card
    gateway.pool.heard(card, card.rank not in failing, place.reservation)
    fleet.do(gateway.release(place.reservation))
    return card.rank


def serve_for(
    fleet: VirtualFleet, ms: int, *, failing: frozenset[str] = frozenset(), every_ms: int = 50
) -> Counter[str]:
    """By rank how many requests it got, of one of each gateway at a time."""
    got: Counter[str] = Counter()
    for _ in range(0, ms, every_ms):
        got.update(serve(fleet, gateway, failing=failing) for gateway in fleet.gateways)
        fleet.run(every_ms)
    return got


def states(fleet: VirtualFleet) -> list[dict[str, str]]:
    """What each gateway knows of breakers that are not closed."""
    found = []
    for gateway in fleet.gateways:
        view = gateway.pool.view
        known = {each.card.rank: each.breaker.state(view.pool_ms) for each in view.with_breakers if each.breaker}
        found.append({name: state.value for name, state in known.items() if state is not BreakerState.CLOSED})
    return found
