"""SMG's cache_aware and least_load."""

import pytest

from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.polled import RankSample
from simulator.cluster.peers.smg_cache_aware import SmgCacheAware
from simulator.cluster.peers.smg_events import SmgEvents
from simulator.cluster.peers.smg_least_load import SmgLeastLoad
from simulator.kv_cache import KvCache
from tests.simulator.cluster.peers.legs import RANKS, begin, polled, prefill, request, whole


def test_a_prompt_goes_where_more_than_a_third_of_it_went_first() -> None:
    rule = SmgCacheAware()
    begin(rule, prefill("b", request(1, blocks=(1, 2, 3))), prefill("c", request(2, blocks=(1, 2, 3))))
    assert rule.prefill_rank(request(3, 512 * 10, blocks=tuple(range(1, 11))), RANKS) == "a"
    assert rule.prefill_rank(request(3, 512 * 9, blocks=tuple(range(1, 10))), RANKS) == "b"


def test_an_unknown_prompt_goes_to_the_fewest_requests_then_to_the_fewest_ever() -> None:
    rule = SmgCacheAware()
    legs = [whole(rank, request(number)) for number, rank in enumerate(RANKS)]
    begin(rule, *legs, whole("a", request(9)))
    rule.ended(legs[0])
    assert rule.prefill_rank(request(5), RANKS) == "b"
    for leg in legs[1:3]:
        rule.ended(leg)
    assert rule.prefill_rank(request(5), RANKS) == "b"
    begin(rule, whole("b", request(6)))
    assert rule.prefill_rank(request(5), RANKS) == "c"


@pytest.mark.parametrize(("more", "expected"), [(64, "b"), (65, "a")])
def test_affinity_is_abandoned_when_counts_differ_by_more_than_64(more: int, expected: str) -> None:
    rule = SmgCacheAware()
    begin(rule, *(prefill("b", request(number, blocks=(1, 2))) for number in range(more)))
    assert rule.prefill_rank(request(99, blocks=(1, 2)), ("b", "a")) == expected


def test_affinity_is_kept_when_counts_differ_by_half_at_the_most() -> None:
    rule = SmgCacheAware()
    for number in range(300):
        begin(rule, prefill("b", request(number, blocks=(1, 2))))
        if number < 200:
            begin(rule, prefill("a", request(number)))
    assert rule.prefill_rank(request(999, blocks=(1, 2)), ("a", "b")) == "b"


def test_kv_events_send_a_prompt_where_most_of_it_is_and_then_to_the_fewest_requests() -> None:
    caches = {rank: KvCache(8) for rank in RANKS}
    for rank, keys in {"a": (1,), "b": (1, 2), "c": (1, 2)}.items():
        for block, key in zip(caches[rank].take((), len(keys)) or (), keys, strict=True):
            caches[rank].publish(block, key)
    rule = SmgEvents(ExactPrefixes(caches))
    begin(rule, *(prefill("b", request(number)) for number in range(3)))
    assert rule.prefill_rank(request(9, blocks=(1, 2, 3)), RANKS) == "c"
    assert rule.prefill_rank(request(9, blocks=(1, 9, 10, 11)), RANKS) == "a"
    assert rule.prefill_rank(request(9, blocks=(7, 8)), ("b", "d")) == "d"
    begin(rule, *(prefill("c", request(number)) for number in range(65)))
    assert rule.prefill_rank(request(9, blocks=(1, 2, 3)), ("a", "c")) == "a"


def test_least_load_is_the_time_that_waiting_tokens_take() -> None:
    # 1,000 / 500 = 2 s against 3,000 / 2,000 = 1.5 s: where nothing is generated the default pace counts.
    known = polled(a=RankSample(9, 1, 0.0, 1_000, 500.0), b=RankSample(0, 3, 0.0, 3_000, 0.0))
    assert SmgLeastLoad(known).prefill_rank(request(), ("a", "b")) == "b"


def test_least_load_avoids_full_kv() -> None:
    # 0.15 x 0.9 / 0.1 = 1.35 s against 2,600 / 2,000 = 1.3 s.
    known = polled(a=RankSample(0, 0, 0.9), b=RankSample(0, 1, 0.0, 2_600))
    assert SmgLeastLoad(known).prefill_rank(request(), ("a", "b")) == "b"


def test_a_poll_makes_least_load_forget_what_it_sent() -> None:
    known = polled(a=RankSample(0, 0, 0.0), b=RankSample(0, 1, 0.0, 1_000))
    rule = SmgLeastLoad(known)
    begin(rule, prefill("a", request(1, 2_000)))
    assert rule.prefill_rank(request(2), ("a", "b")) == "b"
    known.take({"a": RankSample(0, 0, 0.0), "b": RankSample(0, 1, 0.0, 1_000)})
    assert rule.prefill_rank(request(2), ("a", "b")) == "a"
