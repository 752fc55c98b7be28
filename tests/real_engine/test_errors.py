"""A request that the engine refuses is refused through a gateway in the engine's own words."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import httpx
import pytest

from gateway.settings import GatewaySettings
from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, asked
from tests.real_engine.conftest import Told
from tests.real_engine.engine import ANSWER_S, CONTEXT_TOKENS, Engine
from tests.real_engine.stack import Stack

LONG = "hello world " * CONTEXT_TOKENS
MODEL = "plain"
DEPTH = 2000
SHOWN = 240
"""Characters of an answer in the report."""

TOOL = {"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}

COMPLETION_ERRORS: dict[str, dict[str, Any]] = {
    "model of another type": {"model": 5},
    "empty prompt": {"prompt": ""},
    "prompt too long": {"prompt": LONG},
    "ids too long": {"prompt": [5] * (CONTEXT_TOKENS + 1)},
    "id out of the vocabulary": {"prompt": [999_999]},
    "max_tokens 0": {"max_tokens": 0},
    "max_tokens -1": {"max_tokens": -1},
    "max_tokens too large": {"max_tokens": 5000},
    "negative temperature": {"temperature": -1},
    "temperature of another type": {"temperature": "hot"},
    "top_p 2": {"top_p": 2},
    "n 0": {"n": 0},
    "greedy n 2": {"n": 2},
    "min_tokens above max_tokens": {"min_tokens": 17},
    "stream_options without stream": {"stream_options": {"include_usage": True}},
    "no prompt": {"prompt": None},
    "prompt of another type": {"prompt": 5},
    "prompts of several types": {"prompt": ["x", 5]},
    "max_tokens of another type": {"max_tokens": "many"},
    "stream of another type": {"stream": "perhaps"},
    "stream_options of another type": {"stream": True, "stream_options": []},
    "n of another type": {"n": {}},
}

CHAT_ERRORS: dict[str, dict[str, Any]] = {
    "empty messages": {"messages": []},
    "no messages": {"messages": None},
    "messages of another type": {"messages": "x"},
    "message without role": {"messages": [{"content": "x"}]},
    "content of another type": {"messages": [{"role": "user", "content": 5}]},
    "max_completion_tokens of another type": {"max_completion_tokens": [1]},
    "prompt too long, streamed": {"messages": [{"role": "user", "content": LONG}], "stream": True},
    "max_tokens too large": {"max_tokens": 5000},
    "image": {
        "messages": [
            {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "http://127.0.0.1:1/x.png"}}]}
        ]
    },
    "tools without a parser": {"tools": [TOOL], "tool_choice": "auto"},
    "unknown response_format": {"response_format": {"type": "bogus"}},
    "schema that is none": {
        "response_format": {"type": "json_schema", "json_schema": {"name": "x", "schema": {"type": "nope"}}}
    },
}

CASES = [
    pytest.param(path, asked(path, MODEL, "x") | change, id=f"{path.split('/')[2]}: {name}")
    for path, changes in ((COMPLETIONS, COMPLETION_ERRORS), (CHAT, CHAT_ERRORS))
    for name, change in changes.items()
]

UNDECODABLE = {
    one["name"]: one["body"].encode("latin-1")
    for one in json.loads((Path(__file__).parents[1] / "data/vllm/undecodable.json").read_bytes())
} | {
    "nested without end": b"[" * 100_000,
    "nested deeply": b'{"model":"plain","prompt":"x","x":' + b"[" * DEPTH + b"]" * DEPTH + b"}",
}

NOT_PASSED_ON = {
    "NaN": b'{"model":"plain","prompt":"x","temperature":NaN}',
    "half a surrogate pair": b'{"model":"plain","prompt":"\\ud800"}',
    "UTF-16": '{"model":"plain","prompt":"x"}'.encode("utf-16"),
    "a byte order mark": b'\xef\xbb\xbf{"model":"plain","prompt":"x"}',
    "too many values": b'{"model":"plain","prompt":[' + b"5," * (1 << 20) + b"5]}",
    "too large": b'{"model":"plain","prompt":"' + b"x " * (GatewaySettings(redis="-").max_body_bytes // 2) + b'"}',
}
"""What is JSON to Python and not to every parser, and what would keep a gateway busy: it refuses these itself."""


@pytest.mark.parametrize(("path", "body"), CASES)
def test_an_error_is_the_engines_own_byte_for_byte(
    stack: Stack, plain: Engine, told: Told, path: str, body: dict[str, Any]
) -> None:
    own = plain.post(path, body)
    assert own.is_client_error
    told(_shown(own))
    for gateway in stack.gateways:
        answer = stack.post(gateway, path, body)
        assert (answer.status_code, answer.content) == (own.status_code, own.content)
        assert answer.headers["content-type"] == own.headers["content-type"]


def _shown(answer: httpx.Response) -> str:
    return f"{answer.status_code} `{answer.text if len(answer.text) < SHOWN else answer.text[:SHOWN] + '…'}`"


def _post(url: str, content: bytes, content_type: str) -> httpx.Response:
    headers = {"content-type": content_type} if content_type else {}
    return httpx.post(url, content=content, headers=headers, timeout=ANSWER_S, trust_env=False)


@pytest.mark.parametrize("path", PATHS)
def test_a_body_that_is_no_json_object_is_refused_in_the_engines_words(
    stack: Stack, plain: Engine, told: Told, path: str
) -> None:
    for name, body in UNDECODABLE.items():
        own = _post(plain.url + path, body, "application/json")
        assert own.status_code == 400, name
        for gateway in stack.gateways:
            answer = _post(gateway + path, body, "application/json")
            assert (answer.status_code, answer.content) == (own.status_code, own.content), name
            assert answer.headers["content-type"] == own.headers["content-type"]
    told(f"{len(UNDECODABLE)} bodies, byte for byte: {', '.join(UNDECODABLE)}")


@pytest.mark.parametrize("name", NOT_PASSED_ON)
def test_a_body_that_is_not_passed_on_is_refused_in_a_gateways_own_words(
    stack: Stack, plain: Engine, told: Told, name: str
) -> None:
    own = _post(plain.url + COMPLETIONS, NOT_PASSED_ON[name], "application/json")
    told(f"engine: {_shown(own)}")
    for gateway in stack.gateways:
        answer = _post(gateway + COMPLETIONS, NOT_PASSED_ON[name], "application/json")
        assert answer.is_client_error
        assert answer.json()["error"]["code"] == answer.status_code
    told(f"gateway: {_shown(answer)}")
    assert plain.is_healthy()


@pytest.mark.parametrize("content_type", ["text/plain", ""])
def test_a_body_that_is_not_called_json_is_refused_in_the_engines_words(
    stack: Stack, plain: Engine, content_type: str
) -> None:
    own = _post(plain.url + COMPLETIONS, b"{}", content_type)
    for gateway in stack.gateways:
        answer = _post(gateway + COMPLETIONS, b"{}", content_type)
        assert (answer.status_code, answer.content) == (own.status_code, own.content)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
def test_an_unknown_model_is_refused_with_the_engines_status_and_type(
    stack: Stack, plain: Engine, told: Told, path: str, *, streamed: bool
) -> None:
    body = asked(path, "nope", "x", stream=streamed)
    own = plain.post(path, body)
    told(f"engine: {_shown(own)}")
    for gateway in stack.gateways:
        answer = stack.post(gateway, path, body)
        assert answer.status_code == own.status_code == 404
        mine, engines = answer.json()["error"], own.json()["error"]
        assert {**mine, "message": ""} == {**engines, "message": ""}
    told(f"gateway: {_shown(answer)}")
