"""From a shape and a view of prefill and decode ranks to an ask."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import msgspec
import pytest

from scheduler.alone import choose_alone
from scheduler.decision import Ask, LegKind, RequestShape
from scheduler.messages import Role
from scheduler.planning import Plan, plan, plan_alone
from scheduler.policies import POLICIES
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad
from scheduler.view import PoolView
from tests.scheduler.samples import PAIRABLE, SHAPE, pd_rank, rules, view

BUSY = BookLoad(queued_tokens=4_000, prompts=2, requests=2)


def planned(
    of: PoolView, shape: RequestShape = PAIRABLE, *, policy: str = "least_work", seed: int = 1, turn: int = 0
) -> Plan:
    result = plan(shape, of, rules(policy, "nixl"), pool_ms=0, turn=turn, chance=Random(seed))
    assert result is not None
    return result


def asked(of: PoolView, shape: RequestShape = PAIRABLE, *, policy: str = "least_work") -> Ask:
    return planned(of, shape, policy=policy).ask


def names(ask: Ask) -> tuple[set[str], set[str], set[str]]:
    """Singles, prefill and decode ranks."""
    singles, prefills, decodes = ({each.rank for each in some} for some in (ask.singles, ask.prefills, ask.decodes))
    return singles, prefills, decodes


def crowd(role: str, count: int, **fields: Any) -> list[RankView]:
    return [pd_rank(f"{role}{number}", BookLoad(requests=number + 1), **fields) for number in range(count)]


class TestPairs:
    def test_a_request_is_asked_in_pairs(self) -> None:
        ask = asked(view(*map(pd_rank, ("p1", "p2", "d1", "d2", "d3"))))
        _, prefills, decodes = names(ask)
        assert (prefills, decodes) == ({"p1", "p2"}, {"d1", "d2", "d3"})
        assert {each.kind for each in ask.prefills} == {LegKind.PREFILL}
        assert {each.kind for each in ask.decodes} == {LegKind.DECODE}
        assert all(ask.transfer_s[p.place_class][d.place_class] > 0 for p in ask.prefills for d in ask.decodes)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_all_that_is_asked_is_planned_with_its_loads(self, policy: str) -> None:
        result = planned(view(*crowd("p", 30), *crowd("d", 30), *crowd("m", 30)), policy=policy)
        everything = set().union(*names(result.ask))
        assert everything <= set(result.ranks)
        assert set(result.ranks) == set(result.loads)

    @pytest.mark.parametrize("policy", POLICIES)
    def test_of_many_ranks_only_some_of_each_role_are_priced_and_asked(self, policy: str) -> None:
        result = planned(view(*crowd("p", 300), *crowd("d", 300), *crowd("m", 300)), policy=policy)
        priced = Counter(each.card.role for each in result.ranks.values())
        assert max(priced.values()) <= 80
        _, prefills, decodes = names(result.ask)
        mixed = [each for each in result.ask.singles if result.ranks[each.rank].card.role is Role.MIXED]
        assert len(prefills) == len(decodes) == len(mixed) == 16

    def test_the_best_of_each_role_are_asked(self) -> None:
        _, prefills, decodes = names(asked(view(*crowd("p", 100), *crowd("d", 100)), policy="least_requests"))
        assert {f"p{number}" for number in range(8)} <= prefills
        assert {f"d{number}" for number in range(8)} <= decodes

    def test_in_a_rolling_upgrade_neither_version_is_starved(self) -> None:
        idle = [pd_rank(f"{role}{number}") for role in "pd" for number in range(100)]
        new = [pd_rank(f"{role}new", BUSY, engine_version="0.33.0") for role in "pd"]
        result = planned(view(*idle, *new))
        _, prefills, decodes = names(result.ask)
        assert ("pnew" in prefills, "dnew" in decodes) == (True, True)
        assert len(prefills) == len(decodes) == 9
        assert len(result.ranks) <= 160

    def test_of_too_many_classes_some_are_asked_by_chance(self) -> None:
        ranks = [pd_rank(f"{role}{number}", engine_version=f"{number}") for role in "pd" for number in range(12)]
        seen: set[str] = set()
        for seed in range(60):
            _, prefills, _ = names(planned(view(*ranks), seed=seed).ask)
            assert len(prefills) == 4
            seen |= prefills
        assert len(seen) == 12

    def test_queues_of_decode_ranks_say_nothing_of_how_busy_prefilling_is(self) -> None:
        loaded = asked(view(pd_rank("p1", BUSY), pd_rank("d1")))
        idle = asked(view(pd_rank("p1"), pd_rank("d1")))
        assert loaded.prefills[0].base_s > idle.prefills[0].base_s
        assert asked(view(pd_rank("p1"), pd_rank("d1", BUSY))).prefills[0].base_s == idle.prefills[0].base_s

    def test_mixed_ranks_prefill_too(self) -> None:
        busy = asked(view(pd_rank("p1", BUSY), pd_rank("d1"), pd_rank("m1")))
        assert busy.prefills[0].base_s == asked(view(pd_rank("p1"), pd_rank("d1"))).prefills[0].base_s

    def test_a_tie_is_a_share_of_the_prefill_on_the_fastest_rank_that_would_do_it(self) -> None:
        ask = asked(view(pd_rank("p1", heard={"prefill_tokens_per_s": 4_000.0}), pd_rank("d1")))
        assert ask.tie_s == pytest.approx(0.05 * 0.25)


class TestLocal:
    def test_the_two_best_decode_ranks_may_prefill_themselves(self) -> None:
        ask = asked(view(pd_rank("p1"), *crowd("d", 5)))
        assert names(ask)[0] == {"d0", "d1"}
        assert {each.kind for each in ask.singles} == {LegKind.WHOLE}

    def test_by_a_policy_of_pairs_they_may_not_and_transfers_cost_as_ever(self) -> None:
        held = msgspec.structs.replace(PAIRABLE, cached_tokens={"d1": 900})
        both, pairs = (asked(view(*map(pd_rank, ("p1", "d1"))), held, policy=f"forebay{end}") for end in ("", "_pairs"))
        assert (names(both), names(pairs)) == (({"d1"}, {"p1"}, {"d1"}), (set(), {"p1"}, {"d1"}))
        assert pairs.transfer_s == both.transfer_s

    @pytest.mark.parametrize("policy", sorted(POLICIES.keys() - {"forebay", "least_work"}))
    def test_other_policies_do_so_only_where_no_pair_can_be_made(self, policy: str) -> None:
        pool = view(pd_rank("p1"), *crowd("d", 5))
        assert names(asked(pool, policy=policy))[0] == set()
        assert len(names(asked(pool, SHAPE, policy=policy))[0]) == 5

    @pytest.mark.parametrize(
        "ranks",
        [
            pytest.param(["d1", "d2"], id="no prefill rank"),
            pytest.param(["d1", "d2", pd_rank("p1", connector="other")], id="none that pairs"),
            pytest.param(["d1", "d2", pd_rank("p1", heard={"drained": True})], id="drained"),
        ],
    )
    def test_decode_ranks_serve_alone_where_no_pair_can_be_made(self, ranks: list[str | RankView]) -> None:
        ask = asked(view(*(pd_rank(each) if isinstance(each, str) else each for each in ranks)))
        assert names(ask) == ({"d1", "d2"}, set(), set())

    def test_a_request_that_cannot_be_split_goes_to_one_rank(self) -> None:
        ask = asked(view(*map(pd_rank, ("p1", "d1", "m1"))), SHAPE)
        assert names(ask) == ({"d1", "m1"}, set(), set())

    def test_of_many_that_serve_alone_sixteen_are_asked(self) -> None:
        result = planned(view(*crowd("d", 300), *crowd("m", 300)), SHAPE)
        assert len(names(result.ask)[0]) == 16
        assert len(result.ranks) <= 160


def share(of: PoolView, policy: str, requests: int = 400) -> Counter[str]:
    """How often each rank of an idle pool is chosen, by the rules of place.lua."""
    chosen: Counter[str] = Counter()
    chance = Random(3)
    for turn in range(requests):
        ask = planned(of, policy=policy, seed=turn, turn=turn).ask
        best: list[tuple[float, float, tuple[str, ...]]] = [
            (each.base_s, chance.random(), (each.rank,)) for each in ask.singles
        ]
        for p in ask.prefills:
            seconds = ask.transfer_s[p.place_class]
            best += [
                (p.base_s + d.base_s + seconds[d.place_class], chance.random(), (p.rank, d.rank))
                for d in ask.decodes
                if d.place_class in seconds
            ]
        chosen.update(min(best)[2])
    return chosen


class TestShares:
    """In a pool of mixed and PD ranks, each rank is to get its share, for a mixed rank is as good as another."""

    POOL = view(*map(pd_rank, ("m1", "m2", "p1", "p2", "d1", "d2")))

    @pytest.mark.parametrize("policy", ["random", "least_requests"])
    def test_by_chance(self, policy: str) -> None:
        counts = share(self.POOL, policy)
        assert set(counts) == set(self.POOL.ranks)
        assert min(counts.values()) > 40

    def test_in_turn(self) -> None:
        counts = share(self.POOL, "round_robin", 600)
        assert (counts["m1"], counts["m2"]) == (100, 100)
        assert {counts[name] for name in ("p1", "p2", "d1", "d2")} == {200}

    def test_in_turn_over_two_classes(self) -> None:
        new: dict[str, Any] = {"engine_version": "0.33.0"}
        pool = view(*map(pd_rank, ("p1", "d1")), pd_rank("p2", **new), pd_rank("d2", **new))
        assert set(share(pool, "round_robin", 40).values()) == {20}

    def test_decode_ranks_that_serve_alone_and_mixed_ones_take_turns(self) -> None:
        assert share(view(*map(pd_rank, ("m1", "m2", "d1"))), "round_robin", 30) == {"m1": 10, "m2": 10, "d1": 10}

    @pytest.mark.parametrize("policy", POLICIES)
    def test_all_pairs_of_an_idle_pool_are_used(self, policy: str) -> None:
        counts = share(view(*map(pd_rank, ("p1", "p2", "d1", "d2"))), policy)
        assert set(counts) == {"p1", "p2", "d1", "d2"}


class TestAlone:
    POOL = view(*[pd_rank(f"{role}{number}") for role in "pd" for number in range(8)])

    def planned(self, of: PoolView, key: str, seed: int) -> Ask:
        shape = RequestShape(prompt_tokens=1_000, output_tokens=10, prompt_key=key, pairable=True)
        result = plan_alone(shape, of, rules("least_work", "nixl"), pool_ms=0, chance=Random(seed), avoid=frozenset())
        assert result is not None
        return result.ask

    def test_equal_prompts_are_prefilled_on_the_same_two_ranks(self) -> None:
        for key in map(str, range(20)):
            chosen = {frozenset(names(self.planned(self.POOL, key, seed))[1]) for seed in range(5)}
            assert len(chosen) == 1
            assert len(next(iter(chosen))) == 2

    def test_and_decoded_on_any_two(self) -> None:
        chosen = [names(self.planned(self.POOL, "k", seed))[2] for seed in range(50)]
        assert {len(each) for each in chosen} == {2}
        assert set().union(*chosen) == {f"d{number}" for number in range(8)}

    def test_of_two_classes_only_what_goes_together_is_paired(self) -> None:
        new: dict[str, Any] = {"engine_version": "0.33.0"}
        pool = view(pd_rank("p1"), pd_rank("p2", **new), pd_rank("d1"), pd_rank("d2", **new), pd_rank("d3", **new))
        ask = self.planned(pool, "k", 1)
        assert names(ask)[1:] == ({"p1", "p2"}, {"d1", "d2", "d3"})
        assert [len(to) for to in ask.transfer_s.values()] == [1, 1]

    @pytest.mark.parametrize(("policy", "local"), [("forebay", 2), ("forebay_pairs", 0)])
    def test_decode_ranks_prefill_themselves_only_where_the_policy_lets_them(self, policy: str, local: int) -> None:
        result = plan_alone(PAIRABLE, self.POOL, rules(policy, "nixl"), pool_ms=0, chance=Random(1), avoid=frozenset())
        assert result is not None
        assert [len(ranks) for ranks in names(result.ask)] == [local, 2, 2]

    def test_without_prefill_ranks_equal_prompts_go_to_the_same_two_decode_ranks(self) -> None:
        pool = view(*[pd_rank(f"d{number}") for number in range(8)])
        chosen = {frozenset(names(self.planned(pool, "k", seed))[0]) for seed in range(5)}
        assert len(chosen) == 1
        assert len(next(iter(chosen))) == 2

    @pytest.mark.parametrize("policy", [name for name, each in POLICIES.items() if not each.in_seconds])
    def test_one_mixed_rank_beside_many_pairs_gets_its_share(self, policy: str) -> None:
        pool = view(pd_rank("m1"), *self.POOL.ranks.values())
        counts: Counter[str] = Counter()
        for seed in range(400):
            shape = RequestShape(prompt_tokens=1_000, output_tokens=10, prompt_key=str(seed), pairable=True)
            result = plan_alone(shape, pool, rules(policy, "nixl"), pool_ms=0, chance=Random(seed), avoid=frozenset())
            assert result is not None
            counts.update(each.rank for each in choose_alone(result.ask, result.loads))
        assert 5 < counts["m1"] < 60, "about 1 of 17"


class TestDecodeRanksThatNeedAPrefillRank:
    """SGLang's."""

    @pytest.mark.parametrize("policy", POLICIES)
    def test_they_are_asked_in_pairs_and_never_alone(self, policy: str) -> None:
        sglang: dict[str, Any] = {"connector": "sglang"}
        ranks = view(*(pd_rank(name, **sglang) for name in ("p1", "d1", "d2")))
        result = plan(PAIRABLE, ranks, rules(policy, "sglang"), pool_ms=0, turn=0, chance=Random(1))
        assert result is not None
        assert names(result.ask) == (set(), {"p1"}, {"d1", "d2"})
        assert plan(SHAPE, ranks, rules(policy, "sglang"), pool_ms=0, turn=0, chance=Random(1)) is None

    def test_alone_too(self) -> None:
        sglang: dict[str, Any] = {"connector": "sglang"}
        ranks = view(*(pd_rank(name, **sglang) for name in ("p1", "d1", "d2")))
        result = plan_alone(PAIRABLE, ranks, rules("forebay", "sglang"), pool_ms=0, chance=Random(1), avoid=frozenset())
        assert result is not None
        assert names(result.ask) == (set(), {"p1"}, {"d1", "d2"})
        assert len(choose_alone(result.ask, result.loads)) == 2
