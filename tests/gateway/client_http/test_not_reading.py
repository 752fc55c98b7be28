"""Clients that take no more of their answer: what waits for them is given up, and all of their connection with it."""

import asyncio
import gc
import socket
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from typing import cast

import pytest

from gateway.client_http.protocol import ClientProtocol
from gateway.server import _Server
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, Served, eventually, post, serving
from tests.gateway.scripted_rank import EVENTS, NO_MORE, STREAM_HEAD, Exchange, chunk, scripted_rank

pytestmark = pytest.mark.usefixtures("only_new_objects")

IDLE_MS = 200
SMALL_BYTES = 2048
MANY_BYTES = 4_000_000


async def floods(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD)
    while True:
        await exchange.send(chunk(EVENTS[0] * 500))


async def ends_large(exchange: Exchange) -> None:
    await exchange.send(STREAM_HEAD, chunk(b"data: " + b"x" * MANY_BYTES + b"\n\n"), NO_MORE)


async def answers_large(exchange: Exchange) -> None:
    await exchange.answer("200 OK", b"x" * (MANY_BYTES - 1))


@contextmanager
def mute_client(served: Served, sent: bytes) -> Iterator[socket.socket]:
    """A client that sends and never reads."""
    with socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SMALL_BYTES)
        client.connect(("127.0.0.1", served.port))
        client.sendall(sent)
        yield client


def connections_of_server() -> set[ClientProtocol]:
    """The connections of the one server that runs: the set itself, for to look for it takes a while."""
    (server,) = [one for one in gc.get_objects() if type(one) is _Server and one.started and not one.should_exit]
    return cast("set[ClientProtocol]", server.server_state.connections)


GET_METRICS = b"GET /metrics HTTP/1.1\r\nHost: g\r\n\r\n"
STREAM = post(COMPLETIONS, b'{"prompt":"x","stream":true}')
WHOLE = post(COMPLETIONS, b'{"prompt":"x"}')


@pytest.mark.parametrize(
    ("script", "sent"),
    [
        pytest.param(floods, STREAM, id="an endless stream"),
        pytest.param(ends_large, STREAM, id="the end of a stream"),
        pytest.param(answers_large, WHOLE, id="a whole answer"),
        pytest.param(answers_large, WHOLE.replace(b"Host", b"Connection: close\r\nHost"), id="the last answer"),
        pytest.param(answers_large, GET_METRICS * 2000, id="many answers"),
    ],
)
async def test_a_client_that_does_not_read_loses_its_socket(script: object, sent: bytes) -> None:
    async with (
        scripted_rank(script) as rank,  # type: ignore[arg-type]
        serving(FakePools(pool := FakePool(card(rank.url))), client_idle_ms=IDLE_MS) as served,
    ):
        connections = connections_of_server()
        with mute_client(served, sent):
            await eventually(lambda: len(connections) == 1)
            await eventually(lambda: not connections)
            await eventually(lambda: served.gateway.alive == len(pool.live) == 0)


async def test_of_a_connection_that_was_reset_no_timer_remains() -> None:
    async with serving(FakePools()) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: g\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        connections = connections_of_server()
        (connection,) = connections
        reset_on_close = struct.pack("ii", 1, 0)
        writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset_on_close)
        writer.transport.abort()
        await eventually(lambda: not connections)
        assert connection.timeout_keep_alive_task is None
