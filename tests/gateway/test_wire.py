"""Reading a body without a server."""

import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import json
from pydantic import TypeAdapter, ValidationError

from gateway import wire
from gateway.errors import InvalidRequestError, UnparsableBodyError

REFUSED = (InvalidRequestError, UnparsableBodyError)

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)
NAMES = st.sampled_from(["kv_transfer_params", "ec_transfer_params", "vllm_xargs", "user", "kv_transfer_param", ""])


def spelled(name: str, escaped: bool) -> str:
    """A JSON string of a name, every character escaped if asked."""
    return '"' + ("".join(f"\\u{ord(char):04x}" for char in name) if escaped else name) + '"'


@given(st.lists(st.tuples(NAMES, st.booleans(), JSON), max_size=6))
def test_what_is_forwarded_is_what_was_sent_without_what_is_forbidden(pairs: list[tuple[str, bool, object]]) -> None:
    fields = [f"{spelled(name, escaped)}: {json.encode(value).decode()}" for name, escaped, value in pairs]
    raw = ("{" + ", ".join(fields) + "}").encode()
    expected = {name: value for name, _, value in pairs if name not in wire.FORBIDDEN}
    arguments = expected.get("vllm_xargs")
    if isinstance(arguments, dict):
        expected["vllm_xargs"] = {key: value for key, value in arguments.items() if key not in wire.FORBIDDEN}
    forward = wire.read(raw).forward
    assert json.decode(forward) == expected
    if json.decode(raw) == expected:
        rewritten = (*wire.FORBIDDEN, wire.EXTRA_ARGUMENTS)
        assert forward == raw or any(name in rewritten for name, _, _ in pairs)


def test_of_two_extra_arguments_only_the_one_that_was_looked_into_passes() -> None:
    forward = wire.read(
        b'{"vllm_xargs":{"kv_transfer_params":{"do_remote_prefill":true}},"vllm_xargs":{"a":1}}'
    ).forward
    assert forward == b'{"vllm_xargs":{"a":1}}'


def test_the_values_of_a_body_written_anew_are_byte_for_byte_those_sent() -> None:
    raw = b'{"kv_transfer_params":1, "a" : [1.50, 1e2,\t"\\u00e9"], "b":{"n":1,"n":2}}'
    assert wire.read(raw).forward == b'{"a":[1.50, 1e2,\t"\\u00e9"],"b":{"n":1,"n":2}}'


def test_max_completion_tokens_wins() -> None:
    assert wire.read(b'{"max_tokens":5,"max_completion_tokens":7}').max_tokens == 7
    assert wire.read(b'{"max_tokens":5,"max_completion_tokens":null}').max_tokens == 5
    assert wire.read(b"{}").max_tokens is None


def test_a_client_asks_for_the_usage_of_a_stream_or_does_not() -> None:
    assert wire.read(b'{"stream":true,"stream_options":{"include_usage":true}}').asks_usage
    for options in (b"null", b"{}", b'{"include_usage":false}', b'{"continuous_usage_stats":true}'):
        assert not wire.read(b'{"stream":true,"stream_options":%b}' % options).asks_usage


def test_a_field_that_cannot_be_read_counts_as_not_given() -> None:
    whole = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 5, "n": 2}
    assert wire.read(json.encode(whole)).readable
    for name, bad in (("stream", "maybe"), ("stream_options", ["x"]), ("max_tokens", "many"), ("n", {})):
        found = wire.read(json.encode(whole | {name: bad}))
        without = wire.read(json.encode({key: value for key, value in whole.items() if key != name}))
        assert not found.readable
        assert found.streamed == without.streamed
        assert (found.max_tokens, found.n) == (without.max_tokens, without.n)


@pytest.mark.parametrize("true", [b"true", b"1", b"1.0", b'"1"', b'"True"', b'"yes"', b'"Y"', b'"on"', b'"t"'])
def test_what_the_engine_takes_for_true_is_true(true: bytes) -> None:
    found = wire.read(b'{"stream":%b,"stream_options":{"include_usage":%b}}' % (true, true))
    assert (found.streamed, found.asks_usage, found.readable) == (True, True, True)


@pytest.mark.parametrize("false", [b"false", b"0", b"-0.0", b'"0"', b'"FALSE"', b'"no"', b'"n"', b'"Off"', b'"f"'])
def test_what_the_engine_takes_for_false_is_false(false: bytes) -> None:
    found = wire.read(b'{"stream":%b,"stream_options":{"include_usage":%b}}' % (false, false))
    assert (found.streamed, found.asks_usage, found.readable) == (False, False, True)


@pytest.mark.parametrize("odd", [b'"null"', b"2", b"1e400", b'" yes"', b'""', b"[]", b"{}", b"[" * 900 + b"]" * 900])
def test_what_the_engine_refuses_is_not_read_as_a_boolean(odd: bytes) -> None:
    assert not wire.read(b'{"stream":%b}' % odd).readable
    for options in (odd, b'{"include_usage":%b}' % odd, b'{"continuous_usage_stats":%b}' % odd):
        if options != b"{}":
            found = wire.read(b'{"stream":true,"stream_options":%b}' % options)
            assert (found.asks_usage, found.readable) == (True, False)


NUMBERS = ("5", "5.0", "5.5", "1e2", "-3", "1e400", "123456789012345678901234567890")
TEXTS = ("5", " 5 ", "+5", "05", "1_000", "1__0", "_1", "5.0", "5.00", "5.5", "", "null", "1e2", "9" * 5_000)
INTEGERS = (*NUMBERS, "true", "null", "[]", "{}", *(f'"{text}"' for text in TEXTS))


@pytest.mark.parametrize("raw", INTEGERS)
def test_an_integer_is_what_the_engine_takes_for_one(raw: str) -> None:
    try:
        expected = TypeAdapter(int | None).validate_json(raw)
        is_one = True
    except ValidationError:
        expected, is_one = None, False
    found = wire.read(b'{"max_tokens":%b}' % raw.encode())
    assert (found.max_tokens, found.readable) == (expected, is_one)


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_limit_that_does_not_count_must_be_readable_too(name: str) -> None:
    assert not wire.read(json.encode({"max_tokens": 5, "max_completion_tokens": 5} | {name: "many"})).readable


@given(st.binary(max_size=60))
def test_any_bytes_are_read_or_refused(raw: bytes) -> None:
    with contextlib.suppress(*REFUSED):
        assert raw == wire.read(raw).forward


@pytest.mark.parametrize("depth", [10, 900, 1000, 1100, 50_000])
def test_any_depth_is_read_or_refused(depth: int) -> None:
    for raw in (
        b'{"a":' + b"[" * depth + b"]" * depth + b"}",
        b'{"vllm_xargs":{"a":' + b"[" * depth + b"]" * depth + b"}}",
    ):
        with contextlib.suppress(*REFUSED):
            assert raw == wire.read(raw).forward
