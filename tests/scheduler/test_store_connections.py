"""A store's connections: reset while nobody uses them, and many at once; on uvloop, as in production."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine

import pytest
import uvloop

from scheduler.calls import Call
from scheduler.errors import StoreUnavailableError
from scheduler.lua import Script
from scheduler.store import Store, open_store
from tests.link import Link, link_to
from tests.polling import RESTING_TURNS, TURN_S
from tests.ports import HOST
from tests.servers import RedisServer

PAUSE_MS = 100
ASKED_AT_ONCE = 120
ASKS: dict[str, Callable[[Store], Coroutine[object, object, object]]] = {
    "a script": lambda store: store.run([Call(Script.OPEN, ("{x}:head",), ("e1",))]),
    "a command": lambda store: store.command("PING"),
}


@pytest.mark.parametrize("ask", ASKS)
def test_a_connection_that_was_reset_while_idle_is_a_store_that_does_not_answer_once(
    redis_process: RedisServer, ask: str
) -> None:
    with link_to(redis_process.port) as link:
        uvloop.run(used_after_a_reset(link, ASKS[ask]))


async def used_after_a_reset(link: Link, ask: Callable[[Store], Coroutine[object, object, object]]) -> None:
    async with open_store(f"redis://{HOST}:{link.port}") as store:
        await ask(store)
        link.reset()
        for _ in range(RESTING_TURNS):  # in which the loop comes to know of it
            await asyncio.sleep(TURN_S)
        with pytest.raises(StoreUnavailableError):
            await ask(store)
        await ask(store)


def test_more_than_the_library_has_connections_for_are_answered_after_a_pause(redis_process: RedisServer) -> None:
    with redis_process.client() as client:
        client.client_pause(PAUSE_MS)
    uvloop.run(many_at_once(redis_process.url))


async def many_at_once(url: str) -> None:
    async with open_store(url) as store, asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(store.command("ECHO", f"{n}"), name=f"ask {n}") for n in range(ASKED_AT_ONCE)]
    assert [task.result() for task in asked] == [str(n).encode() for n in range(ASKED_AT_ONCE)]
