"""How long a request's prompt and answers are believed to be. Pure."""

from __future__ import annotations

from gateway.pairable import is_pairable
from gateway.prompt import Prompt
from gateway.routes import Route
from gateway.wire import Api, Body
from scheduler.decision import RequestShape
from scheduler.estimates import TokenEstimator

COMPLETION_TOKENS = 16
"""What vLLM generates on /v1/completions when no limit is given."""
MAX_TOKENS = 1 << 24
"""No context is longer; what a client asks for beyond it says nothing about load."""

SURELY = 0.8
"""Of what a text is believed to have in tokens: what is said of the mean of many holds for one of them so far."""

CUTS_PROMPT = ("truncate_prompt_tokens", "truncation")
"""Fields that have the engine cut a prompt to what there is room for."""

NO_LOAD = RequestShape(prompt_tokens=1, output_tokens=0, prompt_key="")
"""Of a request that costs an engine nothing to speak of, or cannot be read: its rank will say what is wrong with it."""

AUDIO_BYTES_PER_TOKEN = 320
"""Speech models have 50 frames a second, and common recordings 16,000 bytes."""

SPOKEN_BYTES_PER_TOKEN = 850
"""On a WebSocket they come as 16,000 samples of two bytes a second, in Base64."""

UNDECLARED_BYTES = 480_000
"""Half a minute: what such a model takes at once, and the guess for a recording of unknown length."""


def answers_of(body: Body, asked: Prompt | None) -> int:
    """How many answers a request gets: `n` for each of its prompts, of which there is one where they are not read."""
    return max(1, body.n) * (asked.count if asked is not None else 1)


def shape_of_audio(declared_bytes: int | None, learned_as: str, estimator: TokenEstimator) -> RequestShape:
    """A recording's tokens, from the length of the body it stands in."""
    prompt_tokens = (UNDECLARED_BYTES if declared_bytes is None else declared_bytes) // AUDIO_BYTES_PER_TOKEN
    return RequestShape(
        prompt_tokens=max(1, prompt_tokens), output_tokens=estimator.output_tokens(learned_as, None), prompt_key=""
    )


def shape_of_texts(asked: Prompt, estimator: TokenEstimator) -> RequestShape:
    """The tokens of texts that are read and not answered."""
    return RequestShape(prompt_tokens=_prompt_tokens(asked, estimator), output_tokens=0, prompt_key=asked.key)


def shape_of(route: Route, body: Body, asked: Prompt, estimator: TokenEstimator) -> RequestShape:
    """A request's tokens: ids are counted, text is estimated, and each answer's length is its limit or what such
    answers have been.
    """
    limit = COMPLETION_TOKENS if body.max_tokens is None and route.api is Api.COMPLETIONS else body.max_tokens
    output_tokens = estimator.output_tokens(route.learned_as, limit) * answers_of(body, asked)
    prompt_tokens = _prompt_tokens(asked, estimator)
    return RequestShape(
        prompt_tokens=prompt_tokens,
        output_tokens=max(0, min(output_tokens, MAX_TOKENS)),
        prompt_key=asked.key,
        blocks=asked.blocks,
        block_tokens=prompt_tokens * asked.block_share,
        pairable=route.api is not None and is_pairable(route.api, body, asked),
        least_tokens=_least_tokens(body, asked, estimator) if route.api is not None else 0,
    )


def _least_tokens(body: Body, asked: Prompt, estimator: TokenEstimator) -> int:
    """What the longest prompt and its answer surely need of a context; vLLM refuses a limit that has no room in it."""
    if any(name in body.fields for name in CUTS_PROMPT):
        return 0
    texts = SURELY * estimator.prompt_tokens(asked.text_bytes) if asked.text_bytes else 0
    prompt = int((asked.token_ids + texts) / max(1, asked.count))
    return min(prompt + max(1, body.max_tokens or 0), MAX_TOKENS)


def _prompt_tokens(asked: Prompt, estimator: TokenEstimator) -> int:
    estimated = estimator.prompt_tokens(asked.text_bytes) if asked.text_bytes else 0
    return min(asked.token_ids + estimated, MAX_TOKENS)
