"""Whatever is in a body, a rank answers with vLLM's shapes, works no longer on it than it must, and logs nothing."""

import copy
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.simulator.rank_process import RankProcess, Reply, eventually, request, running_rank

MESSAGE = {"role": "user", "content": [{"type": "text", "text": "hi"}], "tool_calls": [{"id": "1"}], "name": "a"}
SAMPLING = {
    "model": "sim", "max_tokens": 3, "n": 1, "stop": ["zz"], "stream": True, "stream_options": {"include_usage": True},
    "temperature": 0, "top_p": 1, "min_tokens": 0, "ignore_eos": True, "stop_token_ids": [5], "request_id": "r",
    "include_stop_str_in_output": False, "return_token_ids": True, "kv_transfer_params": {"remote_block_ids": [[1]]},
}  # fmt: skip
SOUND: dict[str, dict[str, Any]] = {
    "/v1/completions": {**SAMPLING, "prompt": ["hi"], "echo": True, "logprobs": 1},
    "/v1/chat/completions": {
        **SAMPLING,
        "messages": [MESSAGE],
        "max_completion_tokens": 3,
        "logprobs": True,
        "top_logprobs": 2,
        "response_format": {"type": "json_schema", "json_schema": {"name": "a", "schema": {"type": "object"}}},
        "tools": [],
        "tool_choice": "none",
    },
    "/tokenize": {"model": "sim", "prompt": "hi", "messages": [MESSAGE], "return_token_strs": True},
    "/detokenize": {"model": "sim", "tokens": [20]},
    "/sim/fault": {"kind": "clear", "count": 1, "status": 400, "delay_ms": 1.0, "chunks": 1},
}
RAW = {
    "<deep list>": b"[" * 5000 + b"]" * 5000,
    "<deep object>": b'{"a":' * 5000 + b"1" + b"}" * 5000,
    "<less deep list>": b"[" * 500 + b"]" * 500,
    "<10^400>": b"1" + b"0" * 400,
    "<-10^400>": b"-1" + b"0" * 400,
    "<10^5000>": b"1" + b"0" * 5000,
    "<1e400>": b"1e400",
    "<not utf-8>": b'"\xff"',
    "<half a surrogate pair>": b'"\\ud800"',
    "<nul>": b'"\\u0000"',
    "<nothing>": b"",
}
"""What json.dumps cannot write."""

nasty = (
    st.sampled_from([*RAW, None, "", [], {}, [[]], [None], [{}], 0, -1, 2**31, 2**64, 10**15, 1.0, 0.5, 1e300])
    | st.booleans()
    | st.floats()
    | st.recursive(st.none() | st.integers() | st.text(max_size=3), lambda each: st.lists(each, max_size=3))
    | st.sampled_from([[1.0], [True], ["a"], {"type": "text", "text": None}, {"type": "text"}, {"role": "user"}])
)


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "500", "--max-model-len", "512", "--kv-blocks", "64") as process:
        yield process


def places(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place inside a JSON value, as the steps to it."""
    steps = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for step, inner in steps:
        yield (*path, step)
        yield from places(inner, (*path, step))


def put(value: Any, path: tuple[Any, ...], new: Any) -> None:
    """Replaces what is at a place; does nothing where an earlier change took the place away."""
    *way, last = path
    try:
        for step in way:
            value = value[step]
        value[last] = copy.deepcopy(new)
    except (LookupError, TypeError):
        return


@st.composite
def spoilt_bodies(draw: st.DrawFn, sound: dict[str, Any]) -> dict[str, Any]:
    body = copy.deepcopy(sound)
    for _ in range(draw(st.integers(1, 3))):
        put(body, draw(st.sampled_from(list(places(sound)))), draw(nasty))
    for unwanted in draw(st.sets(st.sampled_from(list(sound)), max_size=3)):
        del body[unwanted]
    return body


def written(body: Any) -> bytes:
    text = json.dumps(body).encode()
    for name, raw in RAW.items():
        text = text.replace(b'"%b"' % name.encode(), raw)
    return text


def check(reply: Reply) -> None:
    """A whole answer, or an error in one of the two shapes that vLLM 0.32.0 was seen to use."""
    if reply.status == 200:
        assert reply.events() if reply.chunks else reply.json() is not None
        return
    found = reply.json()
    if set(found) == {"detail"}:
        assert reply.status == 400
        return
    assert set(found) == {"error"}
    assert list(found["error"]) == ["message", "type", "param", "code"]
    assert found["error"]["code"] == reply.status
    assert reply.status in (400, 404)


@pytest.mark.parametrize("path", SOUND)
def test_a_sound_body_is_served(rank: RankProcess, path: str) -> None:
    assert rank.post(path, SOUND[path]).status == 200


@pytest.mark.parametrize("path", SOUND)
@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_spoilt_body_gets_an_answer_or_an_error_as_vllms(rank: RankProcess, path: str, data: st.DataObject) -> None:
    check(rank.post(path, written(data.draw(spoilt_bodies(SOUND[path])))))


@pytest.mark.parametrize(
    ("path", "spoilt", "status", "said"),
    [
        pytest.param(
            "/v1/chat/completions",
            {"messages": [{"role": "user", "content": [{"type": "text", "text": None}]}]},
            400,
            "'type': 'string_type', 'loc': 'body.messages.0.content.0.text'",
            id="a text part whose text is null",
        ),
        pytest.param("/v1/completions", {"logprobs": 1.0}, 200, "", id="a whole number with a point"),
        pytest.param("/v1/completions", {"logprobs": 10**12}, 400, "max allowed: 20", id="logprobs without end"),
        pytest.param("/v1/completions", {"top_p": 10**400}, 400, "float_type", id="too large for a float"),
        pytest.param("/v1/completions", {"stop": ["a", ""]}, 400, "an empty string", id="an empty stop string"),
        pytest.param(
            "/v1/completions", {"prompt": ["a"] * 1000, "n": 1000}, 400, "at most 16384", id="too many choices"
        ),
        pytest.param("/v1/completions", {"request_id": "\ud800"}, 400, "string_unicode", id="half a pair in the id"),
        pytest.param("/v1/completions", {"model": ["<deep list>"]}, 400, "error parsing the body", id="deep nesting"),
        pytest.param("/v1/completions", {"n": "<10^5000>"}, 400, "error parsing the body", id="a very long number"),
        pytest.param("/detokenize", {"tokens": [20.0]}, 200, "", id="a token id with a point"),
    ],
)
def test_what_used_to_break_a_rank(rank: RankProcess, path: str, spoilt: Any, status: int, said: str) -> None:
    reply = rank.post(path, written({**SOUND[path], **spoilt}))
    check(reply)
    assert (reply.status, said in reply.body.decode()) == (status, True)


def test_a_request_for_very_many_choices_leaves_the_rank_responsive(rank: RankProcess) -> None:
    asked = {"prompt": "x", "n": 16_384, "max_tokens": 1}
    assert len(rank.post("/v1/completions", asked).json()["choices"]) == 16_384
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", {**asked, "max_tokens": 400, "stream": True}))
        assert client.recv(1)
    eventually(lambda: rank.state()["in_engine"] == 0)
