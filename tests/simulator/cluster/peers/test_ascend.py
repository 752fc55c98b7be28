"""vllm-ascend's three proxies."""

import pytest

from simulator.cluster.peers.ascend_bucket import AscendBucket, moves
from simulator.cluster.peers.ascend_external_dp import AscendExternalDp
from simulator.cluster.peers.ascend_pd import AscendPd
from tests.simulator.cluster.peers.legs import RANKS, begin, decode, prefill, request, whole


def test_the_external_dp_proxy_takes_the_first_of_the_ranks_with_the_fewest_bytes() -> None:
    rule = AscendExternalDp()
    long, short = request(prompt_tokens=1_000), request(prompt_tokens=300)
    legs = whole("a", long), whole("b", short), whole("b", short), whole("c", long), whole("d", long)
    begin(rule, *legs)
    # 4 bytes a token and half of 16 more tokens: 2 x 1,208 is less than 4,008.
    assert rule.prefill_rank(short, RANKS) == "b"
    begin(rule, whole("b", long))
    assert rule.prefill_rank(short, RANKS) == "a"
    rule.prefilled(legs[4])
    assert rule.prefill_rank(short, RANKS) == "a"
    rule.ended(legs[4])
    assert rule.prefill_rank(short, RANKS) == "d"


def test_the_pd_proxy_counts_a_prompt_as_120_milliseconds_and_its_length() -> None:
    rule = AscendPd()
    begin(rule, prefill("a", request(1, 10)), prefill("a", request(2, 10)), prefill("b", request(3, 3_000)))
    # 2 x (0.345 + 120.0745) = 240.8 against 103.5 + 120.0745 = 223.6.
    assert rule.prefill_rank(request(), ("a", "b")) == "b"
    begin(rule, prefill("c", request(4, 3_600)))
    # 124.2 + 120.0745 = 244.3.
    assert rule.prefill_rank(request(), ("a", "c")) == "a"


def test_the_pd_proxy_holds_a_prefill_rank_until_the_first_token() -> None:
    rule = AscendPd()
    leg = prefill("a", request(1, 3_000))
    begin(rule, leg)
    rule.prefilled(leg)
    assert rule.prefill_rank(request(), ("a", "b")) == "b"
    rule.answered(leg)
    assert rule.prefill_rank(request(), ("a", "b")) == "a"


def test_the_pd_proxy_picks_decode_ranks_by_the_bytes_of_their_prompts() -> None:
    rule = AscendPd()
    begin(rule, decode("a", request(1, 100)), decode("a", request(2, 100)), decode("b", request(3, 300)))
    assert rule.decodes_late
    assert rule.decode_rank(request(), ("a", "b")) == "a"


def test_buckets_send_short_prompts_to_the_first_half_and_long_ones_to_the_second() -> None:
    rule = AscendBucket()
    assert rule.prefill_rank(request(prompt_tokens=32_767), RANKS) == "a"
    assert rule.prefill_rank(request(prompt_tokens=32_768), RANKS) == "c"
    begin(rule, prefill("c", request(1, 50_000)))
    assert rule.prefill_rank(request(prompt_tokens=32_767), RANKS) == "a"


@pytest.mark.parametrize(
    ("tokens", "other", "own_load", "other_load", "expected"),
    [
        # Beside the border: 1 - 5/6 = 0.167 times nearly 1.
        (32_767, 1, 6.0, 5.0, True),
        (32_767, 1, 6.0, 5.4, False),
        # 65,536 above the short group's border are 4 halves of its range: 0.167 x exp(-0.4) = 0.112.
        (98_304, 0, 6.0, 5.0, False),
        (98_304, 0, 6.0, 4.8, True),
        (98_304, 0, 5.0, 6.0, False),
        (98_304, 0, 0.0, 0.0, False),
    ],
)
def test_a_request_moves_to_the_other_bucket_by_load_times_affinity(
    tokens: int, other: int, own_load: float, other_load: float, expected: bool
) -> None:
    assert moves(tokens, other, own_load, other_load) is expected


def test_a_single_rank_takes_all_buckets() -> None:
    assert AscendBucket().prefill_rank(request(prompt_tokens=100_000), ("a",)) == "a"
