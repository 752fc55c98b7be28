"""What of a decode rank's answer a client is shown otherwise than it came, whole or in events however they are cut."""

import json
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.dialects.apis import CHOICES
from gateway.edits import Edits, edited, stops_at_recomputed
from gateway.errors import RankFailedError, RecomputedError
from gateway.event_editor import EventEditor
from gateway.wire import read

PLAIN = b'data: {"choices":[{"index":0,"text":"say \\"recomputed\\" and \\"kv_transfer_params\\": {}"}]}\n\n'
SHOWN = b'data: {"usage": {"prompt_tokens_details": {"cached_tokens": 9}}, "kv_transfer_params": {"a": 1}}\n\n'
LIMIT = b'data: {"choices":[{"text":"","finish_reason":"length","stop_reason":"recomputed"}]}\n\n'
WORDS = b'data: {"choices":[{"text":"x","finish_reason":"stop","stop_reason":"recomputed"}]}\n\n'
IDS = b'data: {"choices":[{"text":"","token_ids":[7],"finish_reason":"stop","stop_reason":"recomputed"}]}\n\n'
CHAT = b'data: {"choices":[{"delta":{"content":"x"},"finish_reason":"stop","stop_reason":"recomputed"}]}\n\n'
ODD = (
    b"data: [DONE]\n\n",
    b': "cached_tokens"\n\n',
    b'event: x\ndata: {"cached_tokens"\n\n',
    b'data: "recomputed"\r\n\r\n',
)
GIVEN_UP = (
    b'data: {"choices":[{"text":"","finish_reason":"stop","stop_reason":"recomputed","token_ids":[]}]}\n\n',
    b'data: {"choices":[{"delta":{"content":""},"finish_reason":"stop","stop_reason":"recomputed"}]}\n\n',
    b'data: {"choices":[{"delta":{},"finish_reason":"stop","stop_reason":"recomputed"}]}\n\n',
)
EDITS = Edits(cached_tokens=4)


def cut(stream: bytes, at: list[int]) -> list[bytes]:
    places = sorted({place % (len(stream) + 1) for place in at} | {0, len(stream)})
    return [stream[start:end] for start, end in pairwise(places)]


def run(editor: EventEditor, parts: list[bytes]) -> bytes:
    passed = [editor.feed(part) for part in parts]
    return b"".join(passed) + editor.finish()


@settings(deadline=None)
@given(
    st.lists(st.sampled_from([PLAIN, SHOWN, LIMIT, WORDS, IDS, CHAT, *ODD]), max_size=8),
    st.lists(st.integers(0, 2000), max_size=12),
)
def test_a_stream_is_edited_alike_however_it_is_cut(events: list[bytes], at: list[int]) -> None:
    stream = b"".join(events)
    passed = run(EventEditor(EDITS), cut(stream, at))
    assert passed == run(EventEditor(EDITS), [stream])
    shown = b'data: {"usage":{"prompt_tokens_details":{"cached_tokens":4}},"kv_transfer_params":null}\n\n'
    assert passed == stream.replace(SHOWN, shown)


@pytest.mark.parametrize("event", GIVEN_UP)
@settings(deadline=None)
@given(st.lists(st.integers(0, 2000), max_size=6))
def test_what_comes_before_a_recomputed_event_is_passed_on_and_nothing_after(event: bytes, at: list[int]) -> None:
    editor = EventEditor(EDITS)
    passed = b""
    for part in cut(PLAIN + SHOWN[:5] + SHOWN[5:] + event + PLAIN, at):
        passed += editor.feed(part)
        if editor.error is not None:
            break
    assert isinstance(editor.error, RecomputedError)
    assert passed.startswith(PLAIN)
    assert passed.count(b"data: ") == 2


def test_an_event_without_end_is_a_failure_of_the_rank() -> None:
    editor = EventEditor(EDITS)
    for _ in range(CHOICES.max_event_bytes // 1_000_000 + 1):
        editor.feed(b"x" * 1_000_000)
    assert isinstance(editor.error, RankFailedError)


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize(
    "body",
    [
        b'{"choices":[' + b"{}," * 1_000_000 + b'{}],"x":"recomputed"}',
        b'{"usage":{' + b",".join(b'"%x":0' % key for key in range(600_000)) + b'},"cached_tokens":1}',
        b'{"kv_transfer_params":{"x":[' + b"1," * 1_100_000 + b"1]}}",
    ],
)
def test_what_holds_too_much_to_be_decoded_is_a_failure_of_the_rank(body: bytes, streamed: bool) -> None:
    with pytest.raises(RankFailedError, match="holds more than"):
        edited(body, EDITS, streamed=streamed)


PARAMS = b'{"remote_host":"10.0.0.1"}'
LEAKS = {
    "plain": b'{"a":1,"kv_transfer_params":' + PARAMS + b"}",
    "of an encoder": b'{"a":1,"ec_transfer_params":' + PARAMS + b"}",
    "escaped": b'{"a":1,"kv_transfer\\u005Fparams":' + PARAMS + b"}",
    "twice": b'{"a":1,"kv_transfer_params":' + PARAMS + b',"kv_transfer_params":null}',
    "in a choice": b'{"choices":[{"text":"x","kv_transfer_params":' + PARAMS + b"}]}",
    "deep": b'{"a":' * 100 + b'{"kv_transfer_params":' + PARAMS + b"}" + b"}" * 100,
    "in a list": b'[{"kv_transfer_params":' + PARAMS + b"}]",
    "with a large number": b'{"a":1234567890123456789012345,"kv_transfer_params":' + PARAMS + b"}",
}
UNREADABLE = {
    "not a number": b'{"logprob":NaN,"kv_transfer_params":' + PARAMS + b"}",
    "not a number, escaped": b'{"logprob":NaN,"kv\\u005ftransfer_params":' + PARAMS + b"}",
    "cut off": b'{"kv_transfer_params":' + PARAMS,
    "invalid UTF-8": b'{"x":"\xff","kv_transfer_params":' + PARAMS + b"}",
    "too deep": b"[" * 20_000 + b'{"kv_transfer_params":' + PARAMS,
}


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", LEAKS)
def test_params_never_reach_a_client(name: str, streamed: bool) -> None:
    shown = edited(LEAKS[name], EDITS, streamed=streamed)
    assert b"10.0.0.1" not in shown
    assert str(json.loads(shown)).replace("ec_", "kv_").count("'kv_transfer_params': None") == 1


@pytest.mark.parametrize("streamed", [False, True])
@pytest.mark.parametrize("name", UNREADABLE)
def test_what_may_hold_params_and_cannot_be_decoded_is_a_failure_of_the_rank(name: str, streamed: bool) -> None:
    with pytest.raises(RankFailedError, match="cannot be decoded"):
        edited(UNREADABLE[name], EDITS, streamed=streamed)


@pytest.mark.parametrize("end", [b"\n", b"\r\n", b"\r"])
@settings(deadline=None)
@given(at=st.lists(st.integers(0, 200), max_size=6))
def test_params_of_an_event_over_many_lines_never_reach_a_client(end: bytes, at: list[int]) -> None:
    lines = [b'data: {"a":1,', b"id: 7", b'data: "kv_transfer_params"', b"data:: " + PARAMS, b"data: }", b"", b""]
    passed = run(EventEditor(EDITS), cut(PLAIN + end.join(lines), at))
    assert passed == PLAIN + end.join([b'data: {"a":1,"kv_transfer_params":null}', b"id: 7", b"", b""])


@pytest.mark.parametrize("before", [b"", b": x\n", b"id: 7\n"])
@pytest.mark.parametrize("line", [b"\xef\xbb\xbfdata: ", b": ", b"event: "])
def test_params_beside_the_data_of_an_event_are_a_failure_of_the_rank(before: bytes, line: bytes) -> None:
    editor = EventEditor(EDITS)
    assert b"10.0.0.1" not in editor.feed(PLAIN + before + line + LEAKS["plain"] + b"\n\n")
    assert isinstance(editor.error, RankFailedError)


@pytest.mark.parametrize("text", ["kv_transfer_params", '"kv_transfer_params": {}', "\\u005f"])
def test_a_text_about_params_stays_as_it_is(text: str) -> None:
    body = json.dumps({"choices": [{"text": text}], "kv_transfer_params": None}).encode()
    assert json.loads(edited(body, EDITS, streamed=True)) == json.loads(body)


@pytest.mark.parametrize(
    ("given_body", "expected"),
    [
        ({"usage": {"prompt_tokens_details": None}, "kv_transfer_params": None}, None),
        ({"usage": None, "cached_tokens": 3}, None),
        ({"usage": {"prompt_tokens_details": {"multimodal_tokens": 1}}, "x": "cached_tokens"}, None),
        (
            {"usage": {"prompt_tokens_details": {"cached_tokens": None, "created_cache_tokens": 0}}},
            {"usage": {"prompt_tokens_details": {"cached_tokens": 4, "created_cache_tokens": 0}}},
        ),
        ({"kv_transfer_params": "text"}, {"kv_transfer_params": None}),
        ({"kv_transfer_params": {}}, {"kv_transfer_params": None}),
        (
            {"kv_transfer_params": {"a": 1}, "choices": [{"stop_reason": 1.5}]},
            {"kv_transfer_params": None, "choices": [{"stop_reason": 1.5}]},
        ),
    ],
)
def test_a_body_is_changed_where_it_must_be_and_else_not_at_all(given_body: Any, expected: Any) -> None:
    body = json.dumps(given_body).encode()
    changed = edited(body, EDITS, streamed=False)
    assert changed == body if expected is None else json.loads(changed) == expected


def test_where_there_was_no_prefill_rank_the_cached_tokens_are_the_ranks_own() -> None:
    body = b'{"usage":{"prompt_tokens_details":{"cached_tokens":9}}}'
    assert edited(body, Edits(), streamed=False) == body


@pytest.mark.parametrize(
    "body", [b'{"cached_tokens"', b'["cached_tokens"]', b'\xff"cached_tokens"', b"[" * 100_000 + b'"cached_tokens"']
)
def test_what_is_no_object_stays_as_it_is(body: bytes) -> None:
    assert edited(body, EDITS, streamed=False) == body


@pytest.mark.parametrize(
    ("stop", "expected"),
    [
        ('"recomputed"', True), ('["a","recomputed"]', True), ('["a"]', False), ("null", False), ("5", False),
        ('"\\u0072ecomputed"', True), ('"recomputed "', False),
    ],
)  # fmt: skip
def test_a_stop_string_of_the_clients_own_is_known(stop: str, expected: bool) -> None:
    assert stops_at_recomputed(read(b'{"stop":' + stop.encode() + b"}").fields) is expected
