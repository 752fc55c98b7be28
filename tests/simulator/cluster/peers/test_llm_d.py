"""llm-d's scorers."""

from random import Random

from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.llm_d import CHART, LOAD_AWARE, PRECISE, QUEUE, LlmD, Weights
from simulator.cluster.peers.llm_d_decider import LlmDDecider
from simulator.cluster.peers.llm_d_index import ApproximateIndex
from simulator.cluster.peers.llm_d_precise import PreciseIndex
from simulator.cluster.peers.own_prefixes import OwnPrefixes
from simulator.cluster.peers.polled import Polled, RankSample
from simulator.kv_cache import KvCache
from tests.simulator.cluster.peers.legs import begin, decode, polled, prefill, request

PAIR = ("a", "b")


def rule(weights: Weights, known: Polled) -> LlmD:
    return LlmD(weights, ApproximateIndex(OwnPrefixes()), known, Random(1))


def chosen(rule: LlmD, *blocks: int) -> set[str]:
    return {rule.prefill_rank(request(99, blocks=blocks), PAIR) for _ in range(50)}


def test_half_a_prefix_outweighs_any_queue_by_the_load_aware_scorer() -> None:
    held = rule(LOAD_AWARE, polled(a=RankSample(9, 128, 0.0), b=RankSample(0, 0, 0.0)))
    begin(held, prefill("a", request(1, blocks=(1, 2))))
    # 2 x 2/4 + 0 against 0 + 0.5; 2 x 1/5 against 0.5.
    assert chosen(held, 1, 2, 3, 4) == {"a"}
    assert chosen(held, 1, 3, 4, 5, 6) == {"b"}


def test_the_longest_queue_costs_as_much_as_half_a_prefix_by_the_queue_scorer() -> None:
    held = rule(QUEUE, polled(a=RankSample(9, 2, 0.0), b=RankSample(9, 1, 0.0)))
    begin(held, prefill("a", request(1, blocks=(1, 2, 3))))
    assert chosen(held, 1, 2, 3, 4) == {"a"}
    assert chosen(held, 1, 2, 3, 4, 5, 6) == {"a", "b"}
    assert chosen(held, 1, 2, 3, 4, 5, 6, 7) == {"b"}


def test_an_installation_that_configures_nothing_weighs_kv_too() -> None:
    held = rule(CHART, polled(a=RankSample(9, 1, 0.9), b=RankSample(9, 1, 0.1)))
    begin(held, prefill("a", request(1, blocks=(1,))))
    # 3 x 1/2 + 2 x 0.1 = 1.7 against 2 x 0.9 = 1.8, the queues being equal.
    assert chosen(held, 1, 2) == {"b"}
    assert chosen(held, 1) == {"a"}


def test_equal_scores_are_broken_by_chance() -> None:
    assert chosen(rule(QUEUE, polled()), 1, 2) == set(PAIR)


def test_only_the_first_131072_tokens_are_matched() -> None:
    known = OwnPrefixes()
    begin(LlmD(QUEUE, ApproximateIndex(known), polled(), Random(1)), prefill("a", request(1, blocks=tuple(range(300)))))
    assert known.counts(range(300)) == {"a": 256}


def test_the_precise_index_knows_what_ranks_hold_and_what_was_just_sent() -> None:
    caches = {rank: KvCache(8) for rank in PAIR}
    for block, key in zip(caches["b"].take((), 2) or (), (1, 2), strict=True):
        caches["b"].publish(block, key)
    now = [0.0]
    index = PreciseIndex(ExactPrefixes(caches), lambda: now[0])
    asked = request(1, blocks=(1, 2, 3))
    assert index.held_blocks(asked, asked.blocks) == {"a": 0, "b": 2}
    index.picked("a", asked.blocks)
    assert index.held_blocks(asked, asked.blocks) == {"a": 3, "b": 2}
    now[0] = 1.0
    index.picked("a", asked.blocks[:1])
    now[0] = 2.5
    assert index.held_blocks(asked, asked.blocks) == {"a": 1, "b": 2}
    precise = LlmD(PRECISE, index, polled(a=RankSample(0, 0, 0.0), b=RankSample(0, 0, 0.5)), Random(1))
    # 2 x 1/3 + 1 + 1 against 2 x 2/3 + 1 + 0.5.
    assert precise.prefill_rank(asked, PAIR) == "b"


def decider(known: Polled, non_cached_tokens: int) -> LlmDDecider:
    """One that has sent the first two of three blocks to a decode rank."""
    index = ApproximateIndex(OwnPrefixes())
    rule = LlmDDecider(QUEUE, index, known, Random(1), non_cached_tokens=non_cached_tokens)
    begin(rule, decode("d", request(1, blocks=(1, 2))))
    return rule


def test_the_decode_rank_serves_all_of_a_prompt_of_which_it_lacks_less_than_the_threshold() -> None:
    rule = decider(polled(), 100)
    assert rule.whole_rank(request(2, 2 * 512 + 99, blocks=(1, 2)), ("d", "e")) == "d"
    assert rule.whole_rank(request(2, 2 * 512 + 100, blocks=(1, 2)), ("d", "e")) is None
    assert rule.whole_rank(request(3, 99), ("d", "e")) in ("d", "e")
    assert rule.whole_rank(request(3, 100), ("d", "e")) is None


def test_the_decider_sees_the_hits_of_the_rank_that_was_picked_and_of_no_other() -> None:
    # 2 x 1/3 + 0 against 0 + 1.
    rule = decider(polled(d=RankSample(0, 1, 0.0), e=RankSample(0, 0, 0.0)), 1_200)
    asked = request(2, blocks=(1, 7, 8))
    assert rule.whole_rank(asked, ("d", "e")) is None
    assert rule.prefill_rank(asked, PAIR) in PAIR
    assert rule.decode_rank(asked, ("d", "e")) == "e"
