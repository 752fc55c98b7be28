"""Clients over TLS get what others get, byte for byte, and are noticed when they leave or do not read."""

import asyncio
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.gateway.client_http.test_backpressure import HELD_BYTES, Flood
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.rank_http.raw_rank import Peer, raw_rank
from tests.gateway.running import CHAT, COMPLETIONS, DEADLINE_S, Served, eventually, nothing_is_held, post, serving
from tests.gateway.scripted_rank import COMPLETION, EVENTS, NO_MORE, STREAM_HEAD, Exchange, chunk, scripted_rank
from tests.gateway.test_tunnels import PIECE, SWITCHED, asking

TLS = Path(__file__).parents[2] / "data" / "tls"
FILES = {"tls_cert": str(TLS / "certificate.pem"), "tls_key": str(TLS / "key.pem")}
OWN = re.compile(rb"(?m)^(x-request-id|date): [^\r]*\r\n")
"""What differs from one answer to the next."""
CHUNK_SIZES = re.compile(rb"\r\n[0-9a-f]+\r\n")
"""Chunks that come at once may go on as one."""


class Connection(NamedTuple):
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter

    async def read_to_end(self) -> bytes:
        return await asyncio.wait_for(self.reader.read(), DEADLINE_S)


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(TLS / "certificate.pem"))
    context.set_alpn_protocols(["h2", "http/1.1"])
    return context


@asynccontextmanager
async def connected(served: Served, sent: bytes) -> AsyncIterator[Connection]:
    """A client that has sent these bytes, over TLS where the gateway has it."""
    tls = trusting() if served.gateway.settings.tls_cert else None
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=tls)
    writer.write(sent)
    try:
        yield Connection(reader, writer)
    finally:
        writer.close()


async def all_of_it(exchange: Exchange) -> None:
    if b'"stream":true' in exchange.request.body:
        await exchange.send(STREAM_HEAD, *(chunk(each) for each in EVENTS for _ in range(50)), NO_MORE)
    elif b"large" in exchange.request.body:
        await exchange.answer("200 OK", b'"%b"' % (b"x" * 3_000_000), "content-type: application/json")
    else:
        await exchange.answer("200 OK", COMPLETION, "content-type: application/json")


STREAM = b'{"prompt":"Once","stream":true}'
LAST = "Connection: close"
REQUESTS = {
    "a stream": post(COMPLETIONS, STREAM, LAST),
    "an answer": post(COMPLETIONS, b'{"prompt":"Once"}', LAST),
    "a large answer": post(COMPLETIONS, b'{"prompt":"large"}', LAST),
    "two in turn": post(COMPLETIONS, STREAM) + post(CHAT, b'{"prompt":"Once"}', LAST),
    "a large body": post(COMPLETIONS, b'{"prompt":"%b"}' % (b"y" * 1_000_000), LAST),
    "HTTP/1.0": post(COMPLETIONS, STREAM).replace(b"HTTP/1.1", b"HTTP/1.0"),
    "no HTTP": b"\x16\x03 no HTTP\r\n\r\n",
    "a body that is refused by its head": post(COMPLETIONS, b"{}", LAST).replace(b"Length: 2", b"Length: 99999999"),
    "another route": b"GET /nowhere HTTP/1.1\r\nHost: g\r\nConnection: close\r\n\r\n",
}


@pytest.mark.parametrize("sent", REQUESTS.values(), ids=REQUESTS)
async def test_clients_over_tls_get_the_same_bytes(sent: bytes) -> None:
    async with scripted_rank(all_of_it) as rank:
        got = []
        for files in ({}, FILES):
            async with (
                serving(FakePools(FakePool(card(rank.url))), **files) as served,
                connected(served, sent) as client,
            ):
                got.append(CHUNK_SIZES.sub(b"", OWN.sub(b"", await client.read_to_end())))
    assert got[0]
    assert got[0] == got[1]


async def test_a_client_that_leaves_a_stream_gives_all_back() -> None:
    async def stays(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await exchange.until_closed()

    async with (
        scripted_rank(stays) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), **FILES) as served,
    ):
        for leaves in ("close", "abort"):
            async with connected(served, post(COMPLETIONS, STREAM)) as client:
                await client.reader.readuntil(b"\n\n")
                assert pool.live
                if leaves == "abort":
                    client.writer.transport.abort()
            await eventually(lambda: nothing_is_held(served, pool))


async def test_a_client_that_does_not_read_holds_its_rank_up_and_is_dropped_in_the_end() -> None:
    flood = Flood()
    async with (
        scripted_rank(flood.script) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), client_idle_ms=1_500, **FILES) as served,
        connected(served, post(COMPLETIONS, b'{"prompt":"flood","stream":true}')) as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await flood.rests()
        assert flood.sent_bytes < HELD_BYTES
        await eventually(lambda: nothing_is_held(served, pool))


async def test_a_client_that_reads_on_gets_the_rest() -> None:
    flood = Flood()
    async with (
        scripted_rank(flood.script) as rank,
        serving(FakePools(FakePool(card(rank.url))), **FILES) as served,
        connected(served, post(COMPLETIONS, b'{"prompt":"flood","stream":true}', LAST)) as client,
    ):
        client.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await flood.rests()
        flood.is_to_end.set()
        client.writer.transport.resume_reading()  # type: ignore[attr-defined]
        assert (await client.read_to_end()).endswith(NO_MORE)


async def test_a_websocket_passes_over_tls() -> None:
    async def echoes(peer: Peer) -> None:
        await peer.request()
        await peer.send(SWITCHED)
        await peer.send(await peer.reader.readexactly(len(PIECE)))
        await peer.until_closed()

    async with (
        raw_rank(echoes) as rank,
        serving(FakePools(pool := FakePool(card(rank.url))), **FILES) as served,
    ):
        async with connected(served, asking() + PIECE) as client:
            assert (await client.reader.readuntil(b"\r\n\r\n")).startswith(b"HTTP/1.1 101 ")
            assert await client.reader.readexactly(len(PIECE)) == PIECE
        await eventually(lambda: nothing_is_held(served, pool))


async def test_requests_are_answered_while_others_never_end_their_handshake() -> None:
    async with scripted_rank(all_of_it) as rank, serving(FakePools(FakePool(card(rank.url))), **FILES) as served:
        mute = [await asyncio.open_connection("127.0.0.1", served.port) for _ in range(3)]
        mute[0][1].write(b"GET / HTTP/1.1\r\n\r\n")
        async with connected(served, post(COMPLETIONS, STREAM, LAST)) as client:
            assert (await client.read_to_end()).endswith(NO_MORE)
            found = client.writer.get_extra_info("ssl_object")
            assert (found.selected_alpn_protocol(), found.version()) == ("http/1.1", "TLSv1.3")
        for _, writer in mute:
            writer.close()
