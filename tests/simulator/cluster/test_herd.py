"""A pool of a thousand ranks, of which each placement sees sixteen, does not herd."""

import pytest

from tests.simulator.cluster.herd import placed_at_once


@pytest.mark.parametrize("policy", ["forebay", "least_work"])
def test_no_rank_of_1000_gets_more_than_4_of_2000_placements_through_64_gateways(policy: str) -> None:
    placed = placed_at_once(2000, 64, ranks=1000, policy=policy)
    assert placed.total() == 2000
    assert max(placed.values()) <= 4


def test_at_random_some_would() -> None:
    assert max(placed_at_once(2000, 64, ranks=1000, policy="random").values()) > 4
