"""Each policy's prices, and what they lead to."""

from __future__ import annotations

import msgspec
import pytest

from scheduler.decision import UNLIMITED, LegKind
from scheduler.errors import UnknownPolicyError
from scheduler.pairing import transfer_s, where
from scheduler.placeable import Placeable
from scheduler.policies import POLICIES, policy_named
from scheduler.policies.context import Context
from scheduler.policies.least_requests import least_requests
from scheduler.policies.least_work import least_work
from scheduler.policies.random import random
from scheduler.policies.round_robin import likely, round_robin
from scheduler.rows import BookLoad
from scheduler.shortlist import cost_on
from tests.scheduler.samples import SHAPE, pd_rank, rank

WHOLE = LegKind.WHOLE
LEAST_WORK = policy_named("least_work")
HARM = 1.0
"""What holding up an answer of 100 tokens for a second costs, as SHAPE's is."""


def context(queue_s: float = 0.0) -> Context:
    return Context(least_queue_s=queue_s)


@pytest.mark.parametrize("name", ["forebay", "forebay_pairs", "least_work", "least_requests", "round_robin", "random"])
def test_a_policy_is_found_by_its_name(name: str) -> None:
    assert policy_named(name) is POLICIES[name]


def test_an_unknown_policy_is_named_with_those_there_are() -> None:
    with pytest.raises(UnknownPolicyError, match=r"'fastest'.*forebay, forebay_pairs, least_work, least_requests"):
        policy_named("fastest")


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_prices_every_rank_once_in_its_life_and_group(name: str) -> None:
    ranks = [rank("b", dp_group="g"), rank("a")]
    candidates = {each.rank: each for each in POLICIES[name].price(WHOLE, SHAPE, ranks, context())}
    assert set(candidates) == {"a", "b"}
    assert [(candidates[each].incarnation, candidates[each].group) for each in "ab"] == [("i1", "-"), ("i1", "g")]


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_answers_for_no_ranks(name: str) -> None:
    assert POLICIES[name].price(WHOLE, SHAPE, [], context()) == []


def test_least_requests_costs_one_a_request() -> None:
    (candidate,) = least_requests(WHOLE, SHAPE, [rank("a")], context())
    assert (candidate.base_s, candidate.per_request_s) == (0, 1)


def test_random_costs_nothing_anywhere() -> None:
    loaded = rank("a", BookLoad(queued_tokens=900, requests=9))
    assert {cost_on(each, loaded.loads(0)) for each in random(WHOLE, SHAPE, [loaded, rank("b")], context())} == {0}


def test_round_robin_takes_the_ranks_in_the_order_of_their_names() -> None:
    ranks = Placeable(rank(name) for name in ("c", "a", "b"))
    turns = []
    for turn in range(6):
        candidates = round_robin(WHOLE, SHAPE, likely(ranks, turn, 1), context())
        turns.append([each.rank for each in sorted(candidates, key=lambda each: each.base_s)])
    assert turns == [["a", "b", "c"], ["b", "c", "a"], ["c", "a", "b"]] * 2


class TestLeastWork:
    """Prefill: q + alpha * u; decode: 2 * requests / max_num_seqs + KV / capacity, and a veto above 95 % of it."""

    @pytest.mark.parametrize(("queue_s", "alpha"), [(0.0, 1.0), (0.5, 2.0), (2.0, 5.0), (4.0, 9.0), (100.0, 9.0)])
    def test_recomputing_costs_more_where_nobody_is_idle(self, queue_s: float, alpha: float) -> None:
        (candidate,) = least_work(WHOLE, SHAPE, [rank("a")], context(queue_s=queue_s))
        assert candidate.base_s == pytest.approx((alpha + HARM) * 1_000 / 1_000)

    def test_prices_are_by_the_rank_s_own_rate_and_size(self) -> None:
        big = rank("a", heard={"prefill_tokens_per_s": 4_000.0}, max_num_seqs=16, kv_capacity_tokens=200_000)
        (candidate,) = least_work(WHOLE, SHAPE, [big], context())
        assert (candidate.base_s, candidate.per_queued_token_s) == ((1 + HARM) * 0.25, 1 / 4_000)
        assert (candidate.per_request_s, candidate.per_kv_token_s) == (2 / 16 + HARM * 0.25, 1 / 200_000)

    def test_a_rank_is_full_where_the_request_would_pass_its_kv(self) -> None:
        (candidate,) = least_work(WHOLE, SHAPE, [rank("a")], context())
        assert candidate.cap_kv_tokens == pytest.approx(95_000 - 1_100)
        assert (candidate.cap_queued_tokens, candidate.cap_requests) == (UNLIMITED, UNLIMITED)

    def test_a_request_larger_than_a_rank_fills_it_when_it_is_not_idle(self) -> None:
        (candidate,) = least_work(WHOLE, SHAPE, [rank("a", kv_capacity_tokens=500)], context())
        assert candidate.cap_kv_tokens == 0

    def test_the_shorter_queue_is_cheaper(self) -> None:
        ranks = [rank("a", BookLoad(queued_tokens=5_000, prompts=2, requests=2)), rank("b")]
        costs = [
            cost_on(each, ranks[at].loads(0)) for at, each in enumerate(least_work(WHOLE, SHAPE, ranks, context()))
        ]
        assert costs[1] < costs[0]

    def test_a_faster_rank_may_have_the_longer_queue(self) -> None:
        fast = rank("a", BookLoad(queued_tokens=2_000, prompts=1), heard={"prefill_tokens_per_s": 8_000.0})
        ranks = [fast, rank("b", BookLoad(queued_tokens=1_000, prompts=1))]
        costs = [
            cost_on(each, ranks[at].loads(0)) for at, each in enumerate(least_work(WHOLE, SHAPE, ranks, context()))
        ]
        assert costs[0] < costs[1]


class TestLeastWorkInTwoLegs:
    """The same prices, leg by leg; and what it costs that a rank that decodes prefills too."""

    def test_a_prefill_rank_costs_its_queue_and_the_prompt(self) -> None:
        (candidate,) = least_work(LegKind.PREFILL, SHAPE, [pd_rank("p")], context(queue_s=0.5))
        assert (candidate.kind, candidate.base_s, candidate.per_queued_token_s) == (LegKind.PREFILL, 2.0, 0.001)
        assert (candidate.per_request_s, candidate.per_kv_token_s) == (0, 0)

    def test_a_prefill_rank_is_full_where_the_prompt_would_pass_its_kv(self) -> None:
        (candidate,) = least_work(LegKind.PREFILL, SHAPE, [pd_rank("p")], context())
        assert candidate.cap_kv_tokens == pytest.approx(95_000 - 1_000)

    def test_a_decode_rank_costs_what_it_decodes(self) -> None:
        (candidate,) = least_work(LegKind.DECODE, SHAPE, [pd_rank("d")], context(queue_s=9.0))
        assert (candidate.kind, candidate.base_s, candidate.per_queued_token_s) == (LegKind.DECODE, 0, 0)
        assert (candidate.per_request_s, candidate.per_kv_token_s) == (2 / 256, 1 / 100_000)
        assert candidate.cap_kv_tokens == pytest.approx(95_000 - 1_100)

    @pytest.mark.parametrize("requests", [0, 1, 10])
    def test_prefilling_where_others_decode_costs_a_second_for_each_10_ms_of_their_tpot(self, requests: int) -> None:
        """SHAPE's prompt takes 1 s; answers of 100 tokens that it holds up come 10 ms a token slower."""
        loaded = pd_rank("d", BookLoad(requests=requests, dispatched=requests, growth_tokens=50 * requests))
        (candidate,) = least_work(WHOLE, SHAPE, [loaded], context())
        loads = loaded.loads(0)
        decode_s = requests * 2 / 256 + loads.kv_tokens / 100_000
        assert cost_on(candidate, loads) == pytest.approx(1.0 + decode_s + (requests + 1) * 1.0)

    def test_to_hold_up_long_answers_costs_less(self) -> None:
        short, long = (
            least_work(
                WHOLE,
                SHAPE,
                [pd_rank("d", BookLoad(requests=10, dispatched=10, growth_tokens=growth_tokens))],
                context(),
            )[0].per_request_s
            for growth_tokens in (500, 5_000)
        )
        load_s = 2 / 256
        assert short - load_s == pytest.approx(10 * (long - load_s))

    @pytest.mark.parametrize(("tokens", "is_local"), [(41, True), (42, False), (1_000, False)])
    def test_on_idle_ranks_only_prompts_whose_transfer_costs_more_than_that_are_prefilled_locally(
        self, tokens: int, is_local: bool
    ) -> None:
        shape = msgspec.structs.replace(SHAPE, prompt_tokens=tokens)
        p, d = (pd_rank(name, heard={"prefill_tokens_per_s": 8_000.0}) for name in ("p", "d"))
        prefill_s, decode_s, local_s = (
            least_work(kind, shape, [each], context())[0].base_s
            for kind, each in ((LegKind.PREFILL, p), (LegKind.DECODE, d), (WHOLE, d))
        )
        assert (local_s < prefill_s + decode_s + transfer_s(tokens / 8_000, where(p.card), where(d.card))) is is_local

    def test_of_many_ranks_the_likely_ones_are_those_of_their_role(self) -> None:
        queued = BookLoad(queued_tokens=100_000, prompts=1)
        decoding = BookLoad(requests=200)
        prefill = [pd_rank(f"p{n}", decoding if n else queued) for n in range(65)]
        slow, fast = {"prefill_tokens_per_s": 10.0}, {"prefill_tokens_per_s": 10_000.0}
        decode = [pd_rank(f"d{n}", heard=slow) if n else pd_rank("d0", decoding, heard=fast) for n in range(65)]
        assert prefill[0] not in LEAST_WORK.likely(Placeable(prefill), 0, 1)
        assert decode[0] not in LEAST_WORK.likely(Placeable(decode), 0, 1)
