"""Bodies in chunks, with httptools as the oracle of what HTTP allows."""

from itertools import pairwise
from typing import NamedTuple

import httptools
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.errors import RankFailedError
from gateway.rank_http.chunks import HELD_BYTES, MAX_LINE_BYTES, MAX_TRAILER_BYTES, Chunked, payload_of, whole_bytes
from tests.gateway.rank_http.sinks import Kept

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Read(NamedTuple):
    """How a body was read."""

    payload: bytes
    is_complete: bool


class Oracle:
    """httptools' reading."""

    def __init__(self) -> None:
        self.payload = b""
        self.is_complete = False

    def on_body(self, body: bytes) -> None:
        self.payload += body

    def on_message_complete(self) -> None:
        self.is_complete = True


def theirs(stream: bytes) -> Read | None:
    """None: refused."""
    oracle = Oracle()
    parser = httptools.HttpResponseParser(oracle)
    try:
        parser.feed_data(HEAD + stream)
    except httptools.HttpParserError:
        return None
    return Read(oracle.payload, oracle.is_complete)


def ours(stream: bytes, cuts: list[int] | None = None, kept: Kept | None = None) -> Read | None:
    """None: refused."""
    kept = kept or Kept()
    chunked, is_complete = Chunked(), False
    edges = sorted({0, len(stream), *(cut % (len(stream) + 1) for cut in cuts or ())})
    try:
        for begin, end in pairwise(edges):
            is_complete = chunked.feed(stream[begin:end], kept)
    except RankFailedError:
        return None
    assert chunked.close() is is_complete
    return Read(kept.payload, is_complete)


TOKENS = st.text("abcXYZ09-_", min_size=1, max_size=6).map(str.encode)
QUOTED = st.text("ab =;,\t", max_size=6).map(lambda text: b'"' + text.encode() + b'"')
EXTENSION = st.one_of(
    TOKENS.map(lambda name: b";" + name), st.tuples(TOKENS, TOKENS | QUOTED).map(lambda both: b";" + b"=".join(both))
)
EXTENSIONS = st.one_of(st.just(b""), st.just(b""), st.lists(EXTENSION, max_size=2).map(b"".join))
SMALL = st.binary(min_size=1, max_size=40)
PAYLOADS = st.one_of(
    SMALL,
    st.sampled_from(
        [b"\r\n", b"0\r\n\r\n", b"5\r\nhello\r\n", b"x" * 4_096, b"y" * HELD_BYTES, b"z" * (HELD_BYTES + 1)]
    ),
)
SIZES = st.sampled_from([b"%x", b"%X", b"0%x", b"%016x"])
TRAILERS = st.lists(st.tuples(TOKENS, TOKENS).map(lambda both: b"x-" + both[0] + b": " + both[1] + b"\r\n"), max_size=2)
CUTS = st.lists(st.integers(0, 1 << 20), max_size=12)


class Stream(NamedTuple):
    """A valid body; `regular`: its chunks that have no extension, as they stand in it."""

    wire: bytes
    payload: bytes
    regular: list[bytes]


@st.composite
def streams(draw: st.DrawFn, payloads: st.SearchStrategy[bytes] = PAYLOADS) -> Stream:
    wire, payload, regular = b"", b"", []
    for part in draw(st.lists(payloads, max_size=6)):
        extensions = draw(EXTENSIONS)
        chunk = draw(SIZES) % len(part) + extensions + b"\r\n" + part + b"\r\n"
        if not extensions:
            regular.append(chunk)
        wire += chunk
        payload += part
    wire += draw(st.sampled_from([b"0", b"000"])) + draw(EXTENSIONS) + b"\r\n" + b"".join(draw(TRAILERS)) + b"\r\n"
    return Stream(wire, payload, regular)


@given(streams(), CUTS)
def test_a_valid_body_is_read_alike_however_it_is_cut(stream: Stream, cuts: list[int]) -> None:
    assert ours(stream.wire, cuts) == Read(stream.payload, is_complete=True) == theirs(stream.wire)


@given(streams(SMALL), CUTS)
def test_whole_regular_chunks_pass_as_they_came_and_extensions_do_not(stream: Stream, cuts: list[int]) -> None:
    kept = Kept()
    assert ours(stream.wire, cuts, kept) is not None
    assert kept.verbatim == b"".join(stream.regular)


@given(streams(), st.data())
def test_a_body_that_is_cut_short_is_not_complete(stream: Stream, data: st.DataObject) -> None:
    end = data.draw(st.integers(0, len(stream.wire) - 1))
    read = ours(stream.wire[:end])
    assert read is not None
    assert not read.is_complete
    assert stream.payload.startswith(read.payload)


SHORT = st.lists(st.binary(min_size=1, max_size=6), max_size=3).map(
    lambda parts: b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
)
SPICES = st.sampled_from(
    [b"\r", b"\n", b"\r\n", b";", b"=", b'"', b"\\", b" ", b"\t", b"0", b"1", b"5", b"a", b"F", b"g", b"+", b"-", b"_",
     b"0x", b"\x00", b"\x7f", b"\x80", b",", b":", b"x: y\r\n", b"Content-Length: 5\r\n", b";a=b", b';a="b"'],
)  # fmt: skip


@st.composite
def mutants(draw: st.DrawFn) -> bytes:
    stream = draw(SHORT) + draw(st.sampled_from([b"0", b"00", b"0;a", b'0;a="b"'])) + b"\r\n"
    stream += draw(st.sampled_from([b"", b"x: y\r\n"])) + b"\r\n"
    for _ in range(draw(st.integers(1, 3))):
        at = draw(st.integers(0, len(stream)))
        stream = stream[:at] + draw(SPICES | st.just(b"")) + stream[at + draw(st.integers(0, 2)) :]
    return stream


@given(mutants(), CUTS)
@example(b"5\nhello\r\n0\r\n\r\n", [])
@example(b"0\r\nTransfer-Encoding: chunked\r\n\r\n", [])
@example(b"0\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", [])
def test_what_the_oracle_refuses_is_refused(stream: bytes, cuts: list[int]) -> None:
    read, oracle = ours(stream, cuts), theirs(stream)
    if read is not None and read.is_complete:
        assert read == oracle


@pytest.mark.parametrize(
    "stream",
    [
        pytest.param(b"", id="an empty line"),
        pytest.param(b"g", id="no hex"),
        pytest.param(b"-5", id="a sign"),
        pytest.param(b"+5", id="a plus"),
        pytest.param(b"0x5", id="a prefix"),
        pytest.param(b"1_0", id="an underscore"),
        pytest.param(b" 5", id="a blank before"),
        pytest.param(b"5 ", id="a blank behind"),
        pytest.param(b"5\t", id="a tab behind"),
        pytest.param(b"0" * 16 + b"5", id="seventeen digits"),
        pytest.param(b"f" * 17, id="more than 64 bits"),
        pytest.param(b"5;a\rb", id="a bare CR in an extension"),
        pytest.param(b"5;a\nb", id="a bare LF in an extension"),
        pytest.param(b"5;a\x00", id="a control in an extension"),
        pytest.param(b'5;a="b', id="an open quote"),
        pytest.param(b"5;" + b"a" * MAX_LINE_BYTES, id="an endless extension"),
    ],
)
def test_a_size_that_is_not_plain_is_refused(stream: bytes) -> None:
    assert ours(stream + b"\r\nhello\r\n0\r\n\r\n") is None
    assert ours(stream + b"\r\nhello\r\n0\r\n\r\n", list(range(40))) is None


@pytest.mark.parametrize(
    "stream",
    [b"5\nhello\n0\n\n", b"5\rhello", b"5\r\nhello\n0", b"5\r\nhello0\r\n", b"5\r\nhelloXX0\r\n\r\n", b"5\r\nhello\rX",
     b"5;a\r\nhello\n0\r\n", b"5\r\nhello\r\n0\n", b"0\r\nX\r\n\r\n", b"0\r\nX : y\r\n\r\n", b"0\r\nX: a\x00\r\n\r\n",
     b"0\r\nX: y\nZ: z\r\n\r\n", b"0\r\n\n", b"0\r\nX: y\n\n", b"0\r\n X: y\r\n\r\n",
     b"0\r\nContent-Length: 3\r\n\r\n"],
)  # fmt: skip
def test_framing_that_parsers_read_differently_is_refused(stream: bytes) -> None:
    assert ours(stream) is None
    assert ours(stream, list(range(len(stream)))) is None


def test_bytes_past_the_end_are_refused() -> None:
    assert ours(b"5\r\nhello\r\n0\r\n\r\nx") is None
    chunked, kept = Chunked(), Kept()
    assert chunked.feed(b"0\r\n\r\n", kept)
    with pytest.raises(RankFailedError):
        chunked.feed(b"0\r\n\r\n", kept)


@pytest.mark.parametrize("line", [b"x: y\r\n", b"x: " + b"y" * 300 + b"\r\n"])
def test_endless_trailers_are_refused(line: bytes) -> None:
    assert ours(b"0\r\n" + line * (MAX_TRAILER_BYTES // len(line) + 1)) is None


def test_a_chunk_is_held_until_it_is_whole_unless_it_is_large() -> None:
    chunked, kept = Chunked(), Kept()
    chunked.feed(b"5\r\nhel", kept)
    assert kept.parts == []
    chunked.feed(b"lo\r\n", kept)
    assert (kept.parts, kept.verbatim) == ([b"hello"], b"5\r\nhello\r\n")
    chunked.feed(b"%x\r\nbegin" % (HELD_BYTES + 1), kept)
    assert kept.parts == [b"hello", b"begin"]


def test_many_chunks_at_once_pass_at_once() -> None:
    kept = Kept()
    wire = b"".join(b"%x\r\n%b\r\n" % (size, b"x" * size) for size in (1, 215, 4095, 4096, 70_000))
    chunked = Chunked()
    assert not chunked.feed(wire + b"3\r\nyy", kept)
    assert (kept.verbatim, len(kept.parts)) == (wire, 1)
    assert chunked.feed(b"y\r\n0\r\n\r\n", kept)
    assert kept.payload == b"x" * (1 + 215 + 4095 + 4096 + 70_000) + b"yyy"


@given(st.lists(st.binary(min_size=1, max_size=300), min_size=1, max_size=5), st.binary(max_size=8))
def test_the_payload_of_whole_chunks_is_theirs(parts: list[bytes], more: bytes) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in parts)
    assert payload_of(wire) == b"".join(parts)
    assert whole_bytes(wire) == len(wire) <= whole_bytes(wire + more)
