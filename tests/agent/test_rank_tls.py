"""Ranks on https: whom an agent trusts, and that it follows nobody elsewhere."""

import asyncio
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from agent.evidence import Answered, Broken
from agent.probe import Probe, open_http
from agent.settings import AgentSettings
from scheduler.rank_tls import rank_context
from tests.agent.fakes import healthy_answers, scripted_rank
from tests.agent.samples import page_bytes, settings
from tests.certificates import UNVERIFIABLE, Authority, Pair, unverifiable


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def trusting(authority: Authority) -> AgentSettings:
    own = authority.signs("agent")
    return settings(rank_ca=str(authority.ca), rank_cert=str(own.cert), rank_key=str(own.key))


def context_of(known: AgentSettings) -> ssl.SSLContext | None:
    return rank_context(known.rank_ca, known.rank_cert, known.rank_key)


@asynccontextmanager
async def rank_showing(pair: Pair, authority: Authority) -> AsyncIterator[str]:
    """The URL of a rank that is well, and wants to see a certificate of the authority's."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*pair)
    context.load_verify_locations(authority.ca)
    context.verify_mode = ssl.CERT_REQUIRED

    async def handle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(asyncio.IncompleteReadError, OSError):
            head = await reader.readuntil(b"\r\n\r\n")
            body = page_bytes("idle") if b"/metrics" in head else b""
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body))
        writer.close()

    server = await asyncio.start_server(handle, "127.0.0.1", 0, ssl=context)
    yield f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    server.close()


async def test_a_rank_is_verified_and_shown_a_certificate(authority: Authority) -> None:
    known = trusting(authority)
    async with rank_showing(authority.signs("rank"), authority) as url, open_http(context_of(known)) as http:
        assert isinstance(await Probe(http, url, known).look(), Answered)


@pytest.mark.parametrize("fault", UNVERIFIABLE)
async def test_a_rank_that_cannot_be_verified_is_broken_for_gateways_will_not_ask_it_either(
    authority: Authority, tmp_path: Path, fault: str
) -> None:
    shown, known = unverifiable(authority, tmp_path, fault), trusting(authority)
    async with rank_showing(shown, authority) as url, open_http(context_of(known)) as http:
        evidence = await Probe(http, url, known).look()
    assert isinstance(evidence, Broken)
    assert "certificate verify failed" in evidence.detail


async def test_nobody_is_followed_elsewhere() -> None:
    other_asked: list[bytes] = []

    async def other(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        other_asked.append(await reader.read(100))
        writer.close()

    elsewhere = await asyncio.start_server(other, "127.0.0.1", 0)
    port = elsewhere.sockets[0].getsockname()[1]

    async def leads_away(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 307 T\r\nlocation: http://127.0.0.1:%d/\r\ncontent-length: 0\r\n\r\n" % port)
        writer.close()

    async with await asyncio.start_server(leads_away, "127.0.0.1", 0) as server, open_http() as http:
        url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
        assert isinstance(await Probe(http, url, settings()).look(), Broken)
    elsewhere.close()
    assert not other_asked


async def test_without_files_the_systems_authorities_are_asked() -> None:
    assert context_of(settings()) is None
    async with scripted_rank(healthy_answers()) as rank, open_http() as http:
        assert isinstance(await Probe(http, f"http://127.0.0.1:{rank.port}", settings()).look(), Answered)


def test_a_certificate_and_its_key_go_together() -> None:
    with pytest.raises(ValueError, match="go together"):
        settings(rank_cert="x")
