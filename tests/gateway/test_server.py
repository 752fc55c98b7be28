"""How a gateway starts, stops, and what it says on the way."""

import asyncio
import os
import signal
import socket
from pathlib import Path

import httpx
import pytest

from gateway.listening import ListenError, listening
from gateway.server import serve
from gateway.settings import GatewaySettings
from scheduler.errors import StoreUrlError
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.gateway_process import forebay_process, warnings_of
from tests.gateway.running import COMPLETIONS, Served, eventually, post, serving
from tests.gateway.scripted_rank import (
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    chunk,
    scripted_rank,
    stalls,
    stalls_after_an_event,
)
from tests.polling import until, until_now
from tests.servers import RedisServer, needs_redis
from tests.sse import event_of


def terminate() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


async def refused(served: Served) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
    except OSError:
        return True
    writer.close()
    return False


async def test_on_sigterm_open_streams_finish_and_nobody_else_is_let_in() -> None:
    may_end = asyncio.Event()

    async def streams_on(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await may_end.wait()
        await exchange.send(*map(chunk, EVENTS[1:]), NO_MORE)

    async with (
        scripted_rank(streams_on) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), lame_duck_ms=0) as served,
    ):
        async with served.client.stream("POST", COMPLETIONS, json={"prompt": "x", "stream": True}) as response:
            parts = response.aiter_bytes()
            assert await anext(parts) == EVENTS[0]
            reader, early = await asyncio.open_connection("127.0.0.1", served.port)
            early.write(b"GET /readyz HTTP/1.1\r\nHost: g\r\n")
            terminate()
            await until(lambda: refused(served), "new connections are refused")
            assert served.gateway.stopping
            may_end.set()
            assert b"".join([part async for part in parts]) == b"".join(EVENTS[1:])
        assert await reader.read() == b""
        early.close()
        assert pool.words() == ["dispatched", "first_token", "released"]
    await eventually(lambda: rank.open_connections == 0)


async def test_a_gateway_that_stops_is_not_ready() -> None:
    async with scripted_rank(stalls) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        served.gateway.stopping = True
        response = await served.client.get("/readyz")
    assert (response.status_code, response.json()["reason"]) == (503, "shutting down")


async def readiness(served: Served) -> int:
    """The status of /readyz on a connection of its own."""
    status, _, _ = await served.send(b"GET /readyz HTTP/1.1\r\nHost: g\r\n\r\n")
    return status


async def test_after_sigterm_who_connects_anew_can_see_that_the_gateway_is_not_ready() -> None:
    async with (
        scripted_rank() as rank,
        serving(FakePools(FakePool(card(rank.url))), lame_duck_ms=1_000_000, drain_s=1_000.0) as served,
    ):
        assert await readiness(served) == 200
        terminate()
        await eventually(lambda: served.gateway.stopping)
        assert await readiness(served) == 503
        status, _, _ = await served.send(post(COMPLETIONS, b'{"model":"sim","prompt":"x"}'))
        assert status == 200
        terminate()
        await until(lambda: refused(served), "the second signal ends that")


async def test_the_lame_duck_time_is_part_of_the_drain() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), drain_s=0.05) as served:
        terminate()
        await until(lambda: refused(served), "new connections are refused")


async def test_who_interrupts_a_gateway_at_a_terminal_does_not_wait_for_balancers() -> None:
    async with serving(FakePools(FakePool(NOWHERE)), lame_duck_ms=1_000_000, drain_s=1_000.0) as served:
        os.kill(os.getpid(), signal.SIGINT)
        await until(lambda: refused(served), "new connections are refused")


async def test_what_outlives_the_drain_is_cut_and_told_so() -> None:
    async with (
        scripted_rank(stalls_after_an_event) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), drain_s=0.1) as served,
        asyncio.TaskGroup() as tasks,
    ):
        streamed = tasks.create_task(served.complete(stream=True))
        await eventually(lambda: pool.words() == ["dispatched", "first_token"])
        rank.script = stalls
        waiting = tasks.create_task(served.complete())
        await eventually(lambda: len(rank.requests) == 2)
        terminate()
        response = await waiting
        assert response.status_code == 503
        assert response.json()["error"]["message"] == "This gateway is shutting down"
        response = await streamed
        assert response.content.startswith(EVENTS[0])
        assert event_of(response.text.split("\n\n")[-2])["error"]["code"] == 503
        await eventually(lambda: rank.open_connections == 0)
        assert pool.releases() == {1: 1, 2: 1}


async def test_a_second_signal_cuts_at_once() -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(FakePool(card(rank.url))), drain_s=1000.0) as served,
        asyncio.TaskGroup() as tasks,
    ):
        waiting = tasks.create_task(served.complete())
        await eventually(lambda: len(rank.requests) == 1)
        terminate()
        await eventually(lambda: served.gateway.stopping)
        terminate()
        assert (await waiting).status_code == 503


async def test_a_request_that_runs_out_of_its_own_time_meanwhile_is_told_so() -> None:
    async with (
        scripted_rank(stalls) as rank,
        serving(FakePools(FakePool(card(rank.url))), lame_duck_ms=1_000_000, drain_s=1000.0) as served,
    ):
        terminate()
        await eventually(lambda: served.gateway.stopping)
        assert (await served.complete({"x-request-timeout-ms": "50"})).status_code == 504
        terminate()


async def test_being_cancelled_cuts_at_once_and_closes_everything() -> None:
    async with scripted_rank(stalls) as rank:
        async with serving(FakePools(pool := FakePool(card(rank.url)))) as served:
            reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
            await eventually(lambda: len(rank.requests) == 1)
        assert (await reader.read()).startswith(b"HTTP/1.1 503 ")
        writer.close()
        assert pool.releases() == {1: 1}
        await eventually(lambda: rank.open_connections == 0)
        assert await refused(served)


def test_an_address_that_is_taken_is_named() -> None:
    with listening("127.0.0.1", 0) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(ListenError, match=f"127.0.0.1 port {port}: .*in use"), listening("127.0.0.1", port):
            pass


@pytest.mark.skipif(not socket.has_ipv6, reason="this host has no IPv6")
@pytest.mark.parametrize("host", ["::1", "[::1]"])
def test_an_ipv6_address_can_be_listened_on(host: str) -> None:
    with listening(host, 0) as listener:
        assert listener.getsockname()[0] == "::1"


async def test_what_cannot_be_understood_is_refused_at_the_start() -> None:
    with pytest.raises(StoreUrlError):
        await serve(GatewaySettings(redis="http://x", port=0), lambda _: None)
    with pytest.raises(ValueError, match=r"^policy: there is none called 'nonsense'; known: forebay, "):
        GatewaySettings(redis="redis://127.0.0.1:1", port=0, policy="nonsense")


@needs_redis
def test_a_gateway_without_redis_lives_says_so_once_and_becomes_ready_when_it_comes(tmp_path: Path) -> None:
    redis = RedisServer(tmp_path)
    with forebay_process(tmp_path, "gateway", "--redis", redis.url, "--rank-wait-ms", "100") as gateway:
        until_now(lambda: gateway.status("/healthz") == 200, "the gateway lives", within_s=30)
        assert gateway.status("/readyz") == 503
        assert httpx.post(gateway.url + COMPLETIONS, json={"prompt": "x"}, trust_env=False).status_code == 503
        until_now(lambda: len(warnings_of(gateway)) > 0, "it says that it has no store")
        assert gateway.out.read_text() == ""
        try:
            redis.start()
            assert f"http://127.0.0.1:{gateway.port}" in gateway.wait_until_ready()
            assert gateway.status("/readyz") == 200
            redis.stop()
            assert gateway.status("/readyz") == 200
        finally:
            redis.stop()
        gateway.process.terminate()
        assert gateway.process.wait(30) == 0
        assert len([line for line in warnings_of(gateway) if "trying again" in line]) <= 2
        assert len(gateway.out.read_text().splitlines()) == 1


def test_a_bad_option_is_named_at_the_start(tmp_path: Path) -> None:
    with forebay_process(tmp_path, "gateway", "--redis", "redis://127.0.0.1:1", "--policy", "nonsense") as gateway:
        assert gateway.process.wait(30) == 2
        assert "nonsense" in gateway.err.read_text()
