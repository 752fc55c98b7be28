"""Ranks behind TLS."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from gateway import websocket
from gateway.errors import RankFailedError, RankUnreachableError
from gateway.rank_http.deadlines import Deadlines
from gateway.upstream import RankTunnel
from scheduler.rank_tls import rank_context
from tests.certificates import UNVERIFIABLE, Authority, Pair, unverifiable
from tests.gateway.rank_http.raw_rank import OK, PATIENCE_S, answering, ask, open_upstream, raw_rank
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


def trusting(authority: Authority, own: Pair | None = None) -> ssl.SSLContext:
    """Of a gateway that has a certificate of its own, too, or has none."""
    cert, key = map(str, own or ("", ""))
    context = rank_context(str(authority.ca), cert, key)
    assert context is not None
    return context


@asynccontextmanager
async def rank_showing(pair: Pair, clients_of: Authority | None = None) -> AsyncIterator[str]:
    """The URL of a rank that answers each connection's first request, and may want certificates of its clients."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    if clients_of:
        context.load_verify_locations(clients_of.ca)
        context.verify_mode = ssl.CERT_REQUIRED

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(OK)
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/"
        finally:
            server.close()


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


async def test_ranks_are_verified_by_the_authority_that_was_given(authority: Authority) -> None:
    async with rank_showing(authority.signs("rank")) as url, open_upstream(tls=trusting(authority)) as upstream:
        assert await ask(upstream, url, body=b"") == (200, b"ok")


@pytest.mark.parametrize("fault", UNVERIFIABLE)
async def test_a_rank_that_cannot_be_verified_is_sent_nothing_and_named_once(
    authority: Authority, tmp_path: Path, caplog: pytest.LogCaptureFixture, fault: str
) -> None:
    shown = unverifiable(authority, tmp_path, fault)
    async with rank_showing(shown) as url, open_upstream(tls=trusting(authority)) as upstream:
        for _ in range(3):
            with pytest.raises(RankUnreachableError):
                await ask(upstream, url, body=b"secret")
    (said,) = [each.getMessage() for each in caplog.records if each.name.startswith("gateway")]
    assert "rank 127.0.0.1 port" in said
    assert "certificate verify failed" in said


async def test_a_rank_on_http_is_no_rank_on_https(authority: Authority) -> None:
    deadlines = Deadlines(connect_s=0.2, first_byte_s=PATIENCE_S, idle_s=PATIENCE_S)
    async with raw_rank(answering(OK)) as rank, open_upstream(deadlines, tls=trusting(authority)) as upstream:
        with pytest.raises(RankUnreachableError):
            await ask(upstream, rank.url.replace("http:", "https:"))


async def test_a_rank_that_wants_a_certificate_gets_it(authority: Authority) -> None:
    own = authority.signs("gateway")
    async with rank_showing(authority.signs("rank"), authority) as url:
        async with open_upstream(tls=trusting(authority, own)) as upstream:
            assert await ask(upstream, url, body=b"") == (200, b"ok")
        async with open_upstream(tls=trusting(authority)) as upstream:
            # With TLS 1.3 a rank says so only when it has been sent something.
            with pytest.raises((RankUnreachableError, RankFailedError)):
                await ask(upstream, url, body=b"")


async def test_only_hosts_that_are_allowed_are_connected_to() -> None:
    async with raw_rank(answering(OK)) as rank:
        async with open_upstream(hosts=["10.0.0.0/8", "localhost"]) as upstream:
            with pytest.raises(RankUnreachableError, match="where no ranks may be"):
                await ask(upstream, rank.url)
            assert rank.connections == 0
        async with open_upstream(hosts=["127.0.0.0/8"]) as upstream:
            assert await ask(upstream, rank.url) == (200, b"ok")


async def test_nobody_is_followed_elsewhere() -> None:
    async with raw_rank(answering(OK)) as other:
        away = f"HTTP/1.1 307 Temporary Redirect\r\nlocation: {other.url}/\r\ncontent-length: 0\r\n\r\n".encode()
        async with raw_rank(answering(away)) as rank, open_upstream() as upstream:
            assert await ask(upstream, rank.url) == (307, b"")
        assert other.connections == 0
