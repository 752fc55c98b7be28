"""Requests that two readers may take for different ones: refused, or read as RFC 9112 says, and nothing behind them.

The same for a rank's answers is in `tests/gateway/rank_http/test_answers.py`.
"""

import asyncio

import pytest

from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, DEADLINE_S, Served, checked_error, eventually, serving
from tests.gateway.scripted_rank import scripted_rank

BODY = b'{"prompt":"x"}'
LINE = f"POST {COMPLETIONS} HTTP/1.1\r\n".encode()
HEAD = LINE + b"Host: g\r\nContent-Type: application/json\r\n"
CHUNKED = HEAD + b"Transfer-Encoding: chunked\r\n\r\n"
SIZED = HEAD + b"Content-Length: 14\r\n\r\n"
CHUNK = b"e\r\n" + BODY + b"\r\n"
END = b"0\r\n\r\n"
HIDDEN = b"POST /v1/embeddings HTTP/1.1\r\nHost: g\r\nContent-Type: application/json\r\nContent-Length: 2\r\n\r\n{}"
"""What is to be smuggled; it stands behind each of these."""


def framed(*lines: bytes) -> bytes:
    return HEAD + b"".join(line + b"\r\n" for line in lines) + b"\r\n"


REFUSED = {
    # Lengths.
    "both lengths": framed(b"Content-Length: 14", b"Transfer-Encoding: chunked") + CHUNK + END,
    "both lengths, the other way round": framed(b"Transfer-Encoding: chunked", b"Content-Length: 14") + CHUNK + END,
    "two lengths": framed(b"Content-Length: 14", b"Content-Length: 15") + BODY,
    "a length twice": framed(b"Content-Length: 14", b"Content-Length: 14") + BODY,
    "a list of lengths": framed(b"Content-Length: 14, 14") + BODY,
    "a length with a sign": framed(b"Content-Length: +14") + BODY,
    "a negative length": framed(b"Content-Length: -14") + BODY,
    "a hexadecimal length": framed(b"Content-Length: 0xe") + BODY,
    "a length with an underscore": framed(b"Content-Length: 1_4") + BODY,
    "a length with a blank": framed(b"Content-Length: 1 4") + BODY,
    "an empty length": framed(b"Content-Length:") + BODY,
    "a length of more than 64 bits": framed(b"Content-Length: 18446744073709551630") + BODY,
    # Codings.
    "another coding": framed(b"Transfer-Encoding: gzip") + BODY,
    "an odd coding": framed(b"Transfer-Encoding: xchunked") + CHUNK + END,
    "no coding": framed(b"Transfer-Encoding:") + CHUNK + END,
    "two codings": framed(b"Transfer-Encoding: gzip, chunked") + CHUNK + END,
    "chunked twice": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: chunked") + CHUNK + END,
    "chunked and identity": framed(b"Transfer-Encoding: chunked", b"Transfer-Encoding: identity") + CHUNK + END,
    "chunked with a parameter": framed(b"Transfer-Encoding: chunked;a=b") + CHUNK + END,
    "chunked behind a tab": framed(b"Transfer-Encoding: \tchunked\t") + CHUNK + END,
    "chunked behind a control": framed(b"Transfer-Encoding: \x0bchunked") + CHUNK + END,
    "chunked in quotes": framed(b'Transfer-Encoding: "chunked"') + CHUNK + END,
    # Lines.
    "a blank before a colon": framed(b"Content-Length : 14") + BODY,
    "a blank before a name": framed(b"X: y", b" Content-Length: 14") + BODY,
    "a folded line": framed(b"Transfer-Encoding:", b" chunked") + CHUNK + END,
    "a first line that is folded": LINE + b" X: y\r\n" + SIZED.removeprefix(LINE) + BODY,
    "a bare CR in a value": framed(b"X: y\rContent-Length: 14") + BODY,
    "a bare LF behind a value": framed(b"X: y\nContent-Length: 14") + BODY,
    "bare LFs": SIZED.replace(b"\r\n", b"\n") + BODY,
    "a zero byte in a value": framed(b"X: y\x00", b"Content-Length: 14") + BODY,
    "a zero byte in a name": framed(b"X\x00: y", b"Content-Length: 14") + BODY,
    "a line without a colon": framed(b"Content-Length 14", b"Content-Length: 14") + BODY,
    "a header without a name": framed(b": y", b"Content-Length: 14") + BODY,
    # Chunks.
    "a size that is no number": CHUNKED + b"g\r\n" + BODY + b"\r\n" + END,
    "a size with a sign": CHUNKED + b"+e\r\n" + BODY + b"\r\n" + END,
    "a negative size": CHUNKED + b"-1\r\n" + BODY + b"\r\n" + END,
    "a size with a prefix": CHUNKED + b"0xe\r\n" + BODY + b"\r\n" + END,
    "a size with an underscore": CHUNKED + b"0_e\r\n" + BODY + b"\r\n" + END,
    "a size behind a blank": CHUNKED + b" e\r\n" + BODY + b"\r\n" + END,
    "a size before a blank": CHUNKED + b"e \r\n" + BODY + b"\r\n" + END,
    "a size of more than 64 bits": CHUNKED + b"1000000000000000e\r\n" + BODY + b"\r\n" + END,
    "no size": CHUNKED + b"\r\n" + BODY + b"\r\n" + END,
    "a size that ends in LF": CHUNKED + b"e\n" + BODY + b"\r\n" + END,
    "a size that ends in CR": CHUNKED + b"e\r" + BODY + b"\r\n" + END,
    "a chunk that ends in LF": CHUNKED + b"e\r\n" + BODY + b"\n" + END,
    "a chunk without an end": CHUNKED + b"e\r\n" + BODY + END,
    "a chunk longer than its size": CHUNKED + b"d\r\n" + BODY + b"\r\n" + END,
    "an extension with a bare LF": CHUNKED + b"e;a\nb\r\n" + BODY + b"\r\n" + END,
    "an extension with a bare CR": CHUNKED + b"e;a\rb\r\n" + BODY + b"\r\n" + END,
    "a last chunk that ends in LF": CHUNKED + CHUNK + b"0\n\n",
    "a trailer with a bare LF": CHUNKED + CHUNK + b"0\r\nX: y\nZ: z\r\n\r\n",
    "a trailer that would be a length": CHUNKED + CHUNK + b"0\r\nContent-Length: 99\r\n\r\n",
    "a trailer without a colon": CHUNKED + CHUNK + b"0\r\nX\r\n\r\n",
}

READ = {
    "a length": SIZED + BODY,
    "chunks": CHUNKED + CHUNK + END,
    "a coding in capitals": framed(b"TRANSFER-ENCODING: CHUNKED") + CHUNK + END,
    "zeros before a size": CHUNKED + b"000" + CHUNK + END,
    "an extension": CHUNKED + b'e;a="b"\r\n' + BODY + b"\r\n" + END,
    "a trailer": CHUNKED + CHUNK + b"0\r\nX-Trailed: 1\r\n\r\n",
}


async def answers_to(served: Served, sent: bytes) -> bytes:
    """All that comes until the gateway closes; what is sent may be more than it takes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", served.port)
    try:
        writer.write(sent)
        return await asyncio.wait_for(reader.read(), DEADLINE_S)
    finally:
        writer.close()


async def test_what_may_be_read_in_two_ways_is_refused_and_what_follows_is_not_read() -> None:
    async with serving(FakePools(pool := FakePool(NOWHERE))) as served:
        for name, sent in REFUSED.items():
            answers = await answers_to(served, sent + HIDDEN)
            head, _, body = answers.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 400 "), (name, answers)
            assert b"connection: close" in head, name
            assert answers.count(b"HTTP/1.1") == 1, (name, answers)
            checked_error(400, body)
            await eventually(lambda: served.gateway.alive == 0)
        assert pool.asked == []


async def test_what_is_read_in_one_way_is_served_and_so_is_what_follows() -> None:
    last = HIDDEN.replace(b"Host", b"Connection: close\r\nHost")
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for name, sent in READ.items():
            answers = await answers_to(served, sent + last)
            assert answers.count(b"HTTP/1.1 200 ") == 2, (name, answers)
    asked = [(one.line.split()[1], one.header("content-length"), one.body) for one in rank.requests]
    assert asked == [(COMPLETIONS, "14", BODY), ("/v1/embeddings", "2", b"{}")] * len(READ)


@pytest.mark.parametrize("close", [b"Connection: close", b"connection: keep-alive, Close"])
async def test_nothing_is_read_behind_the_last_request_of_a_connection(close: bytes) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        answers = await answers_to(served, framed(close, b"Content-Length: 14") + BODY + HIDDEN)
        old = await answers_to(served, (SIZED + BODY).replace(b"HTTP/1.1", b"HTTP/1.0") + HIDDEN)
    assert answers.count(b"HTTP/1.1 ") == old.count(b"HTTP/1.1 ") == 1
    assert [one.line.split()[1] for one in rank.requests] == [COMPLETIONS] * 2
