"""dp_group.lua, on every store: the generation of a DP group, and what its members say of themselves."""

from __future__ import annotations

from random import Random

import pytest

from scheduler.errors import StoreWrongTypeError
from scheduler.group_admin import end_generation, read_groups
from scheduler.group_generation import (
    NONE,
    SILENT_MS,
    Cause,
    Claimed,
    Generation,
    Group,
    GroupPhase,
    Span,
    Standing,
    Step,
    Wish,
)
from scheduler.group_member import GroupMember
from scheduler.settings import SchedulerSettings
from tests.contract.world import POOL, World

GROUP = "decode"
AT_FIRST = Standing(NONE, Step.STOPPED)
FAILED = Wish(Cause.FAILED, "rank 3 ended")


def member(world: World, name: str, first: int, ranks: int = 2, size: int = 4, seed: int = 0) -> GroupMember:
    span = Span(first, ranks, size)
    rng = Random(f"{name} {seed}")
    return GroupMember(world.store, pool=POOL, group=GROUP, name=name, span=span, settings=SchedulerSettings(), rng=rng)


async def tell(who: GroupMember, standing: Standing = AT_FIRST, wish: Wish | None = None) -> Group:
    said = await who.tell(standing, wish)
    assert isinstance(said, Group)
    return said


async def two(world: World) -> tuple[GroupMember, GroupMember, Generation]:
    """Both members of a group, and the generation that both have confirmed."""
    a, b = member(world, "a", 0), member(world, "b", 2)
    at = (await begun(a)).generation
    await tell(a, Standing(at, Step.STOPPED))
    await tell(b, Standing(at, Step.STOPPED))
    return a, b, at


async def begun(who: GroupMember) -> Group:
    await tell(who)
    return await tell(who, wish=Wish(Cause.JOINED, "joined"))


async def test_members_hear_of_each_other(world: World) -> None:
    a, b, at = await two(world)
    group = await tell(a, Standing(at, Step.ANNOUNCED))
    assert [(each.name, each.at, each.step, each.span) for each in group.members] == [
        ("a", at, Step.ANNOUNCED, Span(0, 2, 4)),
        ("b", at, Step.STOPPED, Span(2, 2, 4)),
    ]
    assert (group.generation, group.size, group.phase, group.awaited()) == (at, 4, GroupPhase.STARTING, ())
    for who in (a, b):
        group = await tell(who, Standing(at, Step.READY))
    assert group.phase is GroupPhase.RUNNING


async def test_of_several_that_see_it_end_one_begins_the_next(world: World) -> None:
    a, b, at = await two(world)
    first = await tell(a, Standing(at, Step.READY), FAILED)
    second = await tell(b, Standing(at, Step.READY), Wish(Cause.FAILED, "rank 1 ended"))
    assert first.generation.number == at.number + 1
    assert (second.generation, second.why, second.failures) == (first.generation, "rank 3 ended", 1)
    assert second.awaited() == ("a (ranks 0-1) to stop its ranks", "b (ranks 2-3) to stop its ranks")
    assert second.phase is GroupPhase.STOPPING


async def test_ranks_that_nobody_has_are_awaited(world: World) -> None:
    b = member(world, "b", 2, size=8)
    group = await tell(b, Standing((await begun(b)).generation, Step.STOPPED))
    nobody = "(no agent has said that it has them)"
    assert group.awaited() == (f"ranks 0-1 {nobody}", f"ranks 4-7 {nobody}")


async def test_what_the_store_says_of_a_member_counts_once_it_is_heard_again(world: World) -> None:
    a, b, at = await two(world)
    group = await tell(a, Standing(at, Step.STOPPED))
    mine = group.member("a")
    assert mine
    assert group.awaited(mine.confirmed_version) == ()
    begun_again = await tell(b, Standing(at, Step.STOPPED), FAILED)
    await tell(b, Standing(begun_again.generation, Step.STOPPED))
    group = await tell(a, Standing(begun_again.generation, Step.STOPPED))
    mine = group.member("a")
    assert mine
    assert group.awaited(mine.confirmed_version) == ("b (ranks 2-3) to say where it is",)
    await tell(b, Standing(begun_again.generation, Step.STOPPED))
    group = await tell(a, Standing(begun_again.generation, Step.STOPPED))
    assert group.awaited(mine.confirmed_version) == ()


async def test_a_generation_outlives_an_emptied_store_in_whoever_knows_it(world: World) -> None:
    a, b, at = await two(world)
    later = (await tell(a, Standing(at, Step.READY), FAILED)).generation
    await world.store.command("DEL", world.keys.dp)
    assert (await tell(b, Standing(at, Step.READY))).generation == at
    group = await tell(a, Standing(at, Step.STOPPING))
    assert (group.generation, group.begun_ms) == (later, 0)
    assert (await tell(b, Standing(at, Step.READY))).generation == later


async def test_two_generations_of_one_number_end_in_a_third(world: World) -> None:
    a, b, at = await two(world)
    first = (await tell(a, Standing(at, Step.READY), FAILED)).generation
    await world.store.command("DEL", world.keys.dp)
    assert (await tell(b, Standing(at, Step.READY), FAILED)).generation == at  # its wish counts from then on
    second = (await tell(b, Standing(at, Step.READY), FAILED)).generation
    assert (first.number, first.mark) != (second.number, second.mark)
    assert first.number == second.number
    assert (await tell(a, Standing(first, Step.STOPPED))).generation.number == first.number + 1


async def test_ranks_of_a_member_that_is_heard_cannot_be_claimed(world: World) -> None:
    await two(world)
    for name, first, ranks, size in (("c", 1, 1, 4), ("c", 0, 4, 4), ("c", 4, 2, 6), ("b", 2, 2, 4)):
        said = await member(world, name, first, ranks, size, seed=1).tell(AT_FIRST)
        assert isinstance(said, Claimed), (name, first, ranks, size)
    assert said == Claimed("b, which has ranks 2-3 of 4")


async def test_whoever_claims_ranks_hears_that_they_drain(world: World) -> None:
    _, b, at = await two(world)
    for step, is_ending in ((Step.READY, False), (Step.DRAINING, True), (Step.STOPPING, True)):
        await tell(b, Standing(at, step))
        said = await member(world, "c", 2).tell(AT_FIRST)
        assert said == Claimed("b, which has ranks 2-3 of 4", is_ending)


async def test_ranks_of_a_silent_member_go_to_who_says_that_it_has_them(world: World) -> None:
    a, b, at = await two(world)
    await world.passes(SILENT_MS)
    await tell(a, Standing(at, Step.READY))
    group = await tell(member(world, "c", 2))
    assert [each.name for each in group.members] == ["a", "c"]
    assert isinstance(await b.tell(Standing(at, Step.READY)), Claimed)


async def test_silence_is_said_and_changes_nothing(world: World) -> None:
    a, _, at = await two(world)
    await world.passes(SILENT_MS)
    group = await tell(a, Standing(at, Step.READY), FAILED)
    assert group.awaited()[1] == "b (ranks 2-3), whose agent is silent, to stop its ranks"
    assert [each.name for each in group.members] == ["a", "b"]


async def test_who_leaves_is_gone_and_the_others_begin_anew(world: World) -> None:
    a, b, at = await two(world)
    group = await tell(a, Standing(at, Step.LEFT), Wish(Cause.LEFT, "a has left"))
    assert ([each.name for each in group.members], group.why) == (["b"], "a has left")
    assert group.generation.number == at.number + 1
    await tell(b, Standing(at, Step.LEFT))
    assert await read_groups(world.store, POOL, 0) == []


async def test_only_failures_are_counted_and_an_operator_forgives_them(world: World) -> None:
    a, _, at = await two(world)
    for wish in (FAILED, Wish(Cause.JOINED, "j"), FAILED):
        group = await tell(a, Standing(at, Step.READY), wish)
    assert (group.failures, group.backoff_ms, group.is_backing_off) == (2, 2_000, True)
    (read,) = await read_groups(world.store, POOL, group.pool_ms)
    assert read.failures_ms == group.failures_ms
    asked = await end_generation(world.store, POOL, read, SchedulerSettings())
    assert (asked.generation.number, asked.failures) == (group.generation.number + 1, 0)
    assert [each.name for each in asked.members] == ["a", "b"]


async def test_after_seven_failures_in_an_hour_it_stays_down(world: World) -> None:
    a, _, at = await two(world)
    for _ in range(7):
        group = await tell(a, Standing(at, Step.READY), FAILED)
        assert group.has_given_up == (group.failures == 7)
    assert (group.phase, group.backoff_ms) == (GroupPhase.DOWN, 60_000)
    for _ in range(12):
        await tell(a, Standing(at, Step.READY), FAILED)
    group = await tell(a, Standing(at, Step.READY))
    assert len(group.failures_ms) == 16


async def test_a_new_epoch_is_found(world: World) -> None:
    a, b, at = await two(world)
    await world.store.command("DEL", world.keys.head)
    for who in (a, b):
        group = await tell(who, Standing(at, Step.READY))
    assert (group.generation, group.phase) == (at, GroupPhase.RUNNING)


async def test_a_node_has_one_place(world: World) -> None:
    await begun(member(world, "b", 2, size=6))
    assert isinstance(await member(world, "b", 4, size=6, seed=1).tell(AT_FIRST), Claimed)
    await world.passes(SILENT_MS)
    group = await tell(member(world, "b", 4, size=6, seed=1))
    assert [each.span.first for each in group.members] == [4]


async def test_another_generation_of_the_same_number_is_confirmed_anew(world: World) -> None:
    a, _, at = await two(world)
    first = await tell(a, Standing(at, Step.STOPPED))
    again = await tell(a, Standing(Generation(at.number, "other"), Step.STOPPED))
    assert [each.confirmed_version < each.heard_version for each in first.members[:1]] == [True]
    assert [each.confirmed_version == each.heard_version for each in again.members[:1]] == [True]


async def test_lines_that_cannot_be_read_go(world: World) -> None:
    a, _, at = await two(world)
    row: bytes = await world.store.command("HGET", world.keys.dp, GROUP)
    await world.store.command("HSET", world.keys.dp, GROUP, row + b"\nb nonsense")
    await tell(a, Standing(at, Step.READY))
    mended: bytes = await world.store.command("HGET", world.keys.dp, GROUP)
    assert b"nonsense" not in mended


async def test_neighbours_are_no_claimants(world: World) -> None:
    middle = member(world, "m", 2, 2, 6)
    await begun(middle)
    for name, first in (("a", 0), ("z", 4)):
        group = await tell(member(world, name, first, 2, 6))
    assert [each.name for each in group.members] == ["a", "m", "z"]


async def test_a_row_heard_in_the_future_claims_nothing(world: World) -> None:
    a, _, at = await two(world)
    row: bytes = await world.store.command("HGET", world.keys.dp, GROUP)
    future = row.rsplit(b" ", 1)[0] + b" 999999999999"
    await world.store.command("HSET", world.keys.dp, GROUP, future)
    group = await tell(member(world, "b", 2, seed=1))
    assert [each.name for each in group.members] == ["a", "b"]
    await tell(a, Standing(at, Step.READY))


async def test_a_member_that_has_failed_before_is_not_forgotten_when_all_leave(world: World) -> None:
    a, b, at = await two(world)
    await tell(a, Standing(at, Step.LEFT), FAILED)
    await tell(b, Standing(at, Step.LEFT))
    (group,) = await read_groups(world.store, POOL, 0)
    assert (group.members, len(group.failures_ms)) == ((), 1)


@pytest.mark.parametrize("row", [b"junk", b"9" * 30 + b" x 1 - y", b"1 x 1 - y\nb nonsense\nc 1 2", b"\xff\n\xff"])
async def test_what_cannot_be_read_is_told_again(world: World, row: bytes) -> None:
    a, b, at = await two(world)
    await world.store.command("HSET", world.keys.dp, GROUP, row)
    await tell(a, Standing(at, Step.READY))
    group = await tell(b, Standing(at, Step.READY))
    assert group.generation.number in {at.number, at.number + 1}
    assert [each.name for each in group.members] == ["a", "b"]


async def test_a_key_of_another_type_begins_the_pool_anew(world: World) -> None:
    a, _, at = await two(world)
    await world.store.command("SET", world.keys.dp, "no hash")
    assert (await tell(a, Standing(at, Step.READY))).generation == at
    with pytest.raises(StoreWrongTypeError):
        await world.store.command("GET", world.keys.dp)
