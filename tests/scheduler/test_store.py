"""RedisStore: scripts a server does not know, errors translated, and cancellation."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress
from pathlib import Path

import pytest

from scheduler.calls import Call
from scheduler.errors import StoreFullError, StoreUnavailableError, StoreWrongTypeError
from scheduler.lua import Script
from scheduler.store import Store, open_store
from tests.polling import until
from tests.ports import HOST, free_port
from tests.servers import RedisServer, redis_server, replica_server


def opening(epoch: str, head: str = "{x}:head") -> Call:
    return Call(Script.OPEN, (head,), (epoch,))


async def forget_scripts(store: Store) -> None:
    await store.command("SCRIPT", "FLUSH")


class TestScripts:
    async def test_replies_come_in_the_order_of_the_calls(self, redis_process: RedisServer) -> None:
        async with open_store(redis_process.url) as store:
            await store.command("FLUSHALL", "ASYNC")
            calls = [opening(f"e{each}", f"{{x}}:{each}") for each in range(20)]
            assert await store.run(calls) == [f"e{each}".encode() for each in range(20)]

    async def test_a_script_the_server_forgot_is_sent_whole(self, redis_process: RedisServer) -> None:
        async with open_store(redis_process.url) as store:
            await store.command("FLUSHALL", "ASYNC")
            for epoch in ("e1", "e2"):
                await forget_scripts(store)
                assert await store.run([opening(epoch)]) == [b"e1"]

    async def test_known_and_forgotten_scripts_go_together(self, redis_process: RedisServer) -> None:
        """What comes after an unknown script runs after it."""
        drain = Call(Script.DRAIN, ("{x}:head", "{x}:seen", "{x}:drain", "{x}:change"), ("e1", 2_000, "a", 1))
        async with open_store(redis_process.url) as store:
            await store.command("FLUSHALL", "ASYNC")
            await forget_scripts(store)
            await store.run([drain])
            assert await store.run([opening("e1"), drain, drain]) == [b"e1", [b"unknown"], [b"unknown"]]

    async def test_what_has_run_beside_a_forgotten_script_is_not_run_again(self, redis_process: RedisServer) -> None:
        """Another gateway may have sent the one before, or another node of a cluster know it."""
        adding = Call(Script.PREFIX_BELIEVED, ("{x}:sums",), (60_000, 5))
        async with open_store(redis_process.url) as store:
            await store.command("FLUSHALL", "ASYNC")
            await forget_scripts(store)
            assert await store.run([adding]) == [[5]]
            assert await store.run([opening("e1"), adding, opening("e2"), adding]) == [b"e1", [10], b"e1", [15]]

    async def test_no_calls_are_no_round_trip(self) -> None:
        async with open_store(f"redis://{HOST}:{free_port()}") as store:
            assert await store.run([]) == []

    async def test_a_script_s_own_error_is_a_rejection(self, redis_process: RedisServer) -> None:
        async with open_store(redis_process.url) as store:
            await store.command("SADD", "{x}:set", "member")
            drain = Call(Script.DRAIN, ("{x}:set", "{x}:seen", "{x}:drain", "{x}:change"), ("e1", 2_000, "a", 1))
            with pytest.raises(StoreWrongTypeError, match="WRONGTYPE"):
                await store.run([drain])


class TestTrouble:
    async def test_opening_does_not_contact_the_server(self) -> None:
        async with open_store(f"redis://{HOST}:{free_port()}"):
            pass

    async def test_nobody_listening_is_unavailable(self) -> None:
        async with open_store(f"redis://{HOST}:{free_port()}") as store:
            with pytest.raises(StoreUnavailableError):
                await store.command("PING")
            with pytest.raises(StoreUnavailableError):
                await store.run([opening("e1")])

    @pytest.mark.usefixtures("hasty_store")
    async def test_a_server_that_never_answers_is_unavailable(self) -> None:
        with socket.create_server((HOST, 0)) as mute:
            async with open_store(f"redis://{HOST}:{mute.getsockname()[1]}") as store:
                with pytest.raises(StoreUnavailableError):
                    await store.command("PING")

    async def test_a_server_that_is_killed_and_comes_back_is_used_again(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as server:
            async with open_store(server.url) as store:
                assert await store.run([opening("e1")]) == [b"e1"]
                server.stop()
                with pytest.raises(StoreUnavailableError):
                    await store.run([opening("e2")])
                server.start()
                assert await store.run([opening("e3")]) == [b"e3"], "empty, and without scripts"

    async def test_a_read_only_server_is_unavailable(self, tmp_path: Path, redis_process: RedisServer) -> None:
        with replica_server(tmp_path, redis_process) as replica:
            async with open_store(replica.url) as store:
                with pytest.raises(StoreUnavailableError):
                    await store.run([opening("e1", "{y}:head")])

    async def test_a_full_server_is_unavailable(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, "--maxmemory", "1", "--maxmemory-policy", "noeviction") as server:
            async with open_store(server.url) as store:
                with pytest.raises(StoreFullError):
                    await store.command("SET", "key", "value")

    async def test_a_cancelled_exchange_is_never_carried_on(self, redis_process: RedisServer) -> None:
        """Wherever the cancellation strikes; asyncio.wait_for of Python 3.11 would swallow some."""
        async with open_store(redis_process.url) as store:

            async def keep_asking() -> None:
                while True:
                    await store.run([opening("e1")])

            async with asyncio.TaskGroup() as tasks:
                for steps in range(60):
                    asking = tasks.create_task(keep_asking(), name="asking")
                    for _ in range(steps):
                        await asyncio.sleep(0)
                    asking.cancel()
                    await until(asking.done, f"cancelled after {steps} steps", within_s=2)
            assert await store.run([opening("e1")])

    async def test_a_cancelled_exchange_leaves_no_reply_for_the_next(self, redis_process: RedisServer) -> None:
        answered = 0
        async with open_store(redis_process.url) as store, asyncio.TaskGroup() as tasks:
            for steps in range(40):
                asking = tasks.create_task(store.command("ECHO", f"old {steps}"), name="asking")
                for _ in range(steps):
                    await asyncio.sleep(0)
                asking.cancel()
                with suppress(StoreUnavailableError):  # on a busy machine; what counts is that no answer is another's
                    assert await store.command("ECHO", f"new {steps}") == f"new {steps}".encode()
                    answered += 1
        assert answered > 0
