"""One request's life: serve it, and end it whenever its client leaves.

A client that leaves is a normal path. It is watched for from the last byte of its body on, or from the first if the
body passes through; when it closes, whatever the request is doing is cancelled: the connection to the rank closes
(which is how vLLM aborts) and the reservation is given back, exactly once, on this path as on every other.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import suppress
from functools import partial

import anyio
from starlette.types import Receive, Scope, Send

from gateway import error_shapes, headers
from gateway.access import record_of
from gateway.client_http import client
from gateway.client_http.client import Client
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.intake import read_body, wait_until_gone
from gateway.pins import named_rank
from gateway.reply import ClientGoneError, Reply
from gateway.request import Arrival, arrival_of

Serve = Callable[[Arrival], Awaitable[None]]


class Life:
    """The ASGI application of one route to the ranks."""

    def __init__(self, gateway: Gateway, serve: Serve) -> None:
        self._gateway = gateway
        self._serve = serve

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        settings = self._gateway.settings
        record = record_of(scope)
        shape = error_shapes.shape_at(scope["path"])
        reply = Reply(send, settings.client_idle_ms / 1000, scope.get(client.SCOPE_KEY), shape)
        try:
            with self._gateway.living(headers.timeout_s(scope["headers"]), since_s=record.started_s):
                may_explain, share = settings.explain, settings.receipt_share
                rank = named_rank(scope["headers"], may_pin=settings.pin, port_rank=self._gateway.rank_ports.of(scope))
                arrival = arrival_of(scope, receive, reply, may_explain=may_explain, receipt_share=share, rank=rank)
                await self._serve(arrival)
        except ClientGoneError:
            record.client_left = True
        except GatewayError as error:
            record.error = type(error).__name__
            with suppress(ClientGoneError):
                await reply.fail(error)
        finally:
            reply.forget()


async def read_whole_body(gateway: Gateway, arrival: Arrival) -> bytes:
    """A request's body, within the gateway's limits. Raises as `intake.read_body`."""
    settings = gateway.settings
    raw = await read_body(
        arrival.receive,
        arrival.head.headers,
        max_bytes=settings.max_body_bytes,
        patience=gateway.patience,
        client=arrival.reply.client,
    )
    arrival.record.held_bytes = len(raw)
    return raw


async def answer_until_gone(arrival: Arrival, answer: Callable[[], Awaitable[None]]) -> None:
    """Answer a request whose body has been read, but no longer than its client is there.

    Raises what `answer` raises, and ClientGoneError.
    """
    if arrival.reply.client is None:
        await answer_while_watched(arrival.reply, partial(wait_until_gone, arrival.receive), answer)
    else:
        await answer_while_there(arrival.reply, answer)


async def answer_while_there(reply: Reply, answer: Callable[[], Awaitable[None]]) -> None:
    """Answer, but no longer than the client's connection is there, where the server lends it.

    Raises what `answer` raises, and ClientGoneError.
    """
    await while_there(reply.client, answer)
    if not reply.complete:
        raise ClientGoneError


async def until_keys_are_read(gateway: Gateway, scope: Scope) -> None:
    """Wait for the keys as requests wait for a rank: no longer than that, than the client is there, or than it gives.

    Raises ClientGoneError, DeadlineExceededError, ShuttingDownError, InvalidRequestError.
    """
    record = record_of(scope)
    with gateway.living(headers.timeout_s(scope["headers"]), since_s=record.started_s):
        if not await while_there(scope.get(client.SCOPE_KEY), partial(gateway.readiness.of_keys, record)):
            raise ClientGoneError


async def while_there(client: Client | None, act: Callable[[], Awaitable[None]]) -> bool:
    """Do something, but no longer than the client is there; whether it was done. Raises what `act` raises."""
    with anyio.CancelScope() as being_there:
        if client is not None:
            client.on_gone(being_there.cancel)
        try:
            await act()
        finally:
            if client is not None:
                client.on_gone(None)
    return not being_there.cancelled_caught


async def answer_while_watched(
    reply: Reply, watch: Callable[[], Awaitable[None]], answer: Callable[[], Awaitable[None]]
) -> None:
    """Answer, but no longer than until `watch` returns, because the client left, or raises.

    Raises what either raises, and ClientGoneError.
    """
    errors: list[GatewayError | ClientGoneError] = []  # carried out by hand: the group would wrap them

    async def run_watch(scope: anyio.CancelScope) -> None:
        try:
            await watch()
        except GatewayError as error:
            errors.append(error)
        scope.cancel()

    async with anyio.create_task_group() as group:
        group.start_soon(run_watch, group.cancel_scope, name="client watch")
        try:
            await answer()
        except (GatewayError, ClientGoneError) as error:
            errors.append(error)
        group.cancel_scope.cancel()
    if errors:
        raise errors[0]
    if not reply.complete:
        raise ClientGoneError
