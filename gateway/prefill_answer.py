"""What a prefill rank answered. Pure.

Nothing in it is believed that was not looked at: a decode rank dies of some of what it may be handed.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Raw

from gateway.errors import RankFailedError
from gateway.usage import Tokens

NULL = b"null"


class _Details(msgspec.Struct):
    cached_tokens: Tokens | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: Tokens | None = None
    prompt_tokens_details: _Details | None = None


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


def read(body: bytes) -> PrefillAnswer:
    """Read the body of a 200. Raises RankFailedError if it is no answer, or its params are no JSON object."""
    try:
        answer = DECODER.decode(body)
        # Whole and strictly, for they become part of a request; msgspec does not look into what it skips.
        params = msgspec.json.decode(answer.kv_transfer_params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise RankFailedError(f"The prefill rank's answer cannot be read: {error}") from error
    if bytes(answer.error) != NULL:
        raise RankFailedError("The prefill rank answered with an error inside a 200")
    if params is not None and not isinstance(params, dict):
        raise RankFailedError("The prefill rank's kv_transfer_params are no object")
    usage = answer.usage or _Usage()
    return PrefillAnswer(
        # A copy: the bytes of a Raw keep the whole answer alive.
        params=answer.kv_transfer_params.copy() if params else None,
        fields=params or {},
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
    )
