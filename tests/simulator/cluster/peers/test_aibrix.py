"""AIBrix's prefix-cache routing."""

from random import Random

import pytest

from simulator.cluster.peers.aibrix import Aibrix
from simulator.cluster.peers.polled import Polled, RankSample
from tests.simulator.cluster.peers.legs import RANKS, begin, decode, polled, prefill, request, whole


def rule(*mixed: str, known: Polled | None = None, **others: float) -> Aibrix:
    return Aibrix(
        known or polled(),
        Random(1),
        mixed=mixed,
        others=lambda rank: others.get(rank, 0.0),
        write=lambda rank, amount: None,
    )


def chosen(rule: Aibrix, *blocks: int) -> set[str]:
    return {rule.prefill_rank(request(99, blocks=blocks), RANKS) for _ in range(100)}


def test_a_mixed_rank_has_the_best_match_unless_it_is_busier_than_mean_and_deviation() -> None:
    routed = rule(*RANKS)
    begin(routed, whole("a", request(1, blocks=(1, 2))), whole("b", request(2, blocks=(1,))))
    # Counts 1 1 0 0: a may have up to 0.5 + 0.5.
    assert chosen(routed, 1, 2, 3) == {"a"}
    begin(routed, whole("a", request(3)))
    # Counts 2 1 0 0: mean 0.75 and deviation 0.83 leave a out and b in.
    assert chosen(routed, 1, 2, 3) == {"b"}
    assert chosen(routed, 9) == {"c", "d"}


def test_requests_of_other_gateways_count_as_they_were_written() -> None:
    routed = rule(*RANKS, a=4.0)
    begin(routed, whole("a", request(1, blocks=(1, 2))), whole("b", request(2, blocks=(1,))))
    assert chosen(routed, 1, 2, 3) == {"b"}


@pytest.mark.parametrize(("busy", "expected"), [(8, {"b"}), (9, {"c", "d"})])
def test_only_the_least_busy_are_looked_at_when_counts_differ_by_more_than_8(busy: int, expected: set[str]) -> None:
    routed = rule(*RANKS, a=float(busy))
    begin(routed, whole("b", request(2, blocks=(1,))))
    assert chosen(routed, 1, 2) == expected


def test_a_prefill_rank_has_a_tenth_a_per_cent_of_prefix_and_a_share_of_the_most_requests() -> None:
    routed = rule()
    begin(routed, prefill("a", request(1, blocks=tuple(range(10)))), prefill("b", request(2)))
    # a: 100 - 9 % makes 9.1 and 1 of 1 requests, against 10 and none; with 10 % it is even.
    assert chosen(routed, *range(9), *range(100, 191)) == {"c", "d"}
    assert chosen(routed, *range(10), *range(100, 180)) == {"a"}


@pytest.mark.parametrize(("busy", "expected"), [(16, {"b"}), (17, {"c", "d"})])
def test_an_uneven_prefill_pool_goes_by_counts_alone(busy: int, expected: set[str]) -> None:
    routed = rule()
    begin(routed, *(prefill("a", request(number)) for number in range(busy)))
    leg = prefill("b", request(50, blocks=(1,)))
    begin(routed, leg)
    if expected == {"b"}:
        routed.prefilled(leg)
    assert chosen(routed, 1, 2) == expected


def test_a_decode_rank_has_few_requests_a_high_pace_and_free_kv() -> None:
    def decodes(**samples: RankSample) -> str:
        return rule(known=polled(**samples), a=2.0, b=1.0).decode_rank(request(), ("a", "b"))

    # a: (2/2 + 1 - 1) / 1 = 1, b: (1/2 + 1 - 0.6) / 1 = 0.9.
    assert decodes(a=RankSample(2, 0, 0.5, 0, 1_000.0), b=RankSample(1, 0, 0.5, 0, 600.0)) == "b"
    assert decodes(a=RankSample(2, 0, 0.5, 0, 1_000.0), b=RankSample(1, 0, 0.5, 0, 400.0)) == "a"
    # b: 0.9 / (0.4 / 0.5) = 1.125.
    assert decodes(a=RankSample(2, 0, 0.5, 0, 1_000.0), b=RankSample(1, 0, 0.6, 0, 600.0)) == "a"


def test_an_uneven_decode_pool_goes_by_counts_alone() -> None:
    known = polled(a=RankSample(20, 0, 0.1, 0, 2_000.0), b=RankSample(4, 0, 0.9, 0, 10.0))
    routed = rule(known=known, a=19.0, b=4.0)
    assert routed.decode_rank(request(), ("a", "b")) == "a"
    begin(routed, decode("a", request(1)))
    assert routed.decode_rank(request(), ("a", "b")) == "b"
