"""What of the events of /v1/messages and /v1/responses is looked at, and when such a stream has begun and ended."""

import json
from typing import Any

import pytest

from gateway.dialects.apis import CHOICES, dialect_of
from gateway.dialects.dialect import Opening
from gateway.edits import Edits, as_it_came, edited
from gateway.errors import RankFailedError, RecomputedError
from gateway.event_stream import EventStream, Turns
from gateway.opening import opening_of
from gateway.usage import Usage
from gateway.usage_reader import UsageReader
from gateway.wire import Api
from tests.gateway.scripted_apis import APIS, MESSAGES, RESPONSES, Spoken, event
from tests.gateway.test_usage import body_of

NAMED = {MESSAGES: dialect_of(Api.MESSAGES), RESPONSES: dialect_of(Api.RESPONSES)}
named_apis = pytest.mark.parametrize("api", [api for api in APIS if api.path in NAMED], ids=lambda api: api.name)


def events_of(stream: bytes) -> list[bytes]:
    return [part + b"\n\n" for part in stream.split(b"\n\n") if part]


@named_apis
def test_a_stream_begins_with_its_first_block_and_ends_with_its_last_event(api: Spoken) -> None:
    turns: list[str] = []
    told = Turns(lambda: turns.append("first token"), lambda: turns.append("done"))
    stream = EventStream(as_it_came(NAMED[api.path]), told, UsageReader())
    seen = []
    for part in events_of(api.stream):
        assert stream.feed(part) == part
        seen.append(list(turns))
    silent = len(events_of(api.silent))
    assert seen[silent - 1] == []
    assert seen[silent] == ["first token"] == seen[-2]
    assert seen[-1] == ["first token", "done"]


@named_apis
def test_what_has_only_tokens_passes_unread(api: Spoken) -> None:
    stream = EventStream(as_it_came(NAMED[api.path]), Turns(lambda: None, lambda: None), UsageReader())
    stream.feed(api.silent)
    first, *others = events_of(api.tokens)
    assert not stream.passes(first)
    stream.feed(first)
    assert all(map(stream.passes, others))
    assert not any(map(stream.passes, events_of(api.end)))
    assert stream.last == others[-1]


@named_apis
def test_a_text_about_an_end_is_none(api: Spoken) -> None:
    text = "event: message_stop\ndata: {}\n\nevent: response.completed\ndata: {}\n\n"
    assert not NAMED[api.path].ends(event("content_block_delta", delta={"text": text}))


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (event("ping"), Opening.SILENT), (event("message_start", message={}), Opening.SILENT),
        (event("content_block_start", index=0), Opening.GOOD), (event("message_delta", delta={}), Opening.GOOD),
        (event("error", error={"type": "x"}), Opening.ERROR), (b'data: {"error":{"code":500}}\n\n', Opening.ERROR),
    ],
)  # fmt: skip
def test_a_message_has_begun_with_its_first_block(events: bytes, expected: Opening) -> None:
    assert opening_of(events, NAMED[MESSAGES]) is expected


@pytest.mark.parametrize(
    ("events", "expected"),
    [
        (event("response.created", response={}), Opening.SILENT), (event("response.queued"), Opening.SILENT),
        (event("response.in_progress"), Opening.SILENT), (event("response.output_item.added"), Opening.GOOD),
        (event("response.completed"), Opening.GOOD), (event("response.failed"), Opening.ERROR),
        (event("error", code="x", message="x"), Opening.ERROR), (b'data: {"error":{"code":500}}\n\n', Opening.ERROR),
    ],
)  # fmt: skip
def test_a_response_has_begun_with_its_first_item(events: bytes, expected: Opening) -> None:
    assert opening_of(events, NAMED[RESPONSES]) is expected


def test_the_usage_of_captured_answers_is_read() -> None:
    assert NAMED[RESPONSES].usage(body_of("responses")) == Usage(22, 8)
    assert NAMED[MESSAGES].usage(body_of("anthropic_messages")) == Usage(22, 8)
    for dialect in (CHOICES, *NAMED.values()):
        assert dialect.usage(b'{"usage":{"input_tokens":-1,"prompt_tokens":-1}}') is None
        assert dialect.usage(b'{"usage":null}') is None
        assert dialect.usage(b"[") is None


@named_apis
def test_an_answer_as_it_came_is_not_written_anew(api: Spoken) -> None:
    body = json.dumps(api.whole, indent=1).encode()
    assert edited(body, as_it_came(NAMED[api.path]), streamed=False) == body
    assert edited(b'{"type":"error","error":{}}', Edits(dialect=NAMED[api.path], cached_tokens=1), streamed=False)


def test_where_a_rank_does_not_tell_what_was_cached_nobody_does() -> None:
    for dialect, body in (
        (NAMED[MESSAGES], b'{"type":"message","stop_reason":"end_turn","usage":{"input_tokens":5,"output_tokens":1}}'),
        (NAMED[RESPONSES], b'{"status":"completed","usage":{"input_tokens":5,"output_tokens":1}}'),
    ):
        assert edited(body, Edits(cached_tokens=3, dialect=dialect), streamed=False) == body


def test_no_message_has_more_cached_tokens_than_tokens() -> None:
    usage = {"input_tokens": 1, "cache_read_input_tokens": 4, "cache_creation_input_tokens": 2, "output_tokens": 1}
    body = json.dumps({"type": "message", "stop_reason": "end_turn", "usage": usage}).encode()
    shown = json.loads(edited(body, Edits(cached_tokens=9, dialect=NAMED[MESSAGES]), streamed=False))["usage"]
    assert shown == usage | {"input_tokens": 0, "cache_read_input_tokens": 5}


@pytest.mark.parametrize(
    ("path", "document"),
    [
        (MESSAGES, {"type": "message", "usage": {}}),
        (MESSAGES, {"type": "message", "usage": {}, "stop_reason": None}),
        (RESPONSES, {"status": "cancelled", "usage": {"input_tokens": 5, "output_tokens": 3}}),
        (RESPONSES, {"status": "completed", "usage": {"input_tokens": 5, "output_tokens": 0}}),
    ],
)
def test_an_answer_that_was_aborted_is_none(path: str, document: dict[str, Any]) -> None:
    with pytest.raises(RankFailedError, match="aborted"):
        edited(json.dumps(document).encode(), as_it_came(NAMED[path]), streamed=False)


@pytest.mark.parametrize("status", ["queued", "in_progress", "incomplete", "failed"])
def test_a_response_of_any_other_status_is_one(status: str) -> None:
    body = json.dumps({"status": status, "usage": {"input_tokens": 5, "output_tokens": 0}}).encode()
    assert edited(body, Edits(dialect=NAMED[RESPONSES]), streamed=False) == body


def test_a_message_that_ends_at_recomputed_was_given_up_unless_that_is_the_clients_own_word() -> None:
    stop = {"stop_reason": "stop_sequence", "stop_sequence": "recomputed"}
    data = json.dumps({"type": "message_delta", "delta": stop, "usage": {"output_tokens": 1}}).encode()
    with pytest.raises(RecomputedError):
        edited(data, Edits(dialect=NAMED[MESSAGES]), streamed=True)
    assert edited(data, as_it_came(NAMED[MESSAGES]), streamed=True) == data
