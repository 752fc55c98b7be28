"""Pool time: it runs while the store is alive and is looked at, and nobody's lease ends by a jump."""

from __future__ import annotations

import pytest

from tests.contract.world import LEASE_MS, NumberedGateway, World, sample
from tests.polling import until
from tests.samples import ask, single

LONGEST_STEP_MS = LEASE_MS // 4
AN_HOUR_MS = 3_600_000


@pytest.mark.parametrize(
    ("elapsed_ms", "least_ms", "most_ms"),
    [
        pytest.param(100, 100, 100, id="by what the store's clock moved"),
        pytest.param(LONGEST_STEP_MS + 1, LONGEST_STEP_MS, LONGEST_STEP_MS, id="by a quarter of the lease at most"),
        pytest.param(AN_HOUR_MS, LONGEST_STEP_MS, LONGEST_STEP_MS, id="no further after a freeze"),
        pytest.param(-AN_HOUR_MS, 0, 0, id="never back, on a host whose clock is behind"),
    ],
)
async def test_pool_time_moves(world: World, elapsed_ms: int, least_ms: int, most_ms: int) -> None:
    before_ms = await world.pool_ms()
    await world.elapse(elapsed_ms)
    await world.drain("nobody")
    # A real store's clock runs on: on a busy machine it may make a step of it.
    longest_ms = LONGEST_STEP_MS if world.real and elapsed_ms > 0 else most_ms
    assert least_ms <= await world.pool_ms() - before_ms <= longest_ms


async def test_pool_time_runs_by_the_store_s_own_clock(world: World) -> None:
    """On real servers time passes by itself."""
    before_ms = await world.pool_ms()

    async def moved() -> bool:
        await world.elapse(0 if world.real else 5)
        await world.drain("nobody")
        return await world.pool_ms() >= before_ms + 20

    await until(moved, "pool time moved by 20 ms")


@pytest.mark.parametrize("jump_ms", [AN_HOUR_MS, -AN_HOUR_MS])
async def test_a_call_after_a_jump_names_no_ended_lease(world: World, gateway: NumberedGateway, jump_ms: int) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    await world.passes(LEASE_MS + 500)
    await world.elapse(jump_ms)
    told = await world.report(sample("a"))
    assert told is not None
    assert told.ended == []
    again = await world.report(sample("a"))
    assert again is not None
    assert again.ended == [gateway.name]


@pytest.mark.parametrize("jump_ms", [AN_HOUR_MS, -AN_HOUR_MS])
async def test_nothing_is_reaped_in_a_call_after_a_jump(world: World, gateway: NumberedGateway, jump_ms: int) -> None:
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    await world.passes(LEASE_MS + 500)
    await world.elapse(jump_ms)
    assert await world.reap(gateway.name) == [b"ok", 0]
    assert len(await gateway.held()) == 1
    assert await world.reap(gateway.name) == [b"ok", 0]
    assert await gateway.held() == {}


async def test_a_freeze_ends_no_lease(world: World, gateway: NumberedGateway) -> None:
    """However long the store stood still, a gateway has most of its lease left to renew it."""
    await world.report(sample("a"))
    await gateway.place(ask(single("a")))
    for _ in range(2):
        await world.elapse(AN_HOUR_MS)
        told = await world.report(sample("a"))
        assert told is not None
        assert told.ended == []
    assert (await gateway.renew(1))[0] == b"ok"


async def test_a_snapshot_tells_pool_time_and_does_not_move_it(world: World) -> None:
    before_ms = await world.pool_ms()
    await world.elapse(200)
    delta = await world.snapshot()
    assert delta is not None
    assert before_ms + 200 <= delta.pool_ms <= before_ms + LONGEST_STEP_MS
    assert await world.pool_ms() == before_ms
