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
    read = wire.read(msgspec.json.encode(body))
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
