"""Invariant 1: a reservation is seen by the very next placement of any gateway."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.decision import LegKind
from tests.invariants.asks import ask, pair, record
from tests.invariants.explained import explain
from tests.invariants.lossy_pool import LossyPool, Sample
from tests.invariants.raw_gateway import RawGateway, RefusedError
from tests.invariants.recount import recount
from tests.samples import leg, single


@pytest.fixture
def gateways(pool: LossyPool) -> tuple[RawGateway, RawGateway]:
    return RawGateway(pool, "a").join(), RawGateway(pool, "b").join()


def test_another_gateways_placement_is_in_the_very_next_receipt(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0"), uncached=80, tokens=100, output=11))
    seen = explain(other, ask(single("r0"), single("r1")))
    assert seen[0] is not None
    assert seen[0][:3] == (80, 1, 111)
    assert seen[1] is not None
    assert seen[1][:3] == (0, 0, 0)


@pytest.mark.parametrize("price", ["per_queued_token_s", "per_request_s", "per_kv_token_s"])
def test_gateways_that_take_turns_fill_equal_ranks_equally(gateways: tuple[RawGateway, RawGateway], price: str) -> None:
    for turn in range(12):
        prices: dict[str, Any] = {price: 1.0}
        gateways[turn % 2].place(ask(single("r0", **prices), single("r1", **prices)))
    counts = gateways[0].pool.count().lives
    assert [counts[life].requests for life in ("r0 i1", "r1 i1")] == [6, 6]


@pytest.mark.parametrize("price", ["per_group_queued_token_s", "per_group_request_s", "per_group_kv_token_s"])
def test_a_groups_load_counts_on_each_of_its_ranks(gateways: tuple[RawGateway, RawGateway], price: str) -> None:
    one, other = gateways
    prices: dict[str, Any] = {price: 1.0}
    one.place(ask(single("r0", group="g")))
    reply = other.place(ask(single("r1", group="g", **prices), single("r0", 0.5, **prices)))
    assert reply[2:4] == [2, 0]


def test_both_legs_of_a_pair_are_seen(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(pair(leg(LegKind.PREFILL, "r0"), leg(LegKind.DECODE, "r1"), uncached=80, tokens=100, output=11))
    seen = explain(other, ask(single("r0"), single("r1")))
    assert [row and row[:3] for row in seen] == [(80, 1, 100), (0, 1, 111)]


@pytest.mark.parametrize("phase", [0, 1, 2, 3])
@pytest.mark.parametrize("legs", [("m r0",), ("p r0", "d r1"), ("m r0 i1 g",), ("p r0 i1 g", "d r1 i1 g")])
def test_every_phase_weighs_what_the_design_says(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway], legs: tuple[str, ...], phase: int
) -> None:
    one, _ = gateways
    held = one.adopt(record(0, *legs))
    for step in range(1, phase + 1):
        one.advance(held, step)
    assert pool.count() == recount([record(phase, *legs)])


def test_a_release_is_seen_too(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0")))
    one.release(next(iter(one.live)))
    seen = explain(other, ask(single("r0")))
    assert seen[0] is not None
    assert seen[0][:3] == (0, 0, 0)


def test_the_running_prompts_progress_is_credited_up_to_an_even_share_of_the_queue(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    one, other = gateways
    for _ in range(2):
        one.place(ask(single("r0"), uncached=400))
    queued = []
    for _ in range(6):
        seen = explain(other, ask(single("r1"), single("r0", 100.0)))
        assert seen[1] is not None
        queued.append(seen[1].queued)
        pool.store.now_ms += 100
    assert queued == [800, 700, 600, 500, 400, 400]


def test_progress_begins_anew_when_a_prompt_is_done(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    one, _ = gateways
    first = one.adopt(record(1, "m r0", uncached=400))
    one.adopt(record(1, "m r0", uncached=600))
    pool.store.now_ms += 300
    one.advance(first, 2)
    started = pool.pool_ms
    assert pool.loads()["r0 i1"][:3] == [600, 1, started]


def test_progress_is_not_set_back_by_a_prompt_that_joins_the_queue(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    one, _ = gateways
    one.adopt(record(1, "m r0"))
    started = pool.pool_ms
    pool.store.now_ms += 300
    one.adopt(record(1, "m r0"))
    assert pool.loads()["r0 i1"][2] == started


def test_progress_is_not_set_back_by_a_prompt_that_leaves_the_queue(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    one, other = gateways
    one.adopt(record(1, "m r0"))
    started = pool.pool_ms
    waiting = other.adopt(record(1, "m r0"))
    pool.store.now_ms += 300
    other.release(waiting)
    assert pool.loads()["r0 i1"][2] == started


def test_progress_is_not_set_back_by_a_resync(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    one, _ = gateways
    one.adopt(record(1, "m r0"))
    started = pool.pool_ms
    pool.store.now_ms += 300
    one.join()
    assert pool.loads()["r0 i1"][:3] == [80, 1, started]


@pytest.mark.parametrize("cheaper", ["a", "x"])
def test_whole_placements_are_compared_over_all_place_classes(
    gateways: tuple[RawGateway, RawGateway], cheaper: str
) -> None:
    dearer = "x" if cheaper == "a" else "a"
    ranks = (leg(LegKind.WHOLE, "r0", 2.0, place_class=dearer), leg(LegKind.WHOLE, "r1", 1.0, place_class=cheaper))
    assert gateways[0].place(ask(*ranks))[2] == 2


@pytest.mark.parametrize("near", ["a", "x"])
def test_a_pair_is_chosen_by_the_sum_of_both_legs_and_the_transfer(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway], near: str
) -> None:
    """The legs of one class are cheaper, its transfer is dearer; a whole placement is dearer than both."""
    pool.report(*(Sample(f"r{i}") for i in range(4)))
    far = "x" if near == "a" else "a"
    prefills = (leg(LegKind.PREFILL, "r0", 1.0, place_class=far), leg(LegKind.PREFILL, "r1", 1.5, place_class=near))
    decodes = (leg(LegKind.DECODE, "r2", 1.0, place_class=far), leg(LegKind.DECODE, "r3", 1.0, place_class=near))
    transfer_s = {far: {far: 1.0}, near: {near: 0.25}}
    reply = gateways[0].place(ask(single("r2", 4.0), prefills=prefills, decodes=decodes, transfer_s=transfer_s))
    assert reply[2:4] == [3, 5]
    assert float(reply[1]) == pytest.approx(2.75)


def test_a_pair_may_cross_classes_only_where_a_transfer_is_priced(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    legs: dict[str, Any] = {
        "prefills": (leg(LegKind.PREFILL, "r0"),),
        "decodes": (leg(LegKind.DECODE, "r1", place_class="x"),),
    }
    assert gateways[0].place(ask(**legs, transfer_s={"a": {"a": 0.0}, "x": {"x": 0.0}})) == [b"reject"]
    assert gateways[0].place(ask(**legs, transfer_s={"a": {"x": 0.5}}))[2:4] == [1, 2]


def test_a_placement_with_an_old_number_is_refused(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    one, _ = gateways
    one.place(ask(single("r0")))
    before = pool.count()
    one.number -= 1
    with pytest.raises(RefusedError):
        one.place(ask(single("r0")))
    assert pool.count() == before


def test_a_placement_that_skips_a_number_is_refused(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    one, _ = gateways
    one.number += 1
    with pytest.raises(RefusedError):
        one.place(ask(single("r0")))
    assert not pool.live()


def test_a_placement_of_a_gateway_the_store_does_not_know_is_refused(pool: LossyPool) -> None:
    stranger = RawGateway(pool, "stranger")
    stranger.epoch, stranger.names, stranger.in_doubt = pool.open(), ["stranger.1"], False
    with pytest.raises(RefusedError):
        stranger.place(ask(single("r0")))
    assert not pool.live()


def test_a_wait_leaves_nothing_behind_and_the_next_number_is_good(
    pool: LossyPool, gateways: tuple[RawGateway, RawGateway]
) -> None:
    one, other = gateways
    one.place(ask(single("r0")))
    full = ask(single("r0", cap_requests=0.0), spill=False)
    assert other.place(full) == [b"wait"]
    assert other.place(ask(single("r0", cap_requests=1.0), spill=False))[0] == b"place"
    assert pool.count().lives["r0 i1"].requests == 2


def test_caps_count_where_loads_of_groups_have_a_price_too(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0")))
    grouped: dict[str, Any] = {"group": "g", "per_group_request_s": 0.5}
    assert other.place(ask(single("r0", cap_requests=0.0, **grouped), spill=False)) == [b"wait"]
    assert other.place(ask(single("r0", cap_requests=1.0, **grouped), spill=False))[0] == b"place"


def test_a_full_rank_is_taken_only_where_every_other_is_full(gateways: tuple[RawGateway, RawGateway]) -> None:
    one, other = gateways
    one.place(ask(single("r0")))
    assert other.place(ask(single("r0", cap_requests=0.0), single("r1", 500.0)))[2] == 2
    assert other.place(ask(single("r0", cap_requests=0.0)))[0] == b"place"


def test_an_idle_rank_accepts_whatever_its_cap(pool: LossyPool, gateways: tuple[RawGateway, RawGateway]) -> None:
    """A prefix cache may fill the engine's KV while no request is in it."""
    pool.report(Sample("r0", kv_tokens=5_000))
    assert gateways[0].place(ask(single("r0", cap_kv_tokens=0.0), spill=False))[0] == b"place"
    assert gateways[1].place(ask(single("r0", cap_kv_tokens=0.0), spill=False))[0] == b"wait"


def test_the_ledger_of_a_thousand_placements_is_exact(pool: LossyPool) -> None:
    gateways = [RawGateway(pool, f"g{i}").join() for i in range(4)]
    pool.report(*(Sample(f"r{i}") for i in range(8)))
    for turn in range(1_000):
        candidates = [single(f"r{i}", per_request_s=1.0) for i in range(8)]
        assert gateways[turn % 4].place(ask(*candidates, tie_break=turn % 7 / 7))[0] == b"place"
    assert {sums.requests for sums in pool.count().lives.values()} == {125}
