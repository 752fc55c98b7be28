"""What a rank may do with a request, down to the bytes and where it breaks off."""

import json
from enum import StrEnum
from itertools import pairwise
from typing import NamedTuple

from hypothesis import strategies as st

JSON = "application/json"
EVENT_STREAM = "text/event-stream"


class Framing(StrEnum):
    SIZED = "sized"
    CHUNKED = "chunked"
    UNTIL_CLOSE = "until close"


class End(StrEnum):
    """What becomes of the connection."""

    KEPT = "kept"
    CLOSED = "closed"
    RESET = "reset"


class Behaviour(NamedTuple):
    """One answer. `parts` are its body (and its chunks); `writes` how its bytes are cut; `sent` how many of them are
    sent at all; `pauses`: a moment passes between the writes.
    """

    head: bytes
    framing: Framing
    parts: tuple[bytes, ...]
    wire: bytes
    writes: tuple[int, ...]
    sent: int
    end: End
    pauses: bool

    @property
    def is_event_stream(self) -> bool:
        return EVENT_STREAM.encode() in self.head

    @property
    def whole_chunks(self) -> bytes:
        """The payload of what is sent but for a chunk that is broken off."""
        if self.framing is not Framing.CHUNKED:
            return self.wire[len(self.head) : self.sent]
        payload, at = b"", len(self.head)
        for part in self.parts:
            at += len(chunk(part))
            if at > self.sent:
                break
            payload += part
        return payload


def chunk(part: bytes) -> bytes:
    return b"%x\r\n%b\r\n" % (len(part), part)


TEXTS = st.text('ab\n\u00e9\u20ac\\"{} ', max_size=12)
TOKENS = TEXTS.map(lambda text: text or "x")
LINE_ENDS = st.sampled_from([b"\n\n", b"\n\n", b"\n\n", b"\r\n\r\n", b"\r\r"])


@st.composite
def event_streams(draw: st.DrawFn) -> bytes:
    """Events of which the first has a token."""
    events = [b'data: {"choices":[{"index":0,"text":%b,"finish_reason":null}]}' % _json(draw(TOKENS))]
    events += [draw(st.sampled_from(_events_with(text))) for text in draw(st.lists(TEXTS, max_size=5))]
    stream = b"".join(event + draw(LINE_ENDS) for event in events)
    return stream + draw(st.sampled_from([b"data: [DONE]\n\n", b"data: [DONE]\n\n", b"", b"data: no end"]))


def _events_with(text: str) -> tuple[bytes, ...]:
    return (
        b'data: {"choices":[{"index":0,"text":%b,"finish_reason":null}]}' % _json(text),
        b": a comment",
        b'event: x\ndata: {"type":"x",\ndata: "text":%b}' % _json(text),
        b"data:",
    )


def _json(text: str) -> bytes:
    return json.dumps(text, ensure_ascii=False).encode()


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    kind = draw(st.sampled_from(["json", "json", "bytes", "empty", "large"]))
    if kind == "json":
        return b'{"choices":[{"index":0,"text":%b,"finish_reason":"stop"}],"usage":null}' % _json(draw(TEXTS))
    if kind == "bytes":
        return draw(st.binary(max_size=60))
    return b"" if kind == "empty" else b"x" * draw(st.integers(60_000, 300_000))


def cuts_of(draw: st.DrawFn, length: int, at_most: int) -> list[int]:
    return sorted({cut for cut in draw(st.lists(st.integers(0, length), max_size=at_most)) if 0 < cut < length})


def cut(whole: bytes, cuts: list[int]) -> tuple[bytes, ...]:
    edges = [0, *cuts, len(whole)]
    return tuple(whole[begin:end] for begin, end in pairwise(edges) if begin < end)


@st.composite
def behaviours(draw: st.DrawFn) -> Behaviour:
    is_event_stream = draw(st.booleans())
    body = draw(event_streams() if is_event_stream else bodies())
    status = draw(st.sampled_from([200, 200, 200, 400, 422, 500, 503]))
    content_type = EVENT_STREAM if is_event_stream else draw(st.sampled_from([JSON, "text/plain; charset=utf-8", ""]))
    if is_event_stream:
        content_type = draw(st.sampled_from([content_type, "text/event-stream; charset=utf-8"]))
    framing = draw(st.sampled_from([Framing.SIZED, Framing.CHUNKED, Framing.CHUNKED, Framing.UNTIL_CLOSE]))
    parts = cut(body, cuts_of(draw, len(body), 4))
    interim = b"".join(draw(st.lists(st.sampled_from([INTERIM, EARLY_HINTS]), max_size=2)))
    lines = [f"HTTP/1.1 {status} {draw(st.sampled_from(['OK', '', 'Some Reason']))}"]
    lines += [f"content-type: {content_type}"] if content_type else []
    lines += [f"Content-Length: {len(body)}"] if framing is Framing.SIZED else []
    lines += ["Transfer-Encoding: chunked"] if framing is Framing.CHUNKED else []
    breaks_off = draw(st.sampled_from([False, False, True]))
    if breaks_off:
        end = draw(st.sampled_from([End.CLOSED, End.RESET]))
    else:
        # A rank that closed without a word would lose the next request on the connection.
        end = End.CLOSED if framing is Framing.UNTIL_CLOSE or draw(st.booleans()) else End.KEPT
        lines += ["Connection: close"] if end is End.CLOSED else []
    head = interim + "\r\n".join([*lines, "", ""]).encode()
    wire = head + (b"".join(map(chunk, parts)) + b"0\r\n\r\n" if framing is Framing.CHUNKED else body)
    sent = draw(st.integers(0, len(wire) - 1)) if breaks_off else len(wire)
    return Behaviour(
        head=head,
        framing=framing,
        parts=parts,
        wire=wire,
        writes=tuple(cuts_of(draw, sent, 5)),
        sent=sent,
        end=end,
        pauses=draw(st.booleans()),
    )


INTERIM = b"HTTP/1.1 100 Continue\r\n\r\n"
EARLY_HINTS = b"HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n"
