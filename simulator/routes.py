"""Which path does what."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Final
from uuid import uuid4

import msgspec

from simulator import metrics, sim_routes, tokens, validation
from simulator.api_errors import ApiError, bad_request
from simulator.apis import chat, completions, generate, messages, response_routes
from simulator.apis.chat_body import ChatBody
from simulator.apis.completion_body import CompletionBody
from simulator.apis.generate_body import GenerateBody
from simulator.apis.messages_body import MessagesBody
from simulator.exchange import Exchange, Request
from simulator.prompt import chat_prompt, text_prompt
from simulator.rank import VLLM_VERSION, Rank, wall_clock_s
from simulator.serving import Api, serve
from simulator.sim_routes import NOT_FOUND, Route

_encode = msgspec.json.encode
COMPLETIONS: Final = Api(completions.read, CompletionBody)
CHAT: Final = Api(chat.read, ChatBody)
MESSAGES: Final = Api(messages.read, MessagesBody, refusal=messages.refusal)
GENERATE: Final = Api(generate.read, GenerateBody, frees_kv=False)

_WRONG_METHOD: Final = ApiError(405, b'{"detail":"Method Not Allowed"}')


def handle(rank: Rank, request: Request, exchange: Exchange) -> None:
    """Answer one request, now or later."""
    methods = _ROUTES.get(request.path) or _of_a_response(request.path)
    if methods is None:
        exchange.respond(NOT_FOUND.status, NOT_FOUND.body)
        return
    route = methods.get(request.method)
    if route is None:
        exchange.respond(_WRONG_METHOD.status, _WRONG_METHOD.body, allow=", ".join(sorted(methods)))
        return
    try:
        route(rank, request, exchange)
    except ApiError as error:
        exchange.respond(error.status, error.body)


def _of_a_response(path: str) -> Mapping[str, Route] | None:
    found = response_routes.OF_ONE.fullmatch(path)
    if found is None:
        return None
    return {"POST": response_routes.cancel} if found[2] else {"GET": response_routes.get}


def _health(rank: Rank, request: Request, exchange: Exchange) -> None:
    del rank, request
    exchange.respond(200, b"", content_type=None)


def _version(rank: Rank, request: Request, exchange: Exchange) -> None:
    del rank, request
    exchange.respond(200, _encode({"version": VLLM_VERSION}))


def _load(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    exchange.respond(200, _encode({"server_load": rank.in_flight}))


def _metrics(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    exchange.respond(200, metrics.page(rank.registry), content_type=metrics.CONTENT_TYPE)


def _kv_event_sources(rank: Rank, request: Request, exchange: Exchange) -> None:
    del rank, request
    exchange.respond(200, b"{}")


def _is_scaling(rank: Rank, request: Request, exchange: Exchange) -> None:
    del rank, request
    exchange.respond(200, b'{"is_scaling_elastic_ep":false}')


def _models(rank: Rank, request: Request, exchange: Exchange) -> None:
    del request
    now_s = int(wall_clock_s())
    permission = {
        "id": f"modelperm-{uuid4().hex[:16]}",
        "object": "model_permission",
        "created": now_s,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
    card = {
        "id": rank.settings.model,
        "object": "model",
        "created": now_s,
        "owned_by": "vllm",
        "root": rank.settings.model,
        "parent": None,
        "max_model_len": rank.settings.max_model_len,
        "permission": [permission],
    }
    exchange.respond(200, _encode({"object": "list", "data": [card]}))


def _count_tokens(rank: Rank, request: Request, exchange: Exchange) -> None:
    try:
        data = validation.read_json(request.body, request.headers.get("content-type"))
        exchange.respond(200, messages.count(data, rank.settings))
    except ApiError as error:
        raise messages.refusal(error) from None


def _tokenize(rank: Rank, request: Request, exchange: Exchange) -> None:
    data = validation.read_json(request.body, request.headers.get("content-type"))
    validation.check(data, validation.TOKENIZE)
    if data.get("messages") is not None:
        ids = chat_prompt(data["messages"], rank.settings).ids
    else:
        ids = text_prompt(data.get("prompt") or "").ids
    strings = [tokens.decode([token]) for token in ids] if data.get("return_token_strs") else None
    exchange.respond(
        200,
        _encode(
            {"count": len(ids), "max_model_len": rank.settings.max_model_len, "tokens": ids, "token_strs": strings}
        ),
    )


def _detokenize(rank: Rank, request: Request, exchange: Exchange) -> None:
    del rank
    data = validation.read_json(request.body, request.headers.get("content-type"))
    validation.check(data, validation.DETOKENIZE)
    ids = [int(token) for token in data.get("tokens") or ()]
    if (unknown := tokens.first_unknown(ids)) is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    exchange.respond(200, _encode({"prompt": tokens.decode(ids)}))


_ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    "/v1/completions": {"POST": partial(serve, COMPLETIONS)},
    "/v1/chat/completions": {"POST": partial(serve, CHAT)},
    "/v1/responses": {"POST": response_routes.create},
    "/v1/messages": {"POST": partial(serve, MESSAGES)},
    "/v1/messages/count_tokens": {"POST": _count_tokens},
    "/inference/v1/generate": {"POST": partial(serve, GENERATE)},
    "/v1/models": {"GET": _models},
    "/health": {"GET": _health},
    "/ping": {"GET": _health, "POST": _health},
    "/version": {"GET": _version},
    "/load": {"GET": _load},
    "/metrics": {"GET": _metrics},
    "/tokenize": {"POST": _tokenize},
    "/detokenize": {"POST": _detokenize},
    "/kv_event_sources": {"GET": _kv_event_sources},
    "/is_scaling_elastic_ep": {"POST": _is_scaling},
    **sim_routes.ROUTES,
}
