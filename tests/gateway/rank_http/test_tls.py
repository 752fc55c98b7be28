"""Ranks behind TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.errors import RankUnreachableError
from tests.gateway.rank_http.raw_rank import OK, PATIENCE_S, ask, open_upstream

TLS = Path(__file__).parents[2] / "data" / "tls"
"""A certificate of localhost and 127.0.0.1, signed by itself, until 2126; made with openssl for these tests."""

SIZES = (2, 3_000_000)


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

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(TLS / "certificate.pem", TLS / "key.pem")
    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()


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
