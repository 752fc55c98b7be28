"""FastDeploy: any node within a step of the least load that nodes have published."""

from collections import Counter
from random import Random

import pytest

from simulator.cluster.peers.fastdeploy import FastDeploy
from tests.simulator.cluster.peers.legs import RANKS, chosen, decode, prefill, request, whole


def rule(**published: float) -> FastDeploy:
    return FastDeploy(lambda rank: published.get(rank, 0.0), lambda rank, amount: None, Random(1))


@pytest.mark.parametrize(
    ("prompt_tokens", "step"),
    [(10, 100), (600, 300), (999, 499), (1_000, 100), (3_000, 300), (100_000, 500)],
)
def test_a_prefill_node_is_any_that_is_less_than_a_step_above_the_least(prompt_tokens: int, step: int) -> None:
    loads = {"a": 5_000.0, "b": 5_000.0 + step - 1, "c": 5_000.0 + step, "d": 9_000.0}
    assert chosen(rule(**loads), request(prompt_tokens=prompt_tokens)) == {"a", "b"}


def test_ten_decode_nodes_tolerate_nine_requests_more_and_four_tolerate_three() -> None:
    loads = {"a": 1.0, "b": 4.0, "c": 5.0, "d": 10.0}
    four = rule(**loads)
    assert {four.decode_rank(request(), RANKS) for _ in range(200)} == {"a", "b"}
    many = (*RANKS, *(f"{number}" for number in range(10)))
    ten = rule(**loads | dict.fromkeys(many[4:], 11.0))
    assert {ten.decode_rank(request(), many) for _ in range(400)} == set(RANKS)


def test_cached_prefixes_count_for_nothing_and_decode_nodes_count_requests() -> None:
    pulled: Counter[str] = Counter()
    counting = FastDeploy(lambda rank: 0.0, lambda rank, amount: pulled.update({rank: int(amount)}), Random(1))
    long = request(prompt_tokens=4_000, blocks=(1, 2, 3))
    legs = prefill("a", long), decode("b", long), whole("c", long)
    for leg in legs:
        counting.began(leg)
    assert pulled == {"a": 4_000, "b": 1, "c": 4_000}
    for leg in legs[0], legs[2]:
        counting.prefilled(leg)
    assert pulled == {"a": 0, "b": 1, "c": 4_000}
    for leg in legs:
        counting.ended(leg)
    assert not pulled.total()
