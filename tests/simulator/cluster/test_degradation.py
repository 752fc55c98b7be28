"""What gateways know of the fleet grows old, or the store is gone: requests are served all the same, nearly as well."""

from random import Random
from statistics import fmean

import msgspec
import pytest

from simulator.cluster.fleet import Fleet, run
from simulator.cluster.memory_store import MemoryStore
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.slo import Slo
from simulator.cluster.store_link import EPOCH_MS
from simulator.settings import RankSettings
from simulator.store import VirtualStore
from simulator.timing import timing_of

SLO = Slo(timing=timing_of(RankSettings()), max_num_batched_tokens=8192)
FLEET = FleetSettings(prefill=2, decode=2, gateways=4)
GONE = msgspec.structs.replace(FLEET, outage_from_s=10.0, outage_s=10.0)


def conversations(count: int, rate_per_s: float, *, common: int = 0) -> list[SimRequest]:
    """Turns of 40 conversations of 4 blocks each, all of which begin with so many common ones."""
    chance = Random(1)
    system = tuple(range(1, 1 + common))
    requests, now_s = [], 0.0
    for number in range(count):
        now_s += chance.expovariate(rate_per_s)
        talk = chance.randrange(40)
        blocks = (*system, *(1_000 + 10 * talk + block for block in range(4)), 10_000 + number)
        requests.append(
            SimRequest(
                number=number,
                arrival_s=now_s,
                prompt_tokens=len(blocks) * BLOCK_TOKENS + 100,
                output_tokens=chance.randint(10, 100),
                blocks=blocks,
            )
        )
    return requests


def goodput(outcomes: list[Outcome], from_s: float = 0.0, until_s: float = 1e9) -> float:
    return fmean(SLO.is_met(each) for each in outcomes if from_s <= each.request.arrival_s < until_s)


@pytest.mark.parametrize("empties", [False, True])
@pytest.mark.parametrize("gateways", [1, 8])
def test_no_request_is_lost_while_the_store_is_gone(gateways: int, empties: bool) -> None:
    settings = msgspec.structs.replace(GONE, mixed=1, gateways=gateways, outage_empties=empties)
    outcomes = run(conversations(250, 10), settings)
    assert sorted(each.request.number for each in outcomes) == list(range(250))
    assert not any(each.rejected for each in outcomes)


@pytest.mark.parametrize("empties", [False, True])
def test_goodput_without_the_store_is_nearly_what_it_is_with_it(empties: bool) -> None:
    requests = conversations(300, 10, common=3)
    well, gone = run(requests, FLEET), run(requests, msgspec.structs.replace(GONE, outage_empties=empties))
    assert goodput(gone, 10, 20) >= 0.9 * goodput(well, 10, 20)
    assert goodput(gone, 22) >= 0.9 * goodput(well, 22)


def test_the_first_requests_wait_for_the_deadline_and_those_after_them_do_not() -> None:
    outcomes = run(conversations(220, 10), msgspec.structs.replace(GONE, prefill=0, decode=0, mixed=3, gateways=1))
    waits_s = [
        each.placed_s - each.request.arrival_s
        for each in sorted(outcomes, key=lambda each: each.request.arrival_s)
        if 10.0 <= each.request.arrival_s < 20.0
    ]
    assert waits_s[0] == pytest.approx(0.1)  # the deadlines of the look-up and of the placement
    assert sum(wait_s > 0 for wait_s in waits_s) < 12
    assert waits_s[-20:] == [0.0] * 20


def test_prompts_that_begin_alike_are_told_apart_while_the_store_is_gone() -> None:
    settings = msgspec.structs.replace(GONE, prefill=8, decode=2, gateways=2)
    outcomes = run(conversations(220, 10, common=4), settings)
    alone = {each.prefill_rank for each in outcomes if 12 <= each.request.arrival_s < 20}
    assert len(alone & {f"prefill{number}" for number in range(8)}) > 4


def test_what_was_known_of_prompts_is_known_again_when_the_store_is_back() -> None:
    outcomes = run(conversations(300, 10), msgspec.structs.replace(GONE, gateways=16))
    assert fmean(each.believed_cached_tokens > 0 for each in outcomes if 12 <= each.request.arrival_s < 20) < 0.6
    assert fmean(each.believed_cached_tokens > 0 for each in outcomes if each.request.arrival_s > 21) > 0.85


def test_a_gateway_goes_on_by_what_it_remembers_of_prompts_while_the_store_is_gone() -> None:
    outcomes = run(conversations(220, 10), msgspec.structs.replace(GONE, gateways=1))
    alone = [each for each in outcomes if 11 <= each.request.arrival_s < 20]
    assert fmean(each.believed_cached_tokens > 0 for each in alone) > 0.8


def test_where_half_of_the_agents_are_silent_their_ranks_stay_in_use() -> None:
    requests = conversations(700, 20)
    fleet = msgspec.structs.replace(FLEET, prefill=0, decode=0, mixed=16)
    silent = msgspec.structs.replace(fleet, silent_from_s=2.0, silent_s=60.0, silent_share=0.5)
    outcomes = run(requests, silent)
    assert {each.prefill_rank for each in outcomes if each.request.arrival_s > 14} == {f"mixed{n}" for n in range(16)}
    assert goodput(outcomes, 14) >= 0.9 * goodput(run(requests, fleet), 14)


@pytest.mark.parametrize("empties", [False, True])
def test_both_stores_come_back_alike(empties: bool) -> None:
    settings = msgspec.structs.replace(GONE, outage_from_s=3.0, outage_s=3.0, outage_empties=empties)
    requests = conversations(90, 10)
    assert Fleet(settings, MemoryStore(EPOCH_MS)).run(requests) == Fleet(settings, VirtualStore(EPOCH_MS)).run(requests)


def test_ranks_whose_agents_are_all_silent_stay_in_use() -> None:
    requests = conversations(250, 10)
    outcomes = run(requests, msgspec.structs.replace(FLEET, silent_from_s=2.0, silent_s=60.0))
    assert {each.prefill_rank for each in outcomes if each.request.arrival_s > 14} >= {"prefill0", "prefill1"}
    assert goodput(outcomes, 14) >= 0.9 * goodput(run(requests, FLEET), 14)


def test_old_samples_cost_little() -> None:
    requests = conversations(200, 10)
    fresh, old = (run(requests, msgspec.structs.replace(FLEET, report_late_ms=late_ms)) for late_ms in (0, 30_000))
    assert goodput(old) >= 0.9 * goodput(fresh)
