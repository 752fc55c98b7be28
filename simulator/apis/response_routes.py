"""The routes of /v1/responses: making a response, and those about one that is kept."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from typing import Any, Final
from urllib.parse import parse_qs, unquote

import msgspec

from simulator.api_errors import api_error
from simulator.apis import responses
from simulator.apis.background import Background
from simulator.apis.responses_body import ResponsesBody
from simulator.exchange import Exchange, Request
from simulator.generation import Generation
from simulator.rank import Rank
from simulator.serving import Api, Outlet, new_name, serve

OF_ONE: Final = re.compile(r"/v1/responses/([^/]+)(/cancel)?")
_ENDED: Final = ("completed", "incomplete", "failed", "cancelled")


def create(rank: Rank, request: Request, exchange: Exchange) -> None:
    """Make a response; raises ApiError."""
    kept = rank.kept_responses

    def outlet(generation: Generation, name: str) -> Outlet:
        """One in the background is answered as soon as it is admitted, with what there is of it."""
        if not generation.repeats["background"]:
            return Outlet(exchange)
        background = Background(request)
        kept.run(name, background)

        def tell() -> None:
            if generation.stream:
                background.follow(exchange, 0)
            else:
                exchange.respond(200, msgspec.json.encode(kept.get(name)))

        return Outlet(background.exchange, tell)

    api = Api(
        read=partial(responses.read, kept.said),
        write=partial(ResponsesBody, kept.keep),
        name=_name,
        outlet=outlet,
    )
    serve(api, rank, request, exchange)


def get(rank: Rank, request: Request, exchange: Exchange) -> None:
    """A response as it is, or what a stream in the background has said; raises ApiError."""
    name = _id_of(request)
    response = rank.kept_responses.get(name)
    query = parse_qs(request.query)
    if query.get("stream", ["false"])[-1].lower() not in ("true", "1"):
        exchange.respond(200, msgspec.json.encode(response))
        return
    background = rank.kept_responses.background_of(name)
    if background is None or not background.has_stream:  # vLLM finds that out behind the head of its answer
        exchange.start_stream()
        exchange.drop()
        return
    after = query.get("starting_after", ["-1"])[-1]
    background.follow(exchange, int(after) + 1 if after.lstrip("-").isdigit() else 0)


def cancel(rank: Rank, request: Request, exchange: Exchange) -> None:
    """End a response in the background; raises ApiError."""
    name = _id_of(request)
    if rank.kept_responses.get(name)["status"] in _ENDED:
        raise api_error(400, "Cannot cancel a synchronous response.", "invalid_request_error", "response_id")
    exchange.respond(200, msgspec.json.encode(rank.kept_responses.cancel(name)))


def _name(headers: Mapping[str, str], body: Mapping[str, Any]) -> str:
    """The id that the body asks for, or a new one; the header is not looked at."""
    del headers
    named = body.get("request_id")
    return named if isinstance(named, str) and named else f"resp_{new_name()}"


def _id_of(request: Request) -> str:
    found = OF_ONE.fullmatch(request.path)
    assert found is not None, "the route matched"
    return unquote(found[1])
