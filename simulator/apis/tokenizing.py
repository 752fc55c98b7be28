"""The routes that only tokenize: nothing of them reaches an engine."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from simulator import tokens, validation
from simulator.api_errors import ApiError, bad_request, problem, schema_error
from simulator.apis import messages
from simulator.exchange import Exchange, Request
from simulator.prompt import chat_prompt, text_prompt
from simulator.rank import Rank

_encode = msgspec.json.encode

_INFO: Final = {
    "tokenizer_class": "SimulatedTokenizer",
    "backend": "simulated",
    "eos_token": tokens.SPECIALS[tokens.END],
    "added_tokens_decoder": {str(at): name for at, name in enumerate(tokens.SPECIALS)},
}


def tokenize(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/tokenize: a text's or a conversation's ids; raises ApiError."""
    data = _read(request)
    validation.check(data, validation.TOKENIZE)
    if data.get("messages") is not None:
        ids = chat_prompt(data["messages"], rank.settings).ids
    else:
        ids = text_prompt(data.get("prompt") or "").ids
    strings = [tokens.decode([token]) for token in ids] if data.get("return_token_strs") else None
    found = {"count": len(ids), "max_model_len": rank.settings.max_model_len, "tokens": ids, "token_strs": strings}
    exchange.respond(200, _encode(found))


def detokenize(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/detokenize: the text of ids; raises ApiError."""
    del rank
    data = _read(request)
    if "tokens" not in data:
        raise schema_error([problem("missing", "body.tokens", "Field required", data)])
    validation.check(data, validation.DETOKENIZE)
    ids = [int(token) for token in data["tokens"] or ()]
    if (unknown := tokens.first_unknown(ids)) is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    exchange.respond(200, _encode({"prompt": tokens.decode(ids)}))


def tokenizer_info(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/tokenizer_info: what there is to say of the tokenizer."""
    del request
    exchange.respond(200, _encode({**_INFO, "model_max_length": rank.settings.max_model_len}))


def count_tokens(rank: Rank, request: Request, exchange: Exchange) -> None:
    """/v1/messages/count_tokens: how long a prompt of Anthropic's API is; raises ApiError."""
    try:
        exchange.respond(200, messages.count(_read(request), rank.settings))
    except ApiError as error:
        raise messages.refusal(error) from None


def _read(request: Request) -> dict[str, Any]:
    return validation.read_json(request.body, request.headers.get("content-type"))
