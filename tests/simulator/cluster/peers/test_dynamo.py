"""Dynamo's cost and LMetric's product."""

from collections.abc import Sequence
from random import Random

from simulator.cluster.peers.dynamo import Dynamo
from simulator.cluster.peers.dynamo_active import ActiveSequences
from simulator.cluster.peers.dynamo_conditional import DynamoConditional
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.lmetric import LMetric
from simulator.kv_cache import KvCache
from tests.simulator.cluster.peers.legs import begin, decode, prefill, request, whole

PAIR = ("a", "b")


def exact(**held: Sequence[int]) -> ExactPrefixes:
    """An index of ranks that hold these blocks."""
    caches = {rank: KvCache(100) for rank in PAIR}
    for rank, keys in held.items():
        for block, key in zip(caches[rank].take((), len(keys)) or (), keys, strict=True):
            caches[rank].publish(block, key)
    return ExactPrefixes(caches)


def dynamo(known: ExactPrefixes, *mixed: str) -> Dynamo:
    return Dynamo(known, ActiveSequences(known, lambda: 0.0), mixed, Random(1))


def test_a_prompt_goes_to_its_prefix_until_as_much_is_under_way_there() -> None:
    rule = dynamo(exact(a=(1, 2)))
    asked = request(9, blocks=(1, 2, 3))
    begin(rule, prefill("a", request(1, 1_023)))
    # 1,023 + 513 is less than 1,537; 1,025 + 513 is not.
    assert rule.prefill_rank(asked, PAIR) == "a"
    begin(rule, prefill("a", request(2, 2)))
    assert rule.prefill_rank(asked, PAIR) == "b"


def test_a_prompt_under_way_counts_without_its_prefix_and_in_full_until_it_is_computed() -> None:
    rule = dynamo(exact(a=(1, 2)))
    leg = prefill("a", request(1, blocks=(1, 2)))
    begin(rule, leg, prefill("b", request(2, 2)))
    # One token has to be computed of the first.
    assert rule.prefill_rank(request(3, 100), PAIR) == "a"
    rule.prefilled(leg)
    begin(rule, prefill("a", request(4, 3)))
    assert rule.prefill_rank(request(3, 100), PAIR) == "b"


def test_a_decode_rank_has_the_fewest_tokens_of_prompts() -> None:
    rule = dynamo(exact())
    legs = decode("a", request(1, 100)), decode("b", request(2, 60)), decode("b", request(3, 60))
    begin(rule, *legs)
    assert rule.decodes_late
    assert rule.decode_rank(request(9), PAIR) == "a"
    rule.ended(legs[1])
    assert rule.decode_rank(request(9), PAIR) == "b"


def test_blocks_that_active_requests_share_count_once_on_a_mixed_rank() -> None:
    rule = dynamo(exact(a=(1, 2), b=(7, 8)), *PAIR)
    legs = [whole("a", request(number, blocks=(1, 2))) for number in range(3)]
    begin(rule, *legs, whole("b", request(4, blocks=(7, 8))))
    for leg in legs:
        rule.prefilled(leg)
    # To compute: 1 on a, 1,025 + 1 on b. Active with it: 2 blocks and 4 tokens on a, 4 blocks and 2 tokens on b.
    assert rule.prefill_rank(request(9, blocks=(1, 2)), PAIR) == "a"
    for leg in legs:
        rule.ended(leg)
    begin(rule, *(whole("a", request(number, 600)) for number in range(5, 10)))
    assert rule.prefill_rank(request(99, blocks=(1, 2)), PAIR) == "b"


def test_routers_that_tell_each_other_know_what_the_others_sent() -> None:
    known = exact()
    active = ActiveSequences(known, lambda: 0.0)
    one, other = (Dynamo(known, active, (), Random(seed)) for seed in (1, 2))
    begin(one, prefill("a", request(1, 100)))
    assert other.prefill_rank(request(2, 100), PAIR) == "b"


def test_the_progress_of_the_oldest_prompt_is_taken_off_as_far_as_it_goes() -> None:
    now = [0.0]
    active = ActiveSequences(exact(), lambda: now[0], 1_000.0)
    first, second = prefill("a", request(1, 2_000)), prefill("a", request(2, 5_000))
    active.began(first)
    now[0] = 0.5
    active.began(second)
    assert active.prompt_tokens("a") == 6_500
    now[0] = 3.0
    assert active.prompt_tokens("a") == 5_000
    active.prefilled(first)
    assert active.prompt_tokens("a") == 5_000
    now[0] = 4.0
    assert active.prompt_tokens("a") == 4_000
    active.prefilled(second)
    assert active.prompt_tokens("a") == 0


def conditional(known: ExactPrefixes) -> DynamoConditional:
    return DynamoConditional(known, ActiveSequences(known, lambda: 0.0), (), Random(1))


def test_a_decode_rank_prefills_what_is_short_and_mostly_cached_there() -> None:
    rule = conditional(exact(a=range(8)))
    assert rule.whole_rank(request(9, 4 * 512 + 2_047, blocks=(0, 1, 2, 3)), PAIR) == "a"
    assert rule.whole_rank(request(9, 4 * 512 + 2_048, blocks=(0, 1, 2, 3)), PAIR) is None
    # 0.7 of 1,706 tokens are 1,194.2, of 1,707 tokens 1,194.9.
    assert rule.whole_rank(request(9, 512 + 1_194, blocks=(0, 9)), PAIR) == "a"
    assert rule.whole_rank(request(9, 512 + 1_195, blocks=(0, 9)), PAIR) is None
    assert rule.whole_rank(request(9, 100), PAIR) is None


def test_the_decode_rank_that_might_prefill_is_the_one_with_the_least_to_compute_and_to_keep() -> None:
    rule = conditional(exact(a=(1, 2), b=(1,)))
    asked = request(9, blocks=(1, 2))
    assert rule.whole_rank(asked, PAIR) == "a"
    begin(rule, decode("a", request(1, 513)))
    # 1 to compute and 1,025 + 513 to keep on a, 513 and 1,025 on b.
    assert rule.whole_rank(asked, PAIR) == "b"
    rule.ended(decode("a", request(1, 513)))
    begin(rule, whole("a", request(2, 300)))
    # 300 to compute before it and 300 to keep.
    assert rule.whole_rank(asked, PAIR) == "b"


def test_a_pair_decodes_where_the_prompt_is_cached_unless_that_rank_keeps_more() -> None:
    rule = conditional(exact(a=(1, 2)))
    asked = request(9, blocks=(1, 2, 3))
    begin(rule, decode("a", request(1, 1_023)))
    assert rule.decode_rank(asked, PAIR) == "a"
    begin(rule, decode("a", request(2, 2)))
    assert rule.decode_rank(asked, PAIR) == "b"


def test_lmetric_multiplies_tokens_by_requests() -> None:
    rule = LMetric(exact(a=(1, 2)), Random(1))
    begin(rule, prefill("a", request(1, 9_000)))
    # (1,539 - 1,024) x 2 = 1,030 against 1,539; with a third 1,545.
    assert rule.prefill_rank(request(9, 1_539, blocks=(1, 2, 3)), PAIR) == "a"
    begin(rule, prefill("a", request(2, 1)))
    assert rule.prefill_rank(request(9, 1_539, blocks=(1, 2, 3)), PAIR) == "b"


def test_lmetric_sends_a_prompt_to_an_idle_rank_that_has_most_of_it() -> None:
    rule = LMetric(exact(b=(1,)), Random(1))
    assert rule.prefill_rank(request(9, blocks=(1, 2)), PAIR) == "b"


def test_lmetric_decodes_in_the_smallest_batch() -> None:
    rule = LMetric(exact(), Random(1))
    legs = decode("a", request(1, 10)), decode("a", request(2, 10)), decode("b", request(3, 10_000))
    begin(rule, *legs)
    assert rule.decode_rank(request(9), PAIR) == "b"
    rule.ended(legs[0])
    rule.ended(legs[1])
    assert rule.decode_rank(request(9), PAIR) == "a"
