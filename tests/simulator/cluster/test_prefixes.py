"""What is known of prompts in the simulation: shared by its gateways, and true of its ranks."""

from random import Random
from statistics import fmean

import pytest

from simulator.cluster.fleet import Fleet, run
from simulator.cluster.memory_store import MemoryStore
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.store_link import EPOCH_MS
from simulator.cluster.workloads.shared_prefix import shared_prefix
from simulator.store import VirtualStore

CONTEXT = tuple(range(100, 116))


def questions(count: int, every_s: float, context: tuple[int, ...] = CONTEXT) -> list[SimRequest]:
    """Short questions to one long context."""
    return [
        SimRequest(
            number=number,
            arrival_s=1 + number * every_s,
            prompt_tokens=len(context) * BLOCK_TOKENS + 40,
            output_tokens=20,
            blocks=context,
        )
        for number in range(count)
    ]


def prefilled_on(outcomes: list[Outcome]) -> set[str]:
    return {outcome.prefill_rank for outcome in outcomes}


def test_a_prompt_goes_to_the_rank_that_has_its_beginning_whichever_gateway_it_comes_to() -> None:
    outcomes = run(questions(20, 2.0), FleetSettings(prefill=0, decode=0, mixed=4, gateways=8))
    assert len({outcome.gateway for outcome in outcomes}) > 4
    assert len(prefilled_on(outcomes)) == 1
    assert [outcome.cached_tokens for outcome in outcomes[1:]] == [len(CONTEXT) * BLOCK_TOKENS] * 19


def test_a_policy_that_is_blind_to_prefixes_spreads_them() -> None:
    outcomes = run(questions(20, 2.0), FleetSettings(prefill=0, decode=0, mixed=4, gateways=8, policy="least_work"))
    assert len(prefilled_on(outcomes)) > 1
    assert all(outcome.believed_cached_tokens == 0 for outcome in outcomes)


def test_a_prompt_that_was_placed_is_believed_to_be_there_before_it_is_computed() -> None:
    outcomes = run(questions(4, 0.1), FleetSettings(prefill=4, decode=2, gateways=1))
    by_arrival = sorted(outcomes, key=lambda outcome: outcome.request.number)
    assert [outcome.believed_cached_tokens > 0 for outcome in by_arrival] == [False, True, True, True]


def test_what_is_believed_is_what_is_found() -> None:
    requests = [
        SimRequest(
            number=each.number,
            arrival_s=each.number * 0.15,
            prompt_tokens=each.prompt_tokens,
            output_tokens=8,
            blocks=each.blocks,
        )
        for each in shared_prefix(400, Random(1))
    ]
    outcomes = run(requests, FleetSettings(gateways=4, prefill_kv_capacity_tokens=200_000))
    believed, found = (
        fmean(tokens)
        for tokens in (
            [outcome.believed_cached_tokens for outcome in outcomes],
            [outcome.cached_tokens for outcome in outcomes],
        )
    )
    assert found > 1000
    assert believed == pytest.approx(found, rel=0.2)


def test_the_index_costs_a_round_trip_of_its_own() -> None:
    [first] = run(questions(1, 1.0), FleetSettings(store_ms=10.0))
    [blind] = run(questions(1, 1.0), FleetSettings(store_ms=10.0, policy="least_work"))
    assert first.placed_s - blind.placed_s == pytest.approx(0.010)


def test_a_prompt_without_a_whole_block_is_not_looked_up() -> None:
    [only] = run(questions(1, 1.0, context=()), FleetSettings(store_ms=10.0))
    assert only.placed_s == pytest.approx(1.010)


def test_both_stores_know_the_same_of_prompts() -> None:
    requests, settings = questions(60, 0.05), FleetSettings(prefill=3, decode=2, gateways=3)
    assert Fleet(settings, MemoryStore(EPOCH_MS)).run(requests) == Fleet(settings, VirtualStore(EPOCH_MS)).run(requests)
