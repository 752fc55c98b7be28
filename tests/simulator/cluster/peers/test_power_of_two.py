"""vllm-router's power of two."""

from collections import Counter
from random import Random

from simulator.cluster.peers.polled import RankSample
from simulator.cluster.peers.power_of_two import PowerOfTwo
from tests.simulator.cluster.peers.legs import RANKS, begin, polled, prefill, request


def test_the_worst_of_three_never_gets_one_and_the_best_gets_two_thirds() -> None:
    known = polled(a=RankSample(1, 1, 0.0), b=RankSample(3, 0, 0.0), c=RankSample(2, 2, 0.0))
    rule = PowerOfTwo(known, Random(1))
    chosen = Counter(rule.prefill_rank(request(), ("a", "b", "c")) for _ in range(3_000))
    assert set(chosen) == {"a", "b"}
    assert 1_900 < chosen["a"] < 2_100


def test_own_requests_are_added_to_the_last_poll() -> None:
    rule = PowerOfTwo(polled(a=RankSample(0, 1, 0.0), b=RankSample(2, 0, 0.0)), Random(1))
    assert rule.prefill_rank(request(), ("a", "b")) == "a"
    legs = prefill("a", request(1)), prefill("a", request(2))
    begin(rule, *legs)
    assert rule.prefill_rank(request(), ("a", "b")) == "b"
    rule.prefilled(legs[0])
    rule.prefilled(legs[1])
    assert rule.prefill_rank(request(), ("a", "b")) == "a"


def test_a_single_rank_needs_no_second() -> None:
    assert PowerOfTwo(polled(), Random(1)).decode_rank(request(), RANKS[:1]) == "a"
