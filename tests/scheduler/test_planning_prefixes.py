"""What is asked of the store where ranks hold a part of the prompt."""

from __future__ import annotations

from random import Random

import msgspec
import pytest

from scheduler.decision import WHOLE_PROMPT, LegKind
from scheduler.planning import Plan, plan, plan_alone
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad
from scheduler.shortlist import cost_on
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_rank, rank, rules, view

HELD = {"a": 900}


def planned(*ranks: RankView, cached: dict[str, int], seed: int = 1, policy: str = "forebay") -> Plan:
    shape = msgspec.structs.replace(PAIRABLE, cached_tokens=cached)
    found = plan(shape, view(*ranks), rules(policy, "nixl"), pool_ms=0, turn=0, chance=Random(seed))
    assert found is not None
    return found


def test_each_candidate_says_what_its_rank_would_compute() -> None:
    ask = planned(rank("a"), rank("b"), cached=HELD).ask
    assert {each.rank: ask.uncached_tokens(each) for each in ask.singles} == {"a": 100, "b": 1_000}


def test_a_rank_that_holds_more_costs_less_by_what_it_need_not_compute() -> None:
    ask = planned(rank("a"), rank("b"), cached=HELD).ask
    costs = {each.rank: each.base_s for each in ask.singles}
    assert costs == {"a": pytest.approx(0.2), "b": pytest.approx(2.0)}


def test_the_last_token_is_computed_always() -> None:
    ask = planned(rank("a"), cached={"a": 5_000}).ask
    assert ask.uncached_tokens(ask.singles[0]) == 1


def test_what_a_queue_is_worth_leaving_a_prefix_for_grows_with_the_least_queue() -> None:
    def leaves(least_queue: int, more: int) -> bool:
        a = rank("a", BookLoad(queued_tokens=least_queue + more, prompts=1))
        b = rank("b", BookLoad(queued_tokens=least_queue, prompts=1))
        found = planned(a, b, cached=HELD)
        return min(found.ask.singles, key=lambda each: cost_on(each, found.loads[each.rank])).rank == "b"

    assert leaves(0, 2_000)
    assert not leaves(0, 1_700)
    assert not leaves(4_000, 2_000)
    assert leaves(4_000, 10_000)


def test_of_many_ranks_the_holder_is_asked_whatever_its_load() -> None:
    busy = rank("busy", BookLoad(queued_tokens=500, prompts=1))
    idle = [rank(f"r{number}") for number in range(300)]
    for seed in range(20):
        assert "busy" in {each.rank for each in planned(busy, *idle, cached={"busy": 990}, seed=seed).ask.singles}


def test_a_holder_that_is_not_there_any_more_is_not_asked() -> None:
    idle = [rank(f"r{number}") for number in range(300)]
    assert "gone" not in {each.rank for each in planned(*idle, cached={"gone": 990}).ask.singles}


def test_both_legs_that_may_prefill_say_so_and_what_only_decodes_does_not() -> None:
    ask = planned(pd_rank("p1"), pd_rank("d1"), cached={"p1": 600, "d1": 300}).ask
    assert [each.uncached_tokens for each in ask.prefills] == [400]
    assert [each.uncached_tokens for each in ask.singles] == [700]
    assert [each.uncached_tokens for each in ask.decodes] == [WHOLE_PROMPT]
    assert {each.kind for each in ask.decodes} == {LegKind.DECODE}


@pytest.mark.parametrize("policy", ["least_requests", "random", "round_robin"])
def test_other_policies_queue_what_is_computed_too(policy: str) -> None:
    ask = planned(rank("a"), cached=HELD, policy=policy).ask
    assert ask.uncached_tokens(ask.singles[0]) == 100


def test_without_the_store_nothing_is_known_of_prefixes() -> None:
    found = plan_alone(SHAPE, view(rank("a")), rules(), pool_ms=0, chance=Random(1), avoid=frozenset())
    assert found is not None
    assert found.ask.uncached_tokens(found.ask.singles[0]) == SHAPE.prompt_tokens
