"""Invariant 13: what dp_group.lua promises on every store (tests/contract/test_dp_group.py), on mutated scripts too."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from simulator.store import VirtualStore
from tests.contract import test_dp_group as contract
from tests.contract.world import World
from tests.invariants.mutation import script_text

PROMISES = (
    contract.test_members_hear_of_each_other,
    contract.test_of_several_that_see_it_end_one_begins_the_next,
    contract.test_ranks_that_nobody_has_are_awaited,
    contract.test_what_the_store_says_of_a_member_counts_once_it_is_heard_again,
    contract.test_a_generation_outlives_an_emptied_store_in_whoever_knows_it,
    contract.test_two_generations_of_one_number_end_in_a_third,
    contract.test_ranks_of_a_member_that_is_heard_cannot_be_claimed,
    contract.test_ranks_of_a_silent_member_go_to_who_says_that_it_has_them,
    contract.test_silence_is_said_and_changes_nothing,
    contract.test_who_leaves_is_gone_and_the_others_begin_anew,
    contract.test_only_failures_are_counted_and_an_operator_forgives_them,
    contract.test_after_seven_failures_in_an_hour_it_stays_down,
    contract.test_a_new_epoch_is_found,
    contract.test_a_node_has_one_place,
    contract.test_another_generation_of_the_same_number_is_confirmed_anew,
    contract.test_lines_that_cannot_be_read_go,
    contract.test_neighbours_are_no_claimants,
    contract.test_a_row_heard_in_the_future_claims_nothing,
    contract.test_a_member_that_has_failed_before_is_not_forgotten_when_all_leave,
)


@pytest.mark.parametrize("promise", PROMISES, ids=lambda promise: promise.__name__)
async def test_it_keeps(promise: Callable[[World], Awaitable[None]]) -> None:
    store = VirtualStore(now_ms=1_700_000_000_000, text_of=script_text)

    async def move(_world: World, ms: int) -> None:
        store.now_ms += ms

    world = World(store, move, real=False)
    await world.begin()
    await world.drain("nobody")
    await promise(world)
