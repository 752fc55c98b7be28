"""Ranks behind TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway import websocket
from gateway.errors import RankUnreachableError
from gateway.upstream import RankTunnel
from tests.gateway.rank_http.raw_rank import OK, PATIENCE_S, ask, open_upstream
from tests.polling import until

TLS = Path(__file__).parents[2] / "data" / "tls"
"""A certificate of localhost and 127.0.0.1, signed by itself, until 2126; made with openssl for these tests."""

SIZES = (2, 3_000_000)


Handle = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


@asynccontextmanager
async def tls_server(handle: Handle) -> AsyncIterator[str]:
    """Its URL."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()


@asynccontextmanager
async def tls_rank(connections: list[None]) -> AsyncIterator[str]:
    """Its URL. It answers when a body has come as a whole."""

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connections.append(None)
        try:
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                await reader.readexactly(int(head.partition(b"content-length: ")[2].split()[0]))
                writer.write(OK)
        except (asyncio.IncompleteReadError, ConnectionError):
            writer.close()

    async with tls_server(handle) as url:
        yield url


async def test_a_tunnel_whose_client_has_ended_is_closed_as_tls_cannot_say_it_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    heard: list[bytes] = []

    async def switches(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n")
        heard.append(await reader.read())
        writer.close()

    async with (
        tls_server(switches) as url,
        open_upstream() as upstream,
        upstream.request("GET", url, websocket.OFFER, b"", lambda: None, may_switch=True) as answer,
    ):
        assert isinstance(answer, RankTunnel)
        await answer.send(b"all")
        answer.end()
        await until(lambda: heard == [b"all"], "the rank has heard the end")


async def test_a_rank_that_is_trusted_is_asked_and_its_connection_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(TLS / "certificate.pem"))
    connections: list[None] = []
    sent: list[None] = []
    async with tls_rank(connections) as url, open_upstream() as upstream:
        for size in SIZES:
            async with upstream.request("POST", url, [], b"x" * size, lambda: sent.append(None)) as answer:
                assert await answer.read() == b"ok"
    assert (len(connections), len(sent)) == (1, len(SIZES))


async def test_a_rank_that_is_not_trusted_is_not_reached() -> None:
    async with tls_rank([]) as url, open_upstream() as upstream:
        with pytest.raises(RankUnreachableError):
            await ask(upstream, url)
