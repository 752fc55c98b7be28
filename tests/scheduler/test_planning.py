"""From a shape and a view to an ask; the shortlist; and going on alone."""

from __future__ import annotations

from collections import Counter
from random import Random

import pytest

from scheduler.decision import UNLIMITED, LegKind
from scheduler.loads import Loads
from scheduler.messages import Role
from scheduler.planning import Plan, least_queue_s, plan
from scheduler.policies import POLICIES
from scheduler.rows import BookLoad
from scheduler.shortlist import cost_on, shortlist
from scheduler.view import PoolView
from tests.samples import single
from tests.scheduler.samples import SHAPE, rank, rules, view

IDLE = Loads(0, 0, 0)


def planned(of: PoolView, *, policy: str = "least_work", seed: int = 1, avoid: tuple[str, ...] = ()) -> Plan | None:
    return plan(SHAPE, of, rules(policy), pool_ms=0, turn=0, chance=Random(seed), avoid=frozenset(avoid))


def sure(result: Plan | None) -> Plan:
    assert result is not None
    return result


class TestPlan:
    def test_all_of_few_ranks_are_candidates(self) -> None:
        result = sure(planned(view(rank("a"), rank("b"))))
        assert {each.rank for each in result.ask.singles} == {"a", "b"} == set(result.ranks) == set(result.loads)
        assert {each.kind for each in result.ask.singles} == {LegKind.WHOLE}

    def test_the_ask_carries_the_request(self) -> None:
        asked = sure(planned(view(rank("a")))).ask
        assert (asked.prompt_tokens, asked.output_tokens) == (1_000, 100)
        assert asked.uncached_tokens(asked.singles[0]) == 1_000
        assert asked.spill
        assert 0 <= asked.tie_break < 1

    def test_a_difference_smaller_than_a_rate_is_known_to_is_a_tie(self) -> None:
        fast = rank("b", heard={"prefill_tokens_per_s": 2_000.0})
        assert sure(planned(view(rank("a"), fast))).ask.tie_s == pytest.approx(0.05 * 0.5)
        assert sure(planned(view(rank("a"), fast), policy="round_robin")).ask.tie_s < 1e-6

    def test_long_queues_make_no_more_a_tie(self) -> None:
        queued = [rank(name, BookLoad(queued_tokens=90_000, prompts=9)) for name in "ab"]
        asked = sure(planned(view(*queued))).ask
        assert asked.singles[0].base_s > 5
        assert asked.tie_s == pytest.approx(0.05 * 1)

    def test_a_rank_to_avoid_is_left_out_while_there_is_another(self) -> None:
        assert set(sure(planned(view(rank("a"), rank("b")), avoid=("a",))).ranks) == {"b"}
        assert set(sure(planned(view(rank("a"), rank("b")), avoid=("a", "b"))).ranks) == {"a", "b"}

    def test_a_rank_of_which_nothing_was_heard_for_long_is_left_out_while_most_are_heard(self) -> None:
        heard = [rank(name, heard={"heard_ms": 50_000}) for name in "abc"]
        silent = rank("d", heard={"heard_ms": 49_999})
        assert set(sure(planned(view(*heard, silent, pool_ms=60_000))).ranks) == {"a", "b", "c"}
        assert set(sure(planned(view(silent, pool_ms=60_000))).ranks) == {"d"}

    def test_a_silent_rank_is_better_than_one_that_took_no_connection(self) -> None:
        heard, silent = rank("a", heard={"heard_ms": 60_000}), rank("b")
        assert set(sure(planned(view(heard, silent, pool_ms=60_000), avoid=("a",))).ranks) == {"b"}

    def test_equal_chance_makes_an_equal_plan(self) -> None:
        pool = crowd(40)
        assert planned(pool, seed=5) == planned(pool, seed=5)
        assert planned(pool, seed=5) != planned(pool, seed=6)

    def test_a_prefill_rank_takes_no_whole_request(self) -> None:
        assert planned(view(rank("a", role=Role.PREFILL))) is None

    def test_without_ranks_there_is_no_plan(self) -> None:
        assert planned(view()) is None
        assert planned(view(rank("a", heard={"drained": True}))) is None


def crowd(ranks: int) -> PoolView:
    """Ranks with 1, 2, 3 ... requests in them."""
    return view(*(rank(f"r{number}", BookLoad(requests=number + 1)) for number in range(ranks)))


def names(result: Plan) -> list[str]:
    return [each.rank for each in result.ask.singles]


class TestLargePools:
    def test_up_to_sixty_four_ranks_are_all_priced(self) -> None:
        assert len(sure(planned(crowd(64))).ranks) == 64

    @pytest.mark.parametrize("policy", POLICIES)
    def test_of_many_only_some_are_priced(self, policy: str) -> None:
        result = sure(planned(crowd(500), policy=policy))
        assert len(result.ranks) <= 80
        assert len(set(names(result))) == len(result.ask.singles) == 16

    @pytest.mark.parametrize("policy", ["least_work", "least_requests"])
    def test_the_eight_best_of_all_are_asked_and_eight_of_all_the_rest(self, policy: str) -> None:
        drawn: Counter[str] = Counter()
        pool = crowd(100)
        for seed in range(200):
            chosen = names(sure(planned(pool, policy=policy, seed=seed)))
            assert chosen[:8] == [f"r{number}" for number in range(8)]
            drawn.update(chosen[8:])
        assert len(drawn) == 92, "every other rank has its chance"
        assert max(drawn.values()) < 4 * min(drawn.values()), "and all about the same"

    def test_the_rank_with_the_fewest_requests_is_asked_however_long_its_queue(self) -> None:
        queued = rank("queued", BookLoad(queued_tokens=10**6, prompts=1))
        pool = view(*crowd(500).ranks.values(), queued)
        assert names(sure(planned(pool, policy="least_requests")))[0] == "queued"
        assert names(sure(planned(pool, policy="least_work")))[0] != "queued"

    def test_in_turn_means_all_ranks(self) -> None:
        pool, in_turn = crowd(150), rules("round_robin")
        cheapest = [
            names(sure(plan(SHAPE, pool, in_turn, pool_ms=0, turn=turn, chance=Random(turn))))[0] for turn in range(300)
        ]
        assert cheapest == sorted(pool.ranks) * 2

    def test_by_chance_means_all_ranks(self) -> None:
        pool, drawn = crowd(100), Counter[str]()
        for seed in range(200):
            drawn.update(names(sure(planned(pool, policy="random", seed=seed))))
        assert len(drawn) == 100

    def test_ranks_to_avoid_and_silent_ones_are_left_out_of_many_too(self) -> None:
        silent = [rank(f"s{number}") for number in range(30)]
        heard = [rank(f"r{number}", BookLoad(requests=9), heard={"heard_ms": 60_000}) for number in range(100)]
        pool = view(*silent, *heard, pool_ms=60_000)
        avoid = tuple(f"r{number}" for number in range(95))
        assert set(sure(planned(pool, avoid=avoid)).ranks) == {f"r{number}" for number in range(95, 100)}
        assert set(sure(planned(pool)).ranks) <= {each.card.rank for each in heard}


class TestShortlist:
    def test_up_to_sixteen_are_all_asked_in_their_order(self) -> None:
        candidates = [single(f"r{number}", float(-number)) for number in range(16)]
        loads = {each.rank: IDLE for each in candidates}
        assert shortlist(candidates, loads, ["r3"]) == tuple(candidates)

    def test_of_more_the_eight_best_and_eight_by_chance(self) -> None:
        candidates = [single(f"r{number}", float(number % 100)) for number in range(100)]
        loads = {each.rank: IDLE for each in candidates}
        drawn: Counter[str] = Counter()
        for seed in range(200):
            chosen = shortlist(candidates, loads, Random(seed).sample(sorted(loads), 16))
            assert len(chosen) == len(set(chosen)) == 16
            assert [each.rank for each in chosen[:8]] == [f"r{number}" for number in range(8)]
            drawn.update(each.rank for each in chosen[8:])
        assert len(drawn) == 92, "every other rank has its chance"

    def test_the_best_are_so_on_their_loads(self) -> None:
        candidates = [single(f"r{number}", per_request_s=1.0) for number in range(20)]
        loads = {each.rank: Loads(0, number % 20, 0) for number, each in enumerate(candidates)}
        assert shortlist(candidates, loads, [])[0].rank == "r0"

    def test_a_cost_is_linear_in_the_loads(self) -> None:
        candidate = single("a", 1.0, per_queued_token_s=0.1, per_request_s=2.0, per_kv_token_s=0.01)
        assert cost_on(candidate, Loads(10, 3, 100)) == pytest.approx(1 + 1 + 6 + 1)
        assert candidate.cap_requests == UNLIMITED


def test_the_queue_of_the_view_makes_recomputing_dearer() -> None:
    busy = BookLoad(queued_tokens=2_000, prompts=1)
    idle, loaded = (sure(planned(view(rank("a", book)))) for book in (BookLoad(), busy))
    assert loaded.ask.singles[0].base_s == pytest.approx((5 + 1) / (1 + 1) * idle.ask.singles[0].base_s)


def test_the_least_queue_is_in_seconds_of_the_rank_that_has_it() -> None:
    slow = rank("a", BookLoad(queued_tokens=1_000, prompts=1), heard={"prefill_tokens_per_s": 500.0})
    fast = rank("b", BookLoad(queued_tokens=3_000, prompts=1), heard={"prefill_tokens_per_s": 6_000.0})
    loads = {each.card.rank: each.loads(0) for each in (slow, fast)}
    assert least_queue_s([slow, fast], loads) == 0.5
    assert least_queue_s([], {}) == 0
