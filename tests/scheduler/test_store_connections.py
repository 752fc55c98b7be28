"""A store's connections: reset while nobody uses them, and many at once; on uvloop, as in production."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
import uvloop

from scheduler.calls import Call
from scheduler.errors import StoreUnavailableError
from scheduler.lua import Script
from scheduler.store import Store, open_store
from tests.link_thread import LinkThread, link_to
from tests.polling import RESTING_TURNS, TURN_S
from tests.ports import HOST
from tests.servers import RedisServer

PAUSE_MS = 50
ASKED_AT_ONCE = 105
NAME = "redis.example"
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


async def used_after_a_reset(link: LinkThread, ask: Callable[[Store], Coroutine[object, object, object]]) -> None:
    async with open_store(f"redis://{HOST}:{link.port}") as store:
        await ask(store)
        link.reset()
        for _ in range(RESTING_TURNS):  # in which the loop comes to know of it
            await asyncio.sleep(TURN_S)
        with pytest.raises(StoreUnavailableError):
            await ask(store)
        await ask(store)


def test_however_many_connections_were_reset_one_exchange_notices(redis_process: RedisServer) -> None:
    with link_to(redis_process.port) as link:
        uvloop.run(used_after_many_resets(link))


async def used_after_many_resets(link: LinkThread) -> None:
    async with open_store(f"redis://{HOST}:{link.port}") as store:
        await ask_at_once(store, 4)
        link.reset()
        for _ in range(RESTING_TURNS):
            await asyncio.sleep(TURN_S)
        with pytest.raises(StoreUnavailableError):
            await store.command("PING")
        await ask_at_once(store, 4)


async def ask_at_once(store: Store, asks: int) -> None:
    async with asyncio.TaskGroup() as tasks:
        asked = [tasks.create_task(store.command("ECHO", f"{n}"), name=f"ask {n}") for n in range(asks)]
    assert [task.result() for task in asked] == [str(n).encode() for n in range(asks)]


def test_more_than_the_library_has_connections_for_are_answered_after_a_pause(redis_process: RedisServer) -> None:
    with redis_process.client() as client:
        client.client_pause(PAUSE_MS)
    uvloop.run(many_at_once(redis_process.url))


async def many_at_once(url: str) -> None:
    async with open_store(url) as store:
        await ask_at_once(store, ASKED_AT_ONCE)


async def test_a_host_whose_name_does_not_resolve_for_a_while_is_used_once_it_does(
    redis_process: RedisServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    known: dict[str, str] = {}
    resolve = socket.getaddrinfo

    def look_up(host: str, *rest: Any, **options: Any) -> Any:
        if host == NAME and host not in known:
            raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")
        return resolve(known.get(host, host), *rest, **options)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    async with open_store(f"redis://{NAME}:{redis_process.port}") as store:
        for _ in range(2):
            with pytest.raises(StoreUnavailableError, match=f"{NAME}.*Name or service not known"):
                await store.command("ECHO", "a")
        known[NAME] = HOST
        assert await store.command("ECHO", "a") == b"a"
