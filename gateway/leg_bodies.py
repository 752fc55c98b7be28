"""What each leg of a pair is sent: the client's own body, changed as little as the connector's protocol asks. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Raw

from gateway.wire import Api, Fields

PARAMS = "kv_transfer_params"

NOT_FOR_PREFILL = frozenset({"stream_options", "min_tokens"})
"""They contradict an answer of one token that is not streamed."""

ONE = Raw(b"1")
LIMITS: Mapping[Api, tuple[str, ...]] = MappingProxyType(
    {Api.CHAT: ("max_tokens", "max_completion_tokens"), Api.COMPLETIONS: ("max_tokens",)}
)
"""The fields that limit an answer. The first is always sent; the others, which would win over it, where they stand."""


def prefill_body(api: Api, fields: Fields, params: Raw) -> bytes:
    """The prefill leg's: one token, not streamed, and the connector's `params`."""
    always, *others = LIMITS[api]
    kept = {name: value for name, value in fields.items() if name not in NOT_FOR_PREFILL}
    limits = {always: ONE} | {name: ONE for name in others if name in fields}
    return msgspec.json.encode(kept | limits | {"stream": Raw(b"false"), PARAMS: params})


def decode_body(fields: Fields, params: Raw) -> bytes:
    """The decode leg's: what the client sent, and what the prefill rank answered."""
    return msgspec.json.encode(fields | {PARAMS: params})
