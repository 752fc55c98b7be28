"""report: the odometer of a rank's prefix cache, in a row that an older release reads too."""

from __future__ import annotations

import pytest

from scheduler.calls import Call
from scheduler.lua import Script
from scheduler.messages import Source
from scheduler.prefix_calibration import CacheBelief
from simulator.store import VirtualStore
from tests.contract.world import World, sample

OLD_SEEN = r"^(%S+) (%S+) (%d) (%d+) (%d+) (%-?%d+) (%d+%.?%d*e?[+-]?%d*) (%S+) (%d+) (%d+) (%d+) ?(%S*)$"
"""How the release before read the row; what it does with the last field is in past.lua's `least`."""


async def computed(world: World) -> int | None:
    return (await world.view()).ranks["a"].seen.computed_tokens


@pytest.mark.parametrize("tokens", [None, 0, 1, 123_456_789_012_345])
async def test_what_is_reported_is_in_the_snapshot(world: World, tokens: int | None) -> None:
    await world.report(sample("a", computed_tokens=tokens))
    assert await computed(world) == tokens


async def test_each_report_has_the_last_word(world: World) -> None:
    for tokens in (5, 9, None, 7):
        await world.report(sample("a", computed_tokens=tokens))
        assert await computed(world) == tokens


async def test_what_is_believed_of_the_cache_goes_along(world: World) -> None:
    await world.report(sample("a", computed_tokens=8, belief=CacheBelief(5, 700, 60)))
    seen = (await world.view()).ranks["a"].seen
    assert (seen.computed_tokens, seen.cache_span_tokens) == (8, 5)
    assert (seen.believed_tokens, seen.found_tokens) == (700, 60)
    await world.report(sample("a", requests=2, computed_tokens=9))
    seen = (await world.view()).ranks["a"].seen
    assert (seen.computed_tokens, seen.cache_span_tokens, seen.foreign_requests) == (9, None, 0)


async def test_foreign_requests_are_still_the_least_of_the_last_two_seconds(world: World) -> None:
    await world.report(sample("a", requests=3, computed_tokens=5))
    await world.report(sample("a", requests=1, computed_tokens=6))
    await world.report(sample("a", requests=4, computed_tokens=7))
    assert (await world.view()).ranks["a"].seen.foreign_requests == 1


async def test_a_row_of_an_older_release_is_gone_on_from(world: World) -> None:
    await world.report(sample("a", requests=3))
    row: bytes = await world.store.command("HGET", world.keys.seen, "a")
    assert b"@" not in row
    await world.report(sample("a", requests=5, computed_tokens=8))
    assert (await world.view()).ranks["a"].seen.foreign_requests == 3


async def test_a_drain_leaves_it_as_it_is(world: World) -> None:
    await world.report(sample("a", computed_tokens=8))
    await world.drain("a")
    assert await computed(world) == 8


@pytest.mark.parametrize("source", list(Source))
async def test_an_older_release_reads_the_row(world: World, source: Source) -> None:
    await world.report(sample("a", requests=3, computed_tokens=8, source=source))
    text = (
        f"local row = {{string.match(redis.call('HGET', KEYS[1], 'a'), '{OLD_SEEN}')}} return {{#row, row[1], row[12]}}"
    )
    if isinstance(world.store, VirtualStore):
        older = VirtualStore(text_of=lambda _: text)
        older.data = world.store.data
        fields, incarnation, queue = older.call(Call(Script.SNAPSHOT, (world.keys.seen,), ()))
    else:
        fields, incarnation, queue = await world.store.command("EVAL", text, 1, world.keys.seen)
    assert (fields, incarnation) == (12, b"i1")
    assert queue.endswith(b":3@8")


async def test_pushed_samples_and_those_of_pages_follow_one_another(world: World) -> None:
    for requests, source, least in ((3, Source.PUSH, 3), (2, Source.PAGE, 2), (4, Source.PUSH, 2), (5, Source.PUSH, 2)):
        await world.report(sample("a", requests=requests, source=source))
        seen = (await world.view()).ranks["a"].seen
        assert (seen.source, seen.foreign_requests) == (source, least)
