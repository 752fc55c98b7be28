"""What each leg of a pair is sent: the client's own body, changed as little as the connector's protocol asks. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.wire import LIMITS, SAMPLING, Api, Fields, sampling_of

PARAMS = "kv_transfer_params"

NOT_FOR_PREFILL = frozenset({"stream_options", "min_tokens"})
"""They contradict an answer of one token that is not streamed."""

ONE = Raw(b"1")
OFF = Raw(b"false")


def prefill_body(api: Api, fields: Fields, params: Raw) -> bytes:
    """The prefill leg's: one token, not streamed, stored nowhere, and the connector's `params`."""
    if api is Api.GENERATE:
        asked = _kept(fields) | {SAMPLING: Raw(msgspec.json.encode(_of_one_token(api, sampling_of(fields))))}
    else:
        asked = _of_one_token(api, fields)
    if api is Api.RESPONSES:
        asked["store"] = OFF
    return msgspec.json.encode(asked | {"stream": OFF, PARAMS: params})


def _of_one_token(api: Api, fields: Fields) -> Fields:
    """The first limit is always sent; others, which would win over it, where they stand."""
    always, *others = LIMITS[api]
    return _kept(fields) | {always: ONE} | {name: ONE for name in others if name in fields}


def _kept(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name not in NOT_FOR_PREFILL}


def decode_body(fields: Fields, params: Raw) -> bytes:
    """The decode leg's: what the client sent, and what the prefill rank answered."""
    return msgspec.json.encode(fields | {PARAMS: params})
