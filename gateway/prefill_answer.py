"""What a prefill rank answered. Pure.

Nothing in it is believed that was not looked at: a decode rank dies of some of what it may be handed.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gateway import bounds
from gateway.bounds import Limits
from gateway.errors import RankFailedError
from gateway.usage import Tokens

NULL = b"null"

MAX_PARAMS_BYTES = 1_000_000
"""Block ids are nearly all of it: those of a million tokens are half as much."""

PARAMS_LIMITS = Limits(strings=1 << 12, containers=1 << 10, values=1 << 18)
"""What names and groups of blocks take many times over; what is in these bounds is decoded in milliseconds."""

MAX_PARAMS_DEPTH = 64
"""Params have three levels. vLLM's own reader gives up near a thousand, and the engine must not meet what it left."""


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    """As any of the APIs has it. Responses and Anthropic's Messages call the prompt input; the latter counts what was
    cached apart from it.
    """

    prompt_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None
    input_tokens: Tokens | None = None
    input_tokens_details: _Details | None = None
    cache_read_input_tokens: Tokens | None = None
    cache_creation_input_tokens: Tokens | None = None

    @property
    def tokens(self) -> int | None:
        if self.input_tokens is None:
            return self.prompt_tokens
        return self.input_tokens + (self.cache_read_input_tokens or 0) + (self.cache_creation_input_tokens or 0)

    @property
    def cached_tokens(self) -> int | None:
        details = self.prompt_tokens_details or self.input_tokens_details
        return details.cached_tokens if details else self.cache_read_input_tokens


class _Answer(msgspec.Struct):
    error: Raw = Raw(NULL)
    usage: _Usage | None = None
    kv_transfer_params: Raw = Raw(NULL)


DECODER = msgspec.json.Decoder(_Answer)


class PrefillAnswer(msgspec.Struct, frozen=True):
    """A good answer of a prefill rank.

    `params` are its kv_transfer_params as it wrote them, `fields` the same decoded; None where it offers no KV.
    """

    params: Raw | None
    fields: dict[str, Any]
    prompt_tokens: int | None
    cached_tokens: int | None


def read(body: bytes, *, sent_ids: int = 0) -> PrefillAnswer:
    """Read the body of a 200 to a prompt of at least `sent_ids` token ids.

    Raises RankFailedError if it is no answer, holds too much, or its params are no JSON object.
    """
    if (excess := bounds.excess_of(body, bounds.REQUEST)) is not None:
        raise RankFailedError(f"The prefill rank's answer holds {excess}")
    try:
        answer = DECODER.decode(body)
        # Whole and strictly, for they become part of a request; msgspec does not look into what it skips.
        params = msgspec.json.decode(_bounded(answer.kv_transfer_params))
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RankFailedError(f"The prefill rank's answer cannot be read: {error}") from error
    if bytes(answer.error) != NULL:
        raise RankFailedError("The prefill rank answered with an error inside a 200")
    if params is not None and not isinstance(params, dict):
        raise RankFailedError("The prefill rank's kv_transfer_params are no object")
    usage = answer.usage or _Usage()
    if usage.tokens is not None and usage.tokens < sent_ids:
        raise RankFailedError("The prefill rank counts fewer tokens than the prompt has")
    return PrefillAnswer(
        # A copy: the bytes of a Raw keep the whole answer alive.
        params=answer.kv_transfer_params.copy() if params else None,
        fields=params or {},
        prompt_tokens=usage.tokens,
        cached_tokens=usage.cached_tokens,
    )


def _bounded(params: Raw) -> bytes:
    """The params' bytes. Raises RankFailedError if they hold more than params have any use for."""
    if len(params) > MAX_PARAMS_BYTES:
        raise RankFailedError(f"The prefill rank's kv_transfer_params have more than {MAX_PARAMS_BYTES} bytes")
    raw = bytes(params)
    if (excess := bounds.excess_of(raw, PARAMS_LIMITS)) is not None:
        raise RankFailedError(f"The prefill rank's kv_transfer_params hold {excess}")
    if bounds.depth_of(raw) > MAX_PARAMS_DEPTH:
        raise RankFailedError(f"The prefill rank's kv_transfer_params are nested more than {MAX_PARAMS_DEPTH} deep")
    return raw
