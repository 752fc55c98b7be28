"""The way of every request that an engine works on, whatever its API: read, judged, admitted, answered."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, NamedTuple
from uuid import uuid4

from simulator import joint_params, leg_audit, store_audit, validation
from simulator.api_errors import ApiError, SchemaError, api_error
from simulator.exchange import Exchange, Request
from simulator.generation import Generation
from simulator.layer_params import layer_leg
from simulator.leg_params import remote_kv
from simulator.rank import Rank, Writer
from simulator.settings import RankSettings
from simulator.transfer_params import RemoteKv

Body = Mapping[str, Any]


def json_of(request: Request) -> dict[str, Any]:
    """A request's JSON object; raises ApiError."""
    return validation.read_json(request.body, request.headers.get("content-type"))


def new_name() -> str:
    """What nobody else is called."""
    return uuid4().hex[:16]


def _name(headers: Mapping[str, str], body: Body) -> str:
    named = body.get("request_id")
    own = named if isinstance(named, str) and named.isprintable() else ""
    return headers.get("x-request-id") or own or new_name()


def _nothing() -> None:
    """Nobody has to be told."""


def _as_it_is(error: ApiError) -> ApiError:
    return error


class Outlet(NamedTuple):
    """Where an answer goes, and what is done once its request is admitted."""

    exchange: Exchange
    admitted: Callable[[], None] = _nothing


class Api(NamedTuple):
    """What is particular to one API. All of it may raise ApiError, and `refusal` gives these the API's shape.

    `receive` reads a request's body, `read` what it asks for, `write` makes the answer, `name` is what is the request's
    own in its ids. `outlet` is where the answer to a request of that name goes, if not to who asked. `frees_kv`: of
    what it refuses, the KV that is offered is freed. `has_min_tokens`: it knows a least number of output tokens.
    """

    read: Callable[[Body, RankSettings], Generation]
    write: Writer
    outlet: Callable[[Generation, str], Outlet] | None = None
    receive: Callable[[Request], Body] = json_of
    name: Callable[[Mapping[str, str], Body], str] = _name
    refusal: Callable[[ApiError], ApiError] = _as_it_is
    frees_kv: bool = True
    has_min_tokens: bool = False


def serve(api: Api, rank: Rank, request: Request, exchange: Exchange) -> None:
    """Answer a request now or later, or misbehave as a test wants it. Raises ApiError."""
    if rank.faults.take("hang"):
        return
    if fault := rank.faults.take("error"):
        _refuse_layers(rank, request)
        raise api.refusal(api_error(fault.status, "a simulated fault", "InternalServerError"))
    if fault := rank.faults.take("slow_first_byte"):
        _later(fault.delay_ms, partial(_admit, api, rank, request, exchange), exchange)
    else:
        _admit(api, rank, request, exchange)


def _admit(api: Api, rank: Rank, request: Request, exchange: Exchange) -> None:
    try:
        body = api.receive(request)
        name = api.name(request.headers, body)
        generation = _admitted(api, rank, body, name, request, exchange)
    except ApiError as error:
        raise api.refusal(error) from None
    if rank.misuse.strict:
        found = leg_audit.judged(body, generation, rank.settings, has_min_tokens=api.has_min_tokens)
        of_store = store_audit.judged(body, generation, rank.settings, rank.shared, name) if rank.shared else ()
        joint = rank.joint_audit.judged(body, name) if rank.settings.is_joint else ()
        for kind, detail in (*found, *of_store, *joint):
            rank.misuse.note(kind, name, detail)


def _admitted(api: Api, rank: Rank, body: Body, name: str, request: Request, exchange: Exchange) -> Generation:
    try:
        generation = api.read(_of_the_base(body, rank), rank.settings)
        outlet = api.outlet(generation, name) if api.outlet else Outlet(exchange)
        rank.generate(generation, _named(api.write, body, rank), name, outlet.exchange, request.headers)
        outlet.admitted()
    except SchemaError:
        raise
    except ApiError:
        if api.frees_kv and rank.settings.moves_kv and (remote := _offered(body, rank)) is not None:
            rank.free_remote_kv(remote)
        _refuse_layers(rank, request)
        raise
    return generation


def _refuse_layers(rank: Rank, request: Request) -> None:
    if rank.settings.pushes_layers and (leg := layer_leg(json_of(request))) and leg.target:
        rank.runners[0].layers.refused(leg.target)


def _offered(body: Body, rank: Rank) -> RemoteKv | None:
    """The KV that a refused request was to have from another rank."""
    if not rank.settings.is_joint:
        return remote_kv(rank.settings, body)
    return None if rank.settings.connector == "sglang" else joint_params.legs(body, rank.settings).get("pull")


def _of_the_base(body: Body, rank: Rank) -> Body:
    """The body as it is for the model that an adapter belongs to, if it names one."""
    return {**body, "model": rank.settings.model} if _is_adapter(body, rank) else body


def _named(write: Writer, body: Body, rank: Rank) -> Writer:
    """An adapter's answers have its name."""
    if not _is_adapter(body, rank):
        return write
    return lambda generation, stamp: write(generation, stamp._replace(model=str(body["model"])))


def _is_adapter(body: Body, rank: Rank) -> bool:
    model = body.get("model")
    return isinstance(model, str) and model in rank.adapters


def _later(delay_ms: float, admit: Callable[[], None], exchange: Exchange) -> None:
    def run() -> None:
        if not exchange.closed:
            try:
                admit()
            except ApiError as error:
                exchange.respond(error.status, error.body)

    asyncio.get_running_loop().call_later(delay_ms / 1000, run)
