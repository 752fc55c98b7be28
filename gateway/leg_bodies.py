"""What each leg of a pair is sent: the client's own body, changed as little as the connector's protocol asks. Pure."""

from __future__ import annotations

import msgspec
from msgspec import Raw

from gateway.wire import LIMITS, SAMPLING, Api, Fields, sampling_of

PARAMS = "kv_transfer_params"

NOT_FOR_PREFILL = frozenset({"stream_options", "min_tokens"})
"""They contradict an answer of one token that is not streamed."""

HAVE_MIN_TOKENS = frozenset({Api.CHAT, Api.COMPLETIONS, Api.GENERATE})

ONE = Raw(b"1")
OFF = Raw(b"false")


def prefill_body(api: Api, fields: Fields, params: Raw | None, *, min_tokens: int = 0) -> bytes:
    """The prefill leg's: one token, not streamed, stored nowhere, and the connector's `params`.

    `min_tokens` is for APIs that have such a field; 0 is not sent.
    """
    least = {"min_tokens": Raw(b"%d" % min_tokens)} if min_tokens and api in HAVE_MIN_TOKENS else {}
    if api is Api.GENERATE:
        sampling = _of_one_token(api, sampling_of(fields)) | least
        asked = _kept(fields) | {SAMPLING: Raw(msgspec.json.encode(sampling))}
    else:
        asked = _of_one_token(api, fields) | least
    if api is Api.RESPONSES:
        asked["store"] = OFF
    return msgspec.json.encode(asked | {"stream": OFF} | _params(params))


def _of_one_token(api: Api, fields: Fields) -> Fields:
    """The first limit is always sent; others, which would win over it, where they stand."""
    always, *others = LIMITS[api]
    return _kept(fields) | {always: ONE} | {name: ONE for name in others if name in fields}


def _params(params: Raw | None) -> Fields:
    return {} if params is None else {PARAMS: params}


def _kept(fields: Fields) -> Fields:
    return {name: value for name, value in fields.items() if name not in NOT_FOR_PREFILL}


def decode_body(fields: Fields, params: Raw | None) -> bytes:
    """The decode leg's: what the client sent, and what the prefill rank answered, if that is needed."""
    return msgspec.json.encode(fields | _params(params))


def freeing_body(params: Raw, attempt_id: str) -> bytes:
    """The body of a completions request to a decode rank that makes it free KV it was offered, and does nothing else.

    vLLM tells the prefill rank to free its blocks when it refuses a request that offers them. The model is one that
    nobody serves; where vLLM does not look at names the temperature is refused.
    """
    refused = {"model": f"forebay-frees-{attempt_id}", "max_tokens": 1, "temperature": -1, "prompt": "-"}
    return msgspec.json.encode({**refused, PARAMS: params})
