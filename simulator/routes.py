"""Which path does what."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, Final
from uuid import uuid4

import msgspec

from simulator import generation, leg_audit, metrics, sim_routes, tokens, validation
from simulator.api_errors import ApiError, SchemaError, api_error, bad_request
from simulator.exchange import Exchange, Request
from simulator.generation import Generation
from simulator.prompt import chat_prompt, text_prompt
from simulator.rank import VLLM_VERSION, Rank, wall_clock_s
from simulator.settings import RankSettings
from simulator.sim_routes import NOT_FOUND, Route
from simulator.transfer_params import remote_kv

_encode = msgspec.json.encode
Reader = Callable[[Mapping[str, Any], RankSettings], Generation]

_WRONG_METHOD: Final = ApiError(405, b'{"detail":"Method Not Allowed"}')


def handle(rank: Rank, request: Request, exchange: Exchange) -> None:
    """Answer one request, now or later."""
    methods = _ROUTES.get(request.path)
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


def _generate(reader: Reader) -> Route:
    def route(rank: Rank, request: Request, exchange: Exchange) -> None:
        if rank.faults.take("hang"):
            return
        if fault := rank.faults.take("error"):
            raise api_error(fault.status, "a simulated fault", "InternalServerError")
        admit = partial(_admit, reader)
        if fault := rank.faults.take("slow_first_byte"):
            _later(fault.delay_ms, admit, rank, request, exchange)
        else:
            admit(rank, request, exchange)

    return route


def _admit(reader: Reader, rank: Rank, request: Request, exchange: Exchange) -> None:
    data = validation.read_json(request.body, request.headers.get("content-type"))
    base_id = str(request.headers.get("x-request-id") or data.get("request_id") or uuid4().hex[:16])
    try:
        wanted = reader(data, rank.settings)
        rank.generate(wanted, exchange, request.headers, base_id)
    except SchemaError:
        raise
    except ApiError:
        if rank.settings.moves_kv and (remote := remote_kv(data)) is not None:
            rank.free_remote_kv(remote)
        raise
    if rank.misuse.strict:
        for kind, detail in leg_audit.judged(data, wanted, rank.settings):
            rank.misuse.note(kind, base_id, detail)


def _later(delay_ms: float, route: Route, rank: Rank, request: Request, exchange: Exchange) -> None:
    def run() -> None:
        if not exchange.closed:
            try:
                route(rank, request, exchange)
            except ApiError as error:
                exchange.respond(error.status, error.body)

    asyncio.get_running_loop().call_later(delay_ms / 1000, run)


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
    "/v1/completions": {"POST": _generate(generation.completion)},
    "/v1/chat/completions": {"POST": _generate(generation.chat)},
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
