"""How long a request's prompt and answers are believed to be. Pure."""

from __future__ import annotations

from gateway.pairable import is_pairable
from gateway.prompt import Prompt
from gateway.wire import Api, Body
from scheduler.decision import RequestShape
from scheduler.estimates import TokenEstimator

COMPLETION_TOKENS = 16
"""What vLLM generates on /v1/completions when no limit is given."""
MAX_TOKENS = 1 << 24
"""No context is longer; what a client asks for beyond it says nothing about load."""

UNREAD = RequestShape(prompt_tokens=1, output_tokens=0, prompt_key="")
"""Of a request that the gateway cannot read: its rank will say what is wrong with it."""


def answers_of(body: Body, asked: Prompt) -> int:
    """How many answers a request gets: `n` for each of its prompts."""
    return max(1, body.n) * asked.count


def shape_of(api: Api, body: Body, asked: Prompt, estimator: TokenEstimator) -> RequestShape:
    """A request's tokens: ids are counted, text is estimated, and each answer's length is its limit or what such
    answers have been.
    """
    prompt_tokens = asked.token_ids + (estimator.prompt_tokens(asked.text_bytes) if asked.text_bytes else 0)
    limit = COMPLETION_TOKENS if body.max_tokens is None and api is Api.COMPLETIONS else body.max_tokens
    output_tokens = estimator.output_tokens(api, limit) * answers_of(body, asked)
    return RequestShape(
        prompt_tokens=min(prompt_tokens, MAX_TOKENS),
        output_tokens=max(0, min(output_tokens, MAX_TOKENS)),
        prompt_key=asked.key,
        pairable=is_pairable(api, body, asked),
    )
