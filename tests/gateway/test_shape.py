"""How long a request is believed to be."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from gateway import prompt, wire
from gateway.routes import ROUTES
from gateway.shape import MAX_TOKENS, shape_of
from gateway.wire import Api
from scheduler.decision import RequestShape
from scheduler.estimates import FIRST_OUTPUT_TOKENS, TokenEstimator

ROUTE_OF = {route.api: route for route in ROUTES}
FIRST = round(FIRST_OUTPUT_TOKENS)
CHAT = {"messages": [{"role": "user", "content": "x" * 400}]}


def shape(api: Api, **body: Any) -> RequestShape:
    """Of a body, with nothing learned yet: 4 bytes a token."""
    read = wire.read(msgspec.json.encode(body), api)
    asked = prompt.read(api, read.fields)
    assert asked is not None
    return shape_of(ROUTE_OF[api], read, asked, TokenEstimator())


@pytest.mark.parametrize(
    ("api", "body", "prompt_tokens", "output_tokens"),
    [
        pytest.param(Api.COMPLETIONS, {"prompt": "x" * 400}, 100, 16, id="a completion without a limit"),
        pytest.param(Api.COMPLETIONS, {"prompt": "x" * 400, "max_tokens": 7}, 100, 7, id="a limit"),
        pytest.param(Api.COMPLETIONS, {"prompt": "x" * 400, "max_tokens": 9_999}, 100, FIRST, id="a limit never met"),
        pytest.param(Api.COMPLETIONS, {"prompt": [1, 2, 3]}, 3, 16, id="ids are counted"),
        pytest.param(Api.COMPLETIONS, {"prompt": ["x" * 40] * 3}, 30, 48, id="an answer for each prompt"),
        pytest.param(Api.COMPLETIONS, {"prompt": ["x" * 40] * 3, "n": 2}, 30, 96, id="n answers for each prompt"),
        pytest.param(Api.CHAT, CHAT, 100, FIRST, id="a chat without a limit"),
        pytest.param(Api.CHAT, CHAT | {"n": 3, "max_tokens": 5}, 100, 15, id="n answers of a chat"),
        pytest.param(Api.CHAT, CHAT | {"n": 1 << 40}, 100, MAX_TOKENS, id="more answers than there can be"),
        pytest.param(Api.CHAT, CHAT | {"max_tokens": -4}, 100, 0, id="a limit below nothing"),
    ],
)
def test_a_requests_tokens(api: Api, body: dict[str, Any], prompt_tokens: int, output_tokens: int) -> None:
    found = shape(api, **body)
    assert (found.prompt_tokens, found.output_tokens) == (prompt_tokens, output_tokens)


@pytest.mark.parametrize(
    ("api", "body", "least_tokens"),
    [
        pytest.param(Api.COMPLETIONS, {"prompt": [7] * 300}, 301, id="ids and one token"),
        pytest.param(Api.COMPLETIONS, {"prompt": [7] * 300, "max_tokens": 50}, 350, id="ids and the answer's limit"),
        pytest.param(Api.COMPLETIONS, {"prompt": "x" * 400, "max_tokens": 50}, 130, id="four fifths of a text"),
        pytest.param(Api.COMPLETIONS, {"prompt": [[7] * 100, [7] * 301]}, 201, id="no less than the mean of prompts"),
        pytest.param(Api.CHAT, CHAT | {"max_completion_tokens": 50}, 130, id="a chat"),
        pytest.param(Api.CHAT, CHAT | {"max_tokens": -4}, 81, id="a limit below nothing"),
        pytest.param(Api.CHAT, CHAT | {"max_tokens": 1 << 40}, MAX_TOKENS, id="a limit above all"),
        pytest.param(Api.CHAT, CHAT | {"truncate_prompt_tokens": 9}, 0, id="a prompt that is cut"),
        pytest.param(Api.RESPONSES, {"input": "x" * 400, "truncation": "auto"}, 0, id="a response that is cut"),
        pytest.param(Api.GENERATE, {"token_ids": [7] * 300, "sampling_params": {"max_tokens": 50}}, 350, id="generate"),
    ],
)
def test_what_a_request_surely_needs_of_a_context(api: Api, body: dict[str, Any], least_tokens: int) -> None:
    assert shape(api, **body).least_tokens == least_tokens
