"""A request that the engine refuses is refused through a gateway in the engine's own words."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.real_engine.asking import CHAT, COMPLETIONS, asked
from tests.real_engine.conftest import Told
from tests.real_engine.engine import ANSWER_S, CONTEXT_TOKENS, Engine
from tests.real_engine.stack import Stack

LONG = "hello world " * CONTEXT_TOKENS
MODEL = "plain"
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
}

CHAT_ERRORS: dict[str, dict[str, Any]] = {
    "empty messages": {"messages": []},
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

READ_BY_GATEWAYS: dict[str, dict[str, Any]] = {
    "no prompt": {"prompt": None},
    "prompt of another type": {"prompt": 5},
    "mixed prompts": {"prompt": ["a", 1]},
    "max_tokens of another type": {"max_tokens": "many"},
    "n of another type": {"n": {}},
    "stream of another type": {"stream": "perhaps"},
    "stream_options of another type": {"stream": True, "stream_options": [1]},
}
"""Fields that a gateway needs itself: it passes such a request on without having understood it."""

READ_BY_GATEWAYS_IN_CHATS: dict[str, dict[str, Any]] = {
    "no messages": {"messages": None},
    "messages of another type": {"messages": "x"},
    "message without role": {"messages": [{"content": "x"}]},
    "content of another type": {"messages": [{"role": "user", "content": 5}]},
}


def _cases(completions: dict[str, dict[str, Any]], chats: dict[str, dict[str, Any]]) -> list[Any]:
    return [
        pytest.param(path, asked(path, MODEL, "x") | change, id=f"{path.split('/')[2]}: {name}")
        for path, changes in ((COMPLETIONS, completions), (CHAT, chats))
        for name, change in changes.items()
    ]


CASES = _cases(COMPLETION_ERRORS | READ_BY_GATEWAYS, CHAT_ERRORS | READ_BY_GATEWAYS_IN_CHATS)

UNREADABLE = {
    "not closed": b'{"model": "plain", "prompt": "x"',
    "no JSON": b"{not json}",
    "nothing": b"",
    "null": b"null",
    "a list": b"[]",
    "a text": b'"plain"',
    "no comma": '{"prompt": "é" "model": "plain"}'.encode(),
    "nested without end": b"[" * 100_000,
    "no UTF-8": b'{"model":"plain","prompt":"\xff\xfe"}',
}


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


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
@pytest.mark.parametrize("name", UNREADABLE)
def test_a_body_that_cannot_be_read_is_refused_in_the_engines_words(
    stack: Stack, plain: Engine, told: Told, name: str, path: str
) -> None:
    own = _post(plain.url + path, UNREADABLE[name], "application/json")
    assert own.is_client_error
    told(_shown(own))
    for gateway in stack.gateways:
        answer = _post(gateway + path, UNREADABLE[name], "application/json")
        assert (answer.status_code, answer.content) == (own.status_code, own.content)
        assert answer.headers["content-type"] == own.headers["content-type"]


@pytest.mark.parametrize("content_type", ["text/plain", ""])
def test_a_body_that_is_not_called_json_is_refused_in_the_engines_words(
    stack: Stack, plain: Engine, content_type: str
) -> None:
    own = _post(plain.url + COMPLETIONS, b"{}", content_type)
    for gateway in stack.gateways:
        answer = _post(gateway + COMPLETIONS, b"{}", content_type)
        assert (answer.status_code, answer.content) == (own.status_code, own.content)


@pytest.mark.parametrize("path", [CHAT, COMPLETIONS])
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
