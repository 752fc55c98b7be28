"""What passes through a tunnel, byte for byte, and which answers open none."""

import asyncio
import json
import logging
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import NamedTuple

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.rank_http.raw_rank import OK, Peer, Script, answering, raw_rank
from tests.gateway.running import DEADLINE_S, Served, checked_error, eventually, nothing_is_held, serving
from tests.gateway.websocket_rank import reset

HANDSHAKE = (
    "Connection: keep-alive, Upgrade\r\nUpgrade: WebSocket\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Key: a\r\n"
)
SWITCHED = (
    b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Accept: b\r\n\r\n"
)
MODELS = b"GET /v1/models HTTP/1.1\r\nHost: g\r\n\r\n"
PIECE = bytes(range(256)) * 256
MORE_THAN_IS_HELD_BYTES = 16_000_000
"""More than all sockets on the way and the gateway's own buffers may hold."""


def asking(headers: str = HANDSHAKE, *, line: str = "GET /v1/realtime HTTP/1.1") -> bytes:
    return f"{line}\r\nHost: g\r\n{headers}\r\n".encode()


class Client(NamedTuple):
    """A client's connection, its request sent and the head of its answer read."""

    head: bytes
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read(self, count: int) -> bytes:
        return await asyncio.wait_for(self.reader.readexactly(count), DEADLINE_S)

    async def read_to_end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


@asynccontextmanager
async def client_of(served: Served, sent: bytes, receive_bytes: int = 0) -> AsyncIterator[Client]:
    """A client that sends these bytes."""
    with socket.socket() as connection:
        if receive_bytes:
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_bytes)
        connection.setblocking(False)
        await asyncio.get_running_loop().sock_connect(connection, ("127.0.0.1", served.port))
        reader, writer = await asyncio.open_connection(sock=connection, limit=receive_bytes or 65_536)
        writer.write(sent)
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
        try:
            yield Client(head, reader, writer)
        finally:
            writer.close()


@asynccontextmanager
async def tunnel(script: Script, sent: bytes = b"", **options: int) -> AsyncIterator[tuple[Client, Served, FakePool]]:
    """A client in a tunnel to a rank that runs `script` once it has changed the protocol."""

    async def switches(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHED)
        await script(peer)

    async with (
        raw_rank(switches, receive_bytes=options.get("receive_bytes")) as rank,
        serving(FakePools(pool := FakePool(card(rank.url)))) as served,
    ):
        async with client_of(served, asking() + sent, **options) as client:
            assert client.head.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
            yield client, served, pool
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: not rank.open)
    assert pool.releases() == {1: 1}


async def test_bytes_that_come_with_either_head_are_passed_on() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(await peer.reader.readexactly(5))

    async def at_once(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHED + b"welcome")
        await script(peer)

    async with (
        raw_rank(at_once) as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        client_of(served, asking() + b"early") as client,
    ):
        assert await client.read_to_end() == b"welcomeearly"


async def test_the_head_of_a_change_says_nothing_of_a_body_or_an_end() -> None:
    headers = HANDSHAKE.replace("keep-alive", "close")
    async with (
        raw_rank(answering(SWITCHED)) as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        client_of(served, asking(headers)) as client,
    ):
        lines = client.head.decode().lower().split("\r\n")
    assert lines.count("upgrade: websocket") == lines.count("connection: upgrade") == 1
    assert not any(line.startswith(("transfer-encoding", "content-length", "connection: close")) for line in lines)
    assert "sec-websocket-accept: b" in lines


async def test_what_looks_like_http_in_a_tunnel_is_none() -> None:
    async def script(peer: Peer) -> None:
        await peer.send(await peer.reader.readexactly(len(MODELS)))

    async with tunnel(script, MODELS) as (client, _, _):
        assert await client.read_to_end() == MODELS


async def test_a_client_that_does_not_read_makes_its_rank_wait() -> None:
    sent_bytes = 0
    ends = asyncio.Event()

    async def floods(peer: Peer) -> None:
        nonlocal sent_bytes
        while not ends.is_set():
            await peer.send(PIECE)
            sent_bytes += len(PIECE)
        await peer.send(b"end")

    async with tunnel(floods, receive_bytes=4096) as (client, _, _):
        await rests(lambda: sent_bytes)
        assert sent_bytes < MORE_THAN_IS_HELD_BYTES
        ends.set()
        got = await client.read_to_end()
    assert got == PIECE * (sent_bytes // len(PIECE)) + b"end"


async def test_a_rank_that_does_not_read_makes_its_client_wait() -> None:
    reads = asyncio.Event()
    got: list[bytes] = []
    sent_bytes = 0

    async def sleeps(peer: Peer) -> None:
        await reads.wait()
        got.append(await peer.reader.read())

    async with tunnel(sleeps, receive_bytes=4096) as (client, _, _):

        async def floods() -> None:
            nonlocal sent_bytes
            while not reads.is_set():
                client.writer.write(PIECE)
                await client.writer.drain()
                sent_bytes += len(PIECE)
            client.writer.write_eof()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(floods(), name="flood")
            await rests(lambda: sent_bytes)
            assert sent_bytes < MORE_THAN_IS_HELD_BYTES
            reads.set()
        assert await client.read_to_end() == b""
    assert got == [PIECE * (sent_bytes // len(PIECE))]


async def rests(count: Callable[[], int]) -> None:
    """Wait until nothing more is taken."""
    seen = -1
    while seen != count() or not seen:
        seen = count()
        await asyncio.sleep(0.1)


async def test_a_client_that_has_closed_its_side_gets_what_its_rank_still_says() -> None:
    async def script(peer: Peer) -> None:
        everything = await peer.reader.read()
        await peer.send(everything + b" and more")

    async with tunnel(script) as (client, _, _):
        client.writer.write(b"all")
        client.writer.write_eof()
        assert await client.read_to_end() == b"all and more"


async def test_a_rank_that_breaks_off_when_its_client_has_ended_has_not_failed(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)

    async def script(peer: Peer) -> None:
        await peer.reader.read()
        reset(peer.writer.transport)

    async with tunnel(script) as (client, _, _):
        client.writer.write_eof()
        assert await client.read_to_end() == b""
    (line,) = [json.loads(one.message) for one in caplog.records if one.name == "gateway.access"]
    assert (line["status"], line["error"]) == (101, "")


async def test_a_rank_that_never_ends_is_left_some_time_after_its_client_has(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.realtime_session.HALF_CLOSED_S", 0.05)
    is_over = asyncio.Event()

    async def script(peer: Peer) -> None:
        await peer.until_closed()
        await is_over.wait()

    async with tunnel(script) as (client, served, pool):
        client.writer.write_eof()
        assert await client.read_to_end() == b""
        await eventually(lambda: nothing_is_held(served, pool))
        is_over.set()


async def test_what_a_client_sends_after_its_rank_has_ended_takes_nothing_from_it() -> None:
    said = b"x" * 60_000  # more than its sockets take, and less than makes the gateway wait

    async def script(peer: Peer) -> None:
        await peer.reader.readexactly(1)
        await peer.send(said)

    async with tunnel(script, receive_bytes=4096) as (client, served, pool):
        client.writer.write(b"a")
        await eventually(lambda: nothing_is_held(served, pool))
        for _ in range(4):
            client.writer.write(PIECE)
            await client.writer.drain()
        assert await client.read_to_end() == said


WRONG = {
    "another protocol": SWITCHED.replace(b"websocket", b"h2c"),
    "no protocol": SWITCHED.replace(b"Upgrade: websocket\r\n", b""),
    "no connection": SWITCHED.replace(b"Connection: Upgrade\r\n", b""),
    "a length": SWITCHED.replace(b"\r\n\r\n", b"\r\nContent-Length: 2\r\n\r\nok"),
    "chunks": SWITCHED.replace(b"\r\n\r\n", b"\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"),
    "HTTP/1.0": SWITCHED.replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no HTTP": b"welcome\r\n\r\n",
    "nothing": b"",
}


@pytest.mark.parametrize("answer", WRONG.values(), ids=WRONG)
async def test_a_rank_that_changes_to_what_nobody_asked_for_is_a_502(answer: bytes) -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(answer)

    async with raw_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        status, _, body = await served.send(asking())
        await eventually(lambda: nothing_is_held(served, pool))
    assert status == 502
    checked_error(502, body)


async def test_a_rank_that_changes_the_protocol_of_another_request_is_a_502() -> None:
    async with raw_rank(answering(SWITCHED)) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for request in (asking(line="GET /tokenizer_info HTTP/1.1"), asking("", line="GET /tokenizer_info HTTP/1.1")):
            status, _, _ = await served.send(request)
            assert status == 502


async def test_interim_answers_may_come_before_the_change() -> None:
    interim = b"HTTP/1.1 100 Continue\r\n\r\n"
    async with (
        raw_rank(answering(interim + SWITCHED)) as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        client_of(served, asking()) as client,
    ):
        assert client.head.startswith(b"HTTP/1.1 101 ")


async def test_after_a_refusal_both_connections_speak_http_as_before() -> None:
    refusal = b"HTTP/1.1 404 Not Found\r\ncontent-length: 4\r\n\r\nnone"
    async with raw_rank(answering(refusal, OK)) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        async with client_of(served, asking() + MODELS) as client:
            assert client.head.startswith(b"HTTP/1.1 404 ")
            assert await client.read(4) == b"none"
            second = await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), DEADLINE_S)
            assert second.startswith(b"HTTP/1.1 200 OK\r\n")
        await eventually(lambda: nothing_is_held(served, pool))
        await served.send(asking(line="GET /tokenizer_info HTTP/1.1"))
        assert rank.connections == 1


async def test_a_websocket_may_be_asked_for_behind_another_request() -> None:
    async def script(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHED)
        await peer.send(await peer.reader.readexactly(5))

    async with (
        raw_rank(script) as rank,
        serving(FakePools(FakePool(card(rank.url)))) as served,
        client_of(served, MODELS + asking() + b"early") as client,
    ):
        assert client.head.startswith(b"HTTP/1.1 200 OK\r\n")
        rest = await client.read_to_end()
        assert b"HTTP/1.1 101 Switching Protocols\r\n" in rest
        assert rest.endswith(b"\r\n\r\nearly")


@pytest.mark.parametrize(
    ("request_bytes", "status"),
    [
        (asking(HANDSHAKE + "Content-Length: 2\r\n") + b"{}", 400),
        (asking(HANDSHAKE + "Transfer-Encoding: chunked\r\n") + b"2\r\n{}\r\n0\r\n\r\n", 400),
        (asking(line="GET /v1/realtime HTTP/1.0"), 426),
        (asking(HANDSHAKE.replace("WebSocket", "h2c", 1)), 426),
        (asking(HANDSHAKE.replace("keep-alive, Upgrade", "keep-alive")), 426),
        (asking(""), 426),
        (asking(line="POST /v1/realtime HTTP/1.1"), 405),
        (asking(line="GET /v1/realtime/more HTTP/1.1"), 404),
    ],
)
async def test_what_is_no_offer_of_a_websocket_opens_no_tunnel(request_bytes: bytes, status: int) -> None:
    async with serving(pools := pools_of_nobody()) as served:
        answered, _, body = await served.send(request_bytes)
    assert answered == status
    checked_error(status, body)
    assert pools.placed == 0


async def test_a_flood_before_the_answer_is_not_held() -> None:
    may_answer = asyncio.Event()
    sent_bytes = 0

    async def script(peer: Peer) -> None:
        await peer.request()
        await may_answer.wait()
        await peer.send(SWITCHED)
        await peer.send(b"%d" % len(await peer.reader.read()))

    async with raw_rank(script) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(asking())

        async def floods() -> None:
            nonlocal sent_bytes
            while not may_answer.is_set():
                writer.write(PIECE)
                await writer.drain()
                sent_bytes += len(PIECE)
            writer.write_eof()

        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(floods(), name="flood")
            await rests(lambda: sent_bytes)
            assert sent_bytes < MORE_THAN_IS_HELD_BYTES
            may_answer.set()
        assert (await reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
        assert await asyncio.wait_for(reader.read(), DEADLINE_S) == b"%d" % sent_bytes
        writer.close()
        await eventually(lambda: nothing_is_held(served, pool))


async def test_a_client_that_leaves_during_the_handshake_leaves_nothing_behind() -> None:
    async def stalls(peer: Peer) -> None:
        await peer.request()
        await peer.until_closed()

    async with raw_rank(stalls) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(asking())
        await eventually(lambda: rank.open == 1)
        writer.transport.abort()
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: not rank.open)
    assert pool.releases() == {1: 1}


async def test_a_client_that_never_reads_is_given_up() -> None:
    async def floods(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHED)
        while True:
            await peer.send(PIECE)

    async with (
        raw_rank(floods) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), client_idle_ms=300) as served,
        client_of(served, asking(), receive_bytes=4096),
    ):
        await eventually(lambda: pool.releases() == {1: 1})
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(lambda: not rank.open)
