"""Which path does what."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final
from uuid import uuid4

import msgspec

from simulator import admin, metrics, sim_routes
from simulator.api_errors import ApiError
from simulator.apis import rendering, response_routes, table, tokenizing
from simulator.exchange import Exchange, Request
from simulator.rank import VLLM_VERSION, Rank, wall_clock_s
from simulator.sim_routes import NOT_FOUND, Route

_encode = msgspec.json.encode

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
    base = rank.settings.model
    cards = [_card(rank, base, base, None), *(_card(rank, name, path, base) for name, path in rank.adapters.items())]
    exchange.respond(200, _encode({"object": "list", "data": cards}))


def _card(rank: Rank, name: str, root: str, parent: str | None) -> dict[str, Any]:
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
    return {
        "id": name,
        "object": "model",
        "created": now_s,
        "owned_by": "vllm",
        "root": root,
        "parent": parent,
        "max_model_len": None if parent else rank.settings.max_model_len,
        "permission": [permission],
    }


_ROUTES: Final[Mapping[str, Mapping[str, Route]]] = {
    **table.ROUTES,
    **rendering.ROUTES,
    **admin.ROUTES,
    "/v1/messages/count_tokens": {"POST": tokenizing.count_tokens},
    "/tokenize": {"POST": tokenizing.tokenize},
    "/detokenize": {"POST": tokenizing.detokenize},
    "/tokenizer_info": {"GET": tokenizing.tokenizer_info},
    "/v1/models": {"GET": _models},
    "/health": {"GET": _health},
    "/ping": {"GET": _health, "POST": _health},
    "/version": {"GET": _version},
    "/load": {"GET": _load},
    "/metrics": {"GET": _metrics},
    "/kv_event_sources": {"GET": _kv_event_sources},
    "/is_scaling_elastic_ep": {"POST": _is_scaling},
    **sim_routes.ROUTES,
}
