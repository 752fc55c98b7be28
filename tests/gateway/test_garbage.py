"""What requests leave goes with them: a collector that looks through a thousand streams' objects stops them all."""

import gc
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from random import Random

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.hanging_up import after_an_event, send_and_hang_up
from tests.gateway.running import COMPLETIONS, Served, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import Script, completes, scripted_rank, stalls_after_an_event, streams

pytestmark = pytest.mark.usefixtures("only_new_objects")

TIMES = 5
Act = Callable[[Served], Awaitable[None]]
STREAM = post(COMPLETIONS, b'{"prompt":"x","stream":true}')


@contextmanager
def only_for_the_collector() -> Iterator[set[str]]:
    """The gateway's classes of which objects were left over in the block that only the collector finds."""
    left: set[str] = set()
    gc.collect()
    gc.disable()
    gc.set_debug(gc.DEBUG_SAVEALL)
    try:
        yield left
        gc.collect()
        left.update(name for one in gc.garbage if (name := type(one).__module__).startswith("gateway."))
    finally:
        gc.set_debug(0)
        gc.garbage.clear()
        gc.enable()


async def asks(served: Served) -> None:
    await served.complete()


async def asks_for_a_stream(served: Served) -> None:
    await served.complete(stream=True)


async def leaves(served: Served) -> None:
    await send_and_hang_up(served.port, STREAM, Random(1), within_s=0, earliest=after_an_event)


@pytest.mark.parametrize(
    ("script", "act"),
    [(completes, asks), (streams, asks_for_a_stream), (stalls_after_an_event, leaves)],
)
async def test_an_answer_leaves_nothing_to_the_collector(script: Script, act: Act) -> None:
    async with scripted_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        await act(served)
        await eventually(lambda: nothing_is_held(served, pool))
        with only_for_the_collector() as left:
            for _ in range(TIMES):
                await act(served)
            await eventually(lambda: nothing_is_held(served, pool))
    assert left == set()
