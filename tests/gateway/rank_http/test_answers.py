"""Heads and framings of a rank's answer: what is read, and what is refused."""

import pytest

from gateway.errors import RankFailedError
from gateway.headers import MAX_HEAD_BYTES, MAX_HEADERS
from gateway.rank_http.head import MAX_INTERIM
from tests.gateway.rank_http.raw_rank import CHUNKED, OK, Peer, answering, ask, open_upstream, raw_rank
from tests.polling import until

INTERIM = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "body"),
    [
        pytest.param(OK, b"ok", id="a length"),
        pytest.param(b"HTTP/1.1 200 OK\r\nContent-Length: 002\r\n\r\nok", b"ok", id="a length with zeros"),
        pytest.param(b"HTTP/1.1 200\r\ncontent-length: 0\r\n\r\n", b"", id="no body"),
        pytest.param(CHUNKED + b"2\r\nok\r\n0\r\n\r\n", b"ok", id="chunks"),
        pytest.param(
            CHUNKED + b"1;a=b\r\no\r\n1\r\nk\r\n0;c\r\nx: y\r\n\r\n", b"ok", id="chunks with all they may have"
        ),
        pytest.param(CHUNKED.replace(b"chunked", b" Chunked "), None, id="chunks that do not come"),
        pytest.param(INTERIM * MAX_INTERIM + OK, b"ok", id="interim answers"),
    ],
)
@pytest.mark.parametrize("step", [1, 3, 1 << 20])
async def test_each_framing_is_read_however_it_comes(answer: bytes, body: bytes | None, step: int) -> None:
    async def sends(peer: Peer) -> None:
        await peer.request()
        for at in range(0, len(answer), step):
            await peer.send(answer[at : at + step])
        if body is not None:
            await peer.until_closed()

    async with raw_rank(sends) as rank, open_upstream() as upstream:
        if body is None:
            with pytest.raises(RankFailedError):
                await ask(upstream, rank.url)
        else:
            assert await ask(upstream, rank.url) == (200, body)


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
@pytest.mark.parametrize("headers", [b"", b"Connection: close\r\n"])
async def test_without_a_length_the_body_ends_with_the_connection(version: bytes, headers: bytes) -> None:
    async def ends(peer: Peer) -> None:
        await peer.request()
        await peer.send(b"HTTP/" + version + b" 200 OK\r\n" + headers + b"\r\n", b"o", b"k")

    async with raw_rank(ends) as rank, open_upstream() as upstream:
        assert [await ask(upstream, rank.url) for _ in range(2)] == [(200, b"ok")] * 2
        assert rank.connections == 2


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", CHUNKED, b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n"])
async def test_an_answer_that_is_broken_off_is_no_answer(head: bytes) -> None:
    async def breaks_off(peer: Peer) -> None:
        await peer.request()
        await peer.send(head + b"2\r\nok\r\n")
        peer.writer.transport.abort()

    async with raw_rank(breaks_off) as rank, open_upstream() as upstream:
        # What a reset leaves of a body without a length cannot be told from its end on every system.
        if b":" in head:
            with pytest.raises(RankFailedError):
                await ask(upstream, rank.url)


@pytest.mark.parametrize(
    ("method", "head"),
    [
        ("HEAD", b"HTTP/1.1 200 OK\r\ncontent-length: 99\r\n\r\n"),
        ("HEAD", CHUNKED),
        ("GET", b"HTTP/1.1 204 No Content\r\n\r\n"),
        ("GET", b"HTTP/1.1 304 Not Modified\r\ncontent-length: 99\r\n\r\n"),
    ],
)
async def test_some_answers_have_no_body_and_leave_their_connection(method: str, head: bytes) -> None:
    async with raw_rank(answering(head, head)) as rank, open_upstream() as upstream:
        for _ in range(2):
            assert await ask(upstream, rank.url, method, b"") == (int(head.split()[1]), b"")
        assert rank.connections == 1


REFUSED = {
    "both lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "two lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk",
    "a list of lengths": b"HTTP/1.1 200 OK\r\ncontent-length: 2, 2\r\n\r\nok",
    "a length with a sign": b"HTTP/1.1 200 OK\r\ncontent-length: +2\r\n\r\nok",
    "a hexadecimal length": b"HTTP/1.1 200 OK\r\ncontent-length: 0x2\r\n\r\nok",
    "an empty length": b"HTTP/1.1 200 OK\r\ncontent-length: \r\n\r\n",
    "an endless length": b"HTTP/1.1 200 OK\r\ncontent-length: " + b"9" * 30 + b"\r\n\r\nok",
    "another coding": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip\r\n\r\nok",
    "two codings": b"HTTP/1.1 200 OK\r\ntransfer-encoding: gzip, chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunked twice": CHUNKED[:-2] + b"transfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
    "chunks in HTTP/1.0": CHUNKED.replace(b"1.1", b"1.0") + b"2\r\nok\r\n0\r\n\r\n",
    "another version": OK.replace(b"1.1", b"2.0"),
    "no version": OK.replace(b"1.1", b"0.9"),
    "no HTTP": b"SSH-2.0-OpenSSH_9.6\r\n\r\n",
    "a request": b"GET / HTTP/1.1\r\nhost: a\r\n\r\n",
    "an empty head": b"\r\n\r\n",
    "status 99": OK.replace(b"200", b"099"),
    "status 600": OK.replace(b"200", b"600"),
    "four digits": OK.replace(b"200", b"2000"),
    "a change of protocol": b"HTTP/1.1 101 Switching\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n",
    "a change of protocol without words": b"HTTP/1.1 101 Switching\r\n\r\n" + OK,
    "half line ends": OK.replace(b"\r\n", b"\n"),
    "half a line end": OK.replace(b"OK\r\n", b"OK\n"),
    "the other half": OK.replace(b"OK\r\n", b"OK\r"),
    "a folded line": OK.replace(b"OK\r\n", b"OK\r\nx: y\r\n z\r\n"),
    "a line folded by a tab": OK.replace(b"OK\r\n", b"OK\r\nx: y\r\n\tz\r\n"),
    "a blank before a colon": OK.replace(b"OK\r\n", b"OK\r\nx : y\r\n"),
    "no colon": OK.replace(b"OK\r\n", b"OK\r\nx\r\n"),
    "no name": OK.replace(b"OK\r\n", b"OK\r\n: y\r\n"),
    "a zero byte": OK.replace(b"OK\r\n", b"OK\r\nx: \x00\r\n"),
    "a control": OK.replace(b"OK\r\n", b"OK\r\nx: a\x0bb\r\n"),
    "a control in the reason": OK.replace(b"OK\r\n", b"O\x1bK\r\n"),
    "too many headers": OK.replace(b"OK\r\n", b"OK\r\n" + b"x: y\r\n" * (MAX_HEADERS + 1)),
    "a large head": OK.replace(b"OK\r\n", b"OK\r\nx: " + b"y" * MAX_HEAD_BYTES + b"\r\n"),
    "an endless head": b"HTTP/1.1 200 OK\r\nx: " + b"y" * MAX_HEAD_BYTES,
    "endless interim answers": INTERIM * (MAX_INTERIM + 1) + OK,
    "more than its length": OK + b"x",
    "more than its chunks": CHUNKED + b"2\r\nok\r\n0\r\n\r\nx",
    "more than no body": b"HTTP/1.1 204 No Content\r\n\r\nx",
    "another answer": OK + OK,
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_http_does_not_allow_or_parsers_read_differently_is_refused(name: str) -> None:
    async with raw_rank(answering(REFUSED[name])) as rank, open_upstream() as upstream:
        with pytest.raises(RankFailedError):
            await ask(upstream, rank.url)
        assert upstream.open_requests == 0
        await until(lambda: rank.open == 0, "the connection is closed")
