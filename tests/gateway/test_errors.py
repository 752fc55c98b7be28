"""The table from our errors to the answers clients get."""

import json

from gateway import errors
from gateway.errors import KINDS, GatewayError, NoRankError, UnauthorizedError, UnparsableBodyError


def test_every_error_has_an_answer() -> None:
    assert set(KINDS) == set(GatewayError.__subclasses__())
    assert all(400 <= kind.status < 600 and kind.type for kind in KINDS.values())


def test_an_error_is_written_as_openai_and_vllm_write_it() -> None:
    error = NoRankError("no rank is up", param="model")
    expected = {"message": "no rank is up", "type": "Service Unavailable", "param": "model", "code": 503}
    assert json.loads(errors.body_of(error)) == {"error": expected}
    assert errors.event_of(error) == b"data: " + errors.body_of(error) + b"\n\n"


def test_the_error_that_vllm_leaves_to_its_framework_has_that_ones_shape() -> None:
    assert errors.body_of(UnparsableBodyError("none")) == b'{"detail":"none"}'


def test_when_to_come_back_is_told_in_whole_seconds_and_never_at_once() -> None:
    def told(retry_after_ms: int) -> bytes | None:
        return dict(errors.headers_of(NoRankError("", retry_after_ms=retry_after_ms))).get(b"retry-after")

    assert [told(0), told(1), told(1000), told(1001)] == [b"1", b"1", b"1", b"2"]
    assert b"retry-after" not in dict(errors.headers_of(NoRankError("")))


def test_who_has_no_key_is_told_which_kind_to_bring() -> None:
    assert dict(errors.headers_of(UnauthorizedError("")))[b"www-authenticate"] == b"Bearer"
