"""What is known at a glance: one chunk that differs from one before it in its text, and in nothing else."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.likeness import Likeness
from gateway.rank_http.chunks import payload_of, whole_bytes
from tests.gateway.scripted_rank import EVENTS, USAGE_EVENT, chunk

FIRST = (
    b'data: {"id":"chatcmpl-1","object":"chat.completion.chunk","created":1,"model":"m","choices":'
    b'[{"index":0,"delta":{"content":"Hel"},"logprobs":null,"finish_reason":null,"token_ids":null}]}\n\n'
)
TEXTS = (b"", b"l", b"lo there", "ü".encode(), b"\\n", b"\\u00e9", b"x" * 3000)
ODD = (b'"', b'\\"', b'","x":"', b"\n\n", b"\r\n", b"}")


def likeness(event: bytes = FIRST) -> Likeness:
    found = Likeness.of(chunk(event))
    assert found is not None
    return found


def saying(text: bytes) -> bytes:
    return FIRST.replace(b"Hel", text)


@pytest.mark.parametrize("text", TEXTS)
def test_another_text_is_alike(text: bytes) -> None:
    assert likeness().fits(chunk(saying(text)))


@pytest.mark.parametrize(
    "event",
    [
        EVENTS[0],
        EVENTS[-1],
        saying(b'x","kv_transfer_params":{"remote_host":"10.0.0.1"},"a":"'),
        saying(b'a \\"quoted\\" word'),
        FIRST.replace(b'"finish_reason":null', b'"finish_reason":"abort"'),
        FIRST.replace(b'"token_ids":null', b'"token_ids":[7]'),
        FIRST.replace(b"chatcmpl-1", b"chatcmpl-2"),
        FIRST + FIRST,
        FIRST[:-1],
        b"",
    ],
)
def test_anything_else_is_not(event: bytes) -> None:
    assert not likeness().fits(chunk(event))


@pytest.mark.parametrize(
    "wire",
    [
        chunk(saying(b"a"))[:-1],
        chunk(saying(b"a"))[1:],
        chunk(saying(b"a")) * 2,
        b"0" + chunk(saying(b"a")),
        b"+" + chunk(saying(b"a")),
        chunk(saying(b"a")).replace(b"\r\n", b";x\r\n", 1),
        chunk(saying(b"a")).replace(b"\r\n", b"\n"),
        b"1" + chunk(saying(b"a"))[1:],
        b"",
    ],
)
def test_bytes_that_are_not_one_regular_chunk_are_not(wire: bytes) -> None:
    assert not likeness().fits(wire)


@pytest.mark.parametrize(
    "event", [USAGE_EVENT, EVENTS[-1], b": keep-alive\n\n", saying(b'a\\"b'), b'data: {"id":"text"}\n\n']
)
def test_an_event_without_a_plain_text_is_like_no_other(event: bytes) -> None:
    assert Likeness.of(chunk(event)) is None


@given(st.data())
def test_what_fits_is_one_chunk_with_the_same_fields(data: st.DataObject) -> None:
    """Bytes put in, taken out or replaced anywhere, with a size that is right or as it was."""
    event = bytearray(saying(data.draw(st.sampled_from(TEXTS[:-1]))))
    for _ in range(data.draw(st.integers(1, 3))):
        at = data.draw(st.integers(0, len(event)))
        put = data.draw(st.one_of(st.binary(max_size=4), st.sampled_from(ODD)))
        event[at : at + data.draw(st.integers(0, 3))] = put
    size = len(event) if data.draw(st.booleans()) else len(FIRST)
    wire = b"%x\r\n%b\r\n" % (size, bytes(event))
    if not likeness().fits(wire):
        return
    assert whole_bytes(wire) == len(wire)
    payload = payload_of(wire)
    at = FIRST.index(b"Hel")
    text_end = len(payload) - (len(FIRST) - at - len(b"Hel"))
    assert (payload[:at], payload[text_end:]) == (FIRST[:at], FIRST[at + len(b"Hel") :])
    assert b'"' not in payload[at:text_end]


@given(st.text().filter(lambda text: '"' not in text))
def test_every_text_without_a_quote_is_alike_as_engines_write_it(text: str) -> None:
    event = json.loads(FIRST[len(b"data: ") :])
    event["choices"][0]["delta"]["content"] = text
    assert likeness().fits(chunk(b"data: %b\n\n" % json.dumps(event, separators=(",", ":")).encode()))
