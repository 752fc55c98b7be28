"""Invariant 11: a rank that fails is left out by all gateways, tried by one, and back slowly; never more than half."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

import msgspec
import pytest

from scheduler.breaker import OPEN_MS, RAMP_MS
from scheduler.own_words import SHUN_MS
from tests.invariants.failing_ranks import SETTINGS, SHAPE, serve, serve_for, states, three_gateways
from tests.invariants.virtual_fleet import VirtualFleet


@pytest.fixture
def fleet() -> Iterator[VirtualFleet]:
    with three_gateways() as fleet:
        yield fleet


def hold(fleet: VirtualFleet, count: int) -> Counter[str]:
    """By rank how many requests it holds, after each gateway has placed so many that stay."""
    for number in range(count * len(fleet.gateways)):
        fleet.do(fleet.gateways[number % len(fleet.gateways)].place(SHAPE))
    held = [one.place.legs[0].card.rank for gateway in fleet.gateways for one in gateway.held.values()]
    return Counter(held)


def let_all_go(fleet: VirtualFleet) -> None:
    for gateway in fleet.gateways:
        for reservation in list(gateway.held):
            fleet.do(gateway.release(reservation))
    fleet.run(100)


def test_a_rank_that_fails_is_left_out_by_all_also_by_those_that_did_not_see_it(fleet: VirtualFleet) -> None:
    first, *others = fleet.gateways
    for _ in range(30):
        serve(fleet, first, failing=frozenset({"r1"}))
    assert first.pool.left_out == {"r1"}, "who saw it acts at once"
    fleet.run(1_200)
    assert states(fleet) == [{"r1": "open"}] * 3
    assert [gateway.pool.left_out for gateway in others] == [{"r1"}] * 2
    assert {serve(fleet, gateway) for gateway in others * 20} == {"r0", "r2"}


def test_what_only_one_gateway_sees_fail_is_left_out_by_that_one_alone(fleet: VirtualFleet) -> None:
    first, *others = fleet.gateways
    for _ in range(40):
        serve(fleet, first, failing=frozenset({"r1"}))
        for gateway in others * 2:
            serve(fleet, gateway)
        fleet.run(50)
    assert states(fleet) == [{}] * 3
    assert [gateway.pool.left_out for gateway in fleet.gateways] == [{"r1"}, set(), set()]


def test_one_request_at_a_time_tries_it_and_the_wait_doubles(fleet: VirtualFleet) -> None:
    failing = frozenset({"r1"})
    serve_for(fleet, 2_000, failing=failing)
    tried = serve_for(fleet, 60_000, failing=failing, every_ms=250)["r1"]
    assert 3 <= tried <= 5, "after 2, 4, 8, 16 and 30 s"


def test_a_rank_that_is_well_again_is_back_and_starts_slowly(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    assert states(fleet) == [{"r1": "open"}] * 3
    got = serve_for(fleet, 3 * OPEN_MS)
    assert states(fleet) == [{}] * 3
    assert got["r1"] > 0
    assert sum(gateway.pool.counters["breakers_opened"] for gateway in fleet.gateways) == 1
    assert sum(gateway.pool.counters["breakers_closed"] for gateway in fleet.gateways) == 1
    fleet.run(RAMP_MS + 2_000)
    assert fleet.pool.rows(fleet.pool.keys.breaker) == {}, "nothing is remembered of it"


def test_a_single_rank_is_never_left_out_and_of_three_that_fail_one_is() -> None:
    for names, most in ((("r0",), 0), (("r0", "r1"), 1), (("r0", "r1", "r2"), 1), (("r0", "r1", "r2", "r3"), 2)):
        fleet = VirtualFleet(SETTINGS, ranks=dict.fromkeys(names, ""), report_ms=200, timeout_ms=700)
        for _ in range(2):
            fleet.start_gateway()
        fleet.run(2_000)
        out = []
        for _ in range(60):
            for gateway in fleet.gateways:
                serve(fleet, gateway, failing=frozenset(names))
            fleet.run(100)
            out += [len(gateway.pool.left_out) for gateway in fleet.gateways]
        assert max(out) == most
        fleet.close()


def test_a_probe_that_nobody_answers_is_the_only_one_until_its_request_is_over(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    probe = None
    for _ in range(200):
        for gateway in fleet.gateways:
            place = fleet.do(gateway.place(SHAPE))
            if place.legs[0].card.rank == "r1":
                assert probe is None, "a second one is under way"
                probe = (gateway, place)
            else:
                fleet.do(gateway.release(place.reservation))
        fleet.run(50)
    assert probe is not None
    gateway, place = probe
    fleet.do(gateway.release(place.reservation))  # its client left
    serve_for(fleet, 5_000)
    assert states(fleet) == [{}] * 3


def test_the_ticket_of_a_gateway_that_died_is_another_s_soon(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    holder = None
    for _ in range(200):
        for gateway in list(fleet.gateways):
            place = fleet.do(gateway.place(SHAPE))
            if place.legs[0].card.rank == "r1":
                holder = gateway
                break
            fleet.do(gateway.release(place.reservation))
        if holder:
            break
        fleet.run(50)
    assert holder is not None
    fleet.kill(holder)
    serve_for(fleet, 6_000)
    assert states(fleet) == [{}] * 2


def test_without_the_store_gateways_leave_out_what_they_knew_and_what_they_see(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    for gateway in fleet.gateways:
        gateway.link.is_cut = True
    assert "r1" not in serve_for(fleet, 400)
    assert serve_for(fleet, 3_000)["r1"] > 0, "nobody can give a ticket, so all try"
    first = fleet.gateways[0]
    fleet.run(10_500)  # what went well before is forgotten
    liked = serve(fleet, first)
    for _ in range(10):
        serve(fleet, first, failing=frozenset({liked}))
    assert first.pool.left_out == {liked}
    for gateway in fleet.gateways:
        gateway.link.is_cut = False
    serve_for(fleet, 20_000)
    assert states(fleet) == [{}] * 3


def test_a_store_that_began_anew_is_told_again_of_what_failed_last(fleet: VirtualFleet) -> None:
    serve_for(fleet, 2_000, failing=frozenset({"r1"}))
    fleet.pool.store.forget()
    fleet.pool.store.data = {}
    fleet.run(2_000)
    assert states(fleet) == [{"r1": "open"}] * 3
    assert [gateway.pool.left_out for gateway in fleet.gateways] == [{"r1"}] * 3


def test_what_failed_while_the_store_was_away_is_left_out_no_longer_than_else(fleet: VirtualFleet) -> None:
    """Pool time stood still meanwhile."""
    first = fleet.gateways[0]
    links = [fleet.agent_link, *(gateway.link for gateway in fleet.gateways)]
    for link in links:
        link.is_cut = True
    fleet.run(30_000)
    while first.pool.left_out != {"r1"}:
        serve(fleet, first, failing=frozenset({"r1"}))
    first.pool.shun("r2")
    for link in links:
        link.is_cut = False
    fleet.run(SHUN_MS)
    assert "r2" not in first.pool.left_out
    serve_for(fleet, 4 * OPEN_MS)
    assert first.pool.left_out == set()


def test_a_life_that_came_up_among_others_starts_slowly_on_all_gateways(fleet: VirtualFleet) -> None:
    fleet.run(RAMP_MS)
    fleet.lives["r1"] = 2
    fleet.run(1_000)
    held = hold(fleet, 10)
    assert held["r1"] <= 2 < held["r0"] <= held["r2"] + 1, "of 8 requests that it runs at most it gets a tenth"
    let_all_go(fleet)
    fleet.run(RAMP_MS)
    assert max(hold(fleet, 10).values()) == 10


def test_a_rank_that_came_back_came_back_once_whoever_sees_it_later(fleet: VirtualFleet) -> None:
    fleet.run(3)
    fleet.start_gateway()  # whose snapshots come between those of the others
    fleet.run(RAMP_MS)
    fleet.lives["r1"] = 2
    fleet.run(2_000)
    assert sum(gateway.pool.counters["ranks_back"] for gateway in fleet.gateways) == 1


def test_a_pool_that_starts_as_a_whole_does_not_start_slowly(fleet: VirtualFleet) -> None:
    assert max(hold(fleet, 10).values()) == 10
    assert sum(gateway.pool.counters["ranks_back"] for gateway in fleet.gateways) == 0


def test_without_the_store_too_a_rank_that_came_back_starts_slowly(fleet: VirtualFleet) -> None:
    fleet.run(RAMP_MS)
    fleet.lives["r1"] = 2
    fleet.run(1_000)
    alone = fleet.gateways[0]
    alone.link.is_cut = True
    fleet.run(700)
    for key in range(30):
        place = fleet.do(alone.place(msgspec.structs.replace(SHAPE, prompt_key=str(key))))
        assert place.alone
    held = Counter(one.place.legs[0].card.rank for one in alone.held.values())
    assert held["r1"] <= 2 < min(held["r0"], held["r2"])


def test_a_gateway_that_comes_later_knows_which_ranks_start_slowly(fleet: VirtualFleet) -> None:
    fleet.run(RAMP_MS)
    fleet.lives["r1"] = 2
    fleet.run(1_000)
    late = fleet.start_gateway()
    fleet.run(500)
    for _ in range(12):
        fleet.do(late.place(SHAPE))
    assert Counter(one.place.legs[0].card.rank for one in late.held.values())["r1"] <= 2


def test_nothing_is_kept_of_a_life_that_is_over_where_the_next_one_is_not_slow(fleet: VirtualFleet) -> None:
    serve_for(fleet, 500, failing=frozenset({"r1"}))
    assert fleet.pool.rows(fleet.pool.keys.breaker).keys() == {"r1"}
    fleet.lives["r1"] += 1
    fleet.run(2_000)
    assert fleet.pool.rows(fleet.pool.keys.breaker) == {}
