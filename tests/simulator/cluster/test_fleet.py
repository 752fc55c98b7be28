"""The simulated cluster as a whole: every request is served, and a seed tells all."""

import os
import subprocess
import sys
from random import Random

import pytest

from scheduler.errors import UnknownPolicyError
from simulator.cluster.fleet import Fleet, run
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.store_link import EPOCH_MS
from simulator.store import VirtualStore


def some_requests(count: int, rate_per_s: float, seed: int = 1) -> list[SimRequest]:
    """Poisson arrivals; half of the prompts begin with one of 8 contexts of 4 blocks."""
    chance = Random(seed)
    requests, now_s = [], 0.0
    for number in range(count):
        now_s += chance.expovariate(rate_per_s)
        own = chance.randint(0, 6)
        shared = [8 * chance.randrange(8) + block for block in range(4)] if chance.random() < 0.5 else []
        blocks = (*shared, *(1_000 + 10 * number + block for block in range(own)))
        prompt_tokens = len(blocks) * BLOCK_TOKENS + chance.randint(1, BLOCK_TOKENS - 1)
        requests.append(
            SimRequest(
                number=number,
                arrival_s=now_s,
                prompt_tokens=prompt_tokens,
                output_tokens=chance.randint(1, 300),
                blocks=blocks,
            )
        )
    return requests


def told(outcomes: list[Outcome]) -> list[tuple[object, ...]]:
    return [
        (o.request.number, o.gateway, o.prefill_rank, o.decode_rank, o.first_token_s, o.finished_s) for o in outcomes
    ]


@pytest.mark.parametrize(
    "policy", ["forebay", "forebay_pairs", "least_work", "least_requests", "round_robin", "random"]
)
def test_every_request_is_served_in_order_of_its_phases(policy: str) -> None:
    requests = some_requests(200, 10)
    outcomes = run(requests, FleetSettings(prefill=2, decode=2, mixed=1, gateways=3, policy=policy))
    assert sorted(outcome.request.number for outcome in outcomes) == list(range(200))
    for outcome in outcomes:
        assert not outcome.rejected
        assert outcome.request.arrival_s < outcome.placed_s < outcome.first_token_s <= outcome.finished_s
        assert 0 <= outcome.cached_tokens < outcome.request.prompt_tokens


@pytest.mark.parametrize(("max_tokens", "rank"), [(None, "decode0"), (4, "prefill0")])
def test_a_limit_of_a_request_is_what_its_answer_is_expected_to_be(max_tokens: int | None, rank: str) -> None:
    """A prefill holds up short answers by more for each token, so that it is better queued on a prefill rank."""
    requests = [
        SimRequest(
            number=number,
            arrival_s=0.01 * number,
            prompt_tokens=4000,
            output_tokens=4,
            blocks=(),
            max_tokens=max_tokens,
        )
        for number in range(2)
    ]
    outcomes = {o.request.number: o for o in run(requests, FleetSettings(prefill=1, decode=1))}
    assert outcomes[1].prefill_rank == rank


def test_both_pairs_and_mixed_ranks_serve() -> None:
    outcomes = run(some_requests(200, 20), FleetSettings(prefill=2, decode=2, mixed=2))
    assert {outcome.prefill_rank for outcome in outcomes} >= {"prefill0", "prefill1", "mixed0", "mixed1"}
    assert {outcome.decode_rank for outcome in outcomes} >= {"decode0", "decode1", "mixed0", "mixed1"}


def test_by_a_policy_of_pairs_decode_ranks_prefill_only_where_no_pair_can_be_made() -> None:
    def prefilling(prefill: int, policy: str) -> set[str]:
        settings = FleetSettings(prefill=prefill, decode=2, gateways=3, policy=policy)
        return {outcome.prefill_rank for outcome in run(some_requests(200, 20), settings)}

    assert prefilling(2, "forebay") == {"prefill0", "prefill1", "decode0", "decode1"}
    assert prefilling(2, "forebay_pairs") == {"prefill0", "prefill1"}
    assert prefilling(0, "forebay_pairs") == {"decode0", "decode1"}


def test_a_prompt_that_was_there_before_is_cached() -> None:
    outcomes = run(some_requests(300, 5), FleetSettings(prefill=1, decode=1))
    assert sum(outcome.cached_tokens for outcome in outcomes) > 0


def test_a_request_that_fits_on_no_rank_is_rejected() -> None:
    [first, *rest] = some_requests(20, 10)
    huge = SimRequest(number=0, arrival_s=first.arrival_s, prompt_tokens=10_000_000, output_tokens=1, blocks=())
    outcomes = run([huge, *rest], FleetSettings(prefill=1, decode=1))
    assert [outcome.request.number for outcome in outcomes if outcome.rejected] == [0]
    assert len(outcomes) == 20


def test_a_fleet_without_ranks_that_answer_rejects() -> None:
    outcomes = run(some_requests(5, 10), FleetSettings(prefill=1, decode=0))
    assert [outcome.rejected for outcome in outcomes] == [True] * 5


def test_an_unknown_policy_lists_the_known_ones() -> None:
    with pytest.raises(UnknownPolicyError, match="least_work"):
        run([], FleetSettings(policy="no such"))


@pytest.mark.parametrize("policy", ["forebay", "least_work", "least_requests"])
def test_the_store_for_many_calls_answers_as_the_one_that_can_be_looked_into(policy: str) -> None:
    requests, settings = some_requests(150, 15), FleetSettings(prefill=3, decode=3, mixed=1, gateways=4, policy=policy)
    assert told(run(requests, settings)) == told(Fleet(settings, VirtualStore(EPOCH_MS)).run(requests))


def test_equal_seeds_give_equal_outcomes_and_others_do_not() -> None:
    requests = some_requests(150, 10)
    outcomes = [told(run(requests, FleetSettings(gateways=4, seed=seed))) for seed in (1, 1, 2)]
    assert outcomes[0] == outcomes[1] != outcomes[2]


def test_the_order_of_sets_and_dicts_changes_nothing() -> None:
    program = (
        "from tests.simulator.cluster.test_fleet import run, some_requests, told, FleetSettings\n"
        "print(told(run(some_requests(100, 10), FleetSettings(prefill=2, decode=2, gateways=3))))"
    )
    printed = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed},
            capture_output=True,
            check=True,
            text=True,
        ).stdout
        for seed in ("1", "2", "3")
    }
    assert len(printed) == 1


def test_all_ranks_of_a_loaded_fleet_work() -> None:
    outcomes = run(some_requests(400, 30), FleetSettings(gateways=4))
    ranks = {outcome.prefill_rank for outcome in outcomes} | {outcome.decode_rank for outcome in outcomes}
    assert ranks == {f"{role}{number}" for role in ("prefill", "decode") for number in range(8)}


def test_groups_that_step_together_serve_too() -> None:
    outcomes = run(some_requests(200, 10), FleetSettings(prefill=2, decode=4, dp_size=2))
    assert sorted(outcome.request.number for outcome in outcomes) == list(range(200))
