"""The table from our errors to the answers clients get."""

import json

from gateway import errors
from gateway.error_shapes import ErrorShape, body_of, event_of, shape_at
from gateway.errors import KINDS, GatewayError, NoRankError, UnauthorizedError, UnparsableBodyError


def test_every_error_has_an_answer() -> None:
    assert set(KINDS) == set(GatewayError.__subclasses__())
    assert all(400 <= kind.status < 600 and kind.type for kind in KINDS.values())


def test_an_error_is_written_as_openai_and_vllm_write_it() -> None:
    error = NoRankError("no rank is up", param="model")
    expected = {"message": "no rank is up", "type": "Service Unavailable", "param": "model", "code": 503}
    assert json.loads(errors.body_of(error)) == {"error": expected}
    assert event_of(error, ErrorShape.OPENAI) == b"data: " + errors.body_of(error) + b"\n\n"


def test_the_error_that_vllm_leaves_to_its_framework_has_that_ones_shape() -> None:
    assert errors.body_of(UnparsableBodyError("none")) == b'{"detail":"none"}'


def test_when_to_come_back_is_told_in_whole_seconds_and_never_at_once() -> None:
    def told(retry_after_ms: int) -> bytes | None:
        return dict(errors.headers_of(NoRankError("", retry_after_ms=retry_after_ms))).get(b"retry-after")

    assert [told(0), told(1), told(1000), told(1001)] == [b"1", b"1", b"1", b"2"]
    assert b"retry-after" not in dict(errors.headers_of(NoRankError("")))


def test_who_has_no_key_is_told_which_kind_to_bring() -> None:
    assert dict(errors.headers_of(UnauthorizedError("")))[b"www-authenticate"] == b"Bearer"


def test_anthropic_clients_get_errors_as_anthropic_writes_them() -> None:
    error = NoRankError("no rank is up", param="model")
    told = {"type": "error", "error": {"type": "Service Unavailable", "message": "no rank is up"}}
    assert json.loads(body_of(error, ErrorShape.ANTHROPIC)) == told
    name, data, _, _ = event_of(error, ErrorShape.ANTHROPIC).split(b"\n")
    assert (name, json.loads(data.removeprefix(b"data: "))) == (b"event: error", told)


def test_in_a_stream_of_responses_an_error_has_the_next_number() -> None:
    last_events = b'data: {"sequence_number":9}\n\ndata: {"sequence_number": 10,"delta":"x"}\n\n'
    event = event_of(NoRankError("no rank is up"), ErrorShape.RESPONSES, last_events)
    name, data, _, _ = event.split(b"\n")
    told = {"type": "error", "code": "503", "message": "no rank is up", "param": None, "sequence_number": 11}
    assert (name, json.loads(data.removeprefix(b"data: "))) == (b"event: error", told)
    assert b'"sequence_number":0' in event_of(NoRankError(""), ErrorShape.RESPONSES)


def test_the_shape_of_an_error_is_that_of_its_path() -> None:
    shapes = {
        "/v1/messages": ErrorShape.ANTHROPIC, "/v1/messages/count_tokens": ErrorShape.ANTHROPIC,
        "/v1/responses": ErrorShape.RESPONSES, "/v1/responses/resp_1": ErrorShape.RESPONSES,
        "/v1/messagesx": ErrorShape.OPENAI, "/inference/v1/generate": ErrorShape.OPENAI,
    }  # fmt: skip
    assert {path: shape_at(path) for path in shapes} == shapes
