"""place: many at once, which all know the same, do not go to the same ranks."""

from collections import Counter

import pytest

from scheduler.messages import Role
from tests.contract.herd import idle_ranks, place_at_once
from tests.contract.world import World

PLACEMENTS = 200
RANKS = 16


@pytest.mark.parametrize("policy", ["forebay", "least_work", "least_requests"])
@pytest.mark.parametrize("gateways", [1, 8, 40])
async def test_200_at_once_are_12_or_13_on_each_of_16_idle_ranks(world: World, gateways: int, policy: str) -> None:
    await idle_ranks(world, Role.MIXED, RANKS)
    legs = await place_at_once(world, PLACEMENTS, gateways, policy=policy)
    assert Counter(legs.values()) == {12: 8, 13: 8}


@pytest.mark.parametrize("gateways", [1, 8])
async def test_so_are_both_legs_of_200_pairs(world: World, gateways: int) -> None:
    for role in (Role.PREFILL, Role.DECODE):
        await idle_ranks(world, role, RANKS)
    legs = await place_at_once(world, PLACEMENTS, gateways, policy="forebay")
    assert Counter(legs.values()) == {12: 16, 13: 16}
