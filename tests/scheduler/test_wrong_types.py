"""A pool's key of the wrong type: whoever meets it has the pool begin anew, and all is well again."""

from __future__ import annotations

from contextlib import suppress

import pytest

from scheduler.decision import Place
from scheduler.errors import StoreWrongTypeError
from scheduler.keys import PoolKeys
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.samples import SHAPE
from tests.scheduler.scene import MODEL, Scene, at_work

JUNK = b"not what it should be"
OTHERS = {"receipts", "breaker", "dp"}
"""Of which the ledger knows nothing: test_receipts.py, test_breakers.py, contract/test_dp_group.py."""
KEYS = sorted(name for name in vars(PoolKeys(MODEL)) if not name.startswith("_") and name not in OTHERS)


async def is_well_again(scene: Scene, key: str) -> bool:
    """After an agent's report and a placement; none of them may have found the key yet."""
    with suppress(StoreWrongTypeError):
        await scene.agent.report([report("a")], {"a": card("a", dp_group="g")})
        decision = await scene.pool.place(SHAPE)
        if isinstance(decision, Place):
            scene.pool.release(decision.reservation)
        replaced = scene.wire.store.data.get(key.encode()) != JUNK
        return replaced and not scene.pool.degraded and set(scene.pool.view.ranks) == {"a"}
    return False


@pytest.mark.parametrize("name", [*KEYS, "live"])
async def test_the_pool_begins_anew(name: str) -> None:
    async with at_work("a") as scene:
        held = await scene.place(3)
        await scene.becomes_exact()
        (gateway,) = await scene.wire.store.command("HKEYS", scene.keys.gate)
        key = scene.keys.live(gateway.decode()) if name == "live" else getattr(scene.keys, name)
        scene.wire.store.data[key.encode()] = JUNK
        await until(lambda: is_well_again(scene, key), f"{name} is mended")
        await scene.becomes_exact()
        for place in held:
            scene.pool.release(place.reservation)
        await scene.becomes_exact()


@pytest.mark.parametrize("meets_it", ["a gateway", "an agent"])
async def test_a_dead_gateway_s_live_set_is_met_by_whoever_reaps(meets_it: str) -> None:
    async with at_work("a") as scene:
        dead = scene.keys.live("dead@host:2.1")
        scene.wire.store.data[dead.encode()] = JUNK
        await scene.wire.store.command("ZADD", scene.keys.lease, 0, "dead@host:2.1")
        scene.wire.store.now_ms += 100
        if meets_it == "an agent":
            scene.wire.may_reap.clear()
            await scene.report("a")
        await until(lambda: dead.encode() not in scene.wire.store.data, "the set is gone")
        scene.wire.may_reap.set()
        await until(lambda: is_well_again(scene, dead), "the pool is rebuilt")
        await scene.becomes_exact()
