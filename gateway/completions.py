"""One completions request's life: read it, serve it, and end it whenever its client leaves.

A client that leaves is a normal path. It is watched for from the last byte of its body on; when it closes, whatever the
request is doing is cancelled: the connection to the rank closes (which is how vLLM aborts) and the reservation is
given back, exactly once, on this path as on every other.
"""

from __future__ import annotations

from contextlib import suppress

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from gateway import bounds, headers, prompt, wire
from gateway.access import RequestRecord, record_of
from gateway.errors import GatewayError
from gateway.gateway import Gateway
from gateway.headers import Headers
from gateway.intake import read_body, wait_until_gone
from gateway.reply import ClientGoneError, Reply
from gateway.request import Request
from gateway.serving import Serving
from gateway.shape import UNREAD, answers_of, shape_of
from gateway.wire import Api

TURN_S = 0.001
"""A pause of no length would let only those go on who are ready already, and no socket be read."""


class Completion(Response):
    """The answer to one completions request; serving the request is what sending it means."""

    def __init__(self, gateway: Gateway, api: Api) -> None:
        super().__init__()
        self._gateway = gateway
        self._api = api

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve the request."""
        record = record_of(scope)
        reply = Reply(send, self._gateway.settings.client_idle_ms / 1000)
        request = _Request(self._gateway, self._api, scope["headers"], record, reply)
        try:
            with self._gateway.living(headers.timeout_s(scope["headers"])):
                await request.serve(receive)
        except ClientGoneError:
            record.client_left = True
        except GatewayError as error:
            record.error = type(error).__name__
            with suppress(ClientGoneError):
                await reply.fail(error)


class _Request:
    def __init__(
        self, gateway: Gateway, api: Api, client_headers: Headers, record: RequestRecord, reply: Reply
    ) -> None:
        self._gateway = gateway
        self._api = api
        self._headers = client_headers
        self._record = record
        self._reply = reply
        self._explain = gateway.settings.explain and headers.first(client_headers, b"x-forebay-explain") == b"1"

    async def serve(self, receive: Receive) -> None:
        settings = self._gateway.settings
        headers.require_json(self._headers)
        raw = await read_body(
            receive, self._headers, max_bytes=settings.max_body_bytes, idle_s=settings.client_idle_ms / 1000
        )
        error: GatewayError | ClientGoneError | None = None
        async with anyio.create_task_group() as group:
            group.start_soon(_cancel_when_gone, receive, group.cancel_scope, name="client watch")
            try:
                await self._answer(raw)
            except (GatewayError, ClientGoneError) as raised:
                error = raised  # carried out by hand: the group would wrap it
            group.cancel_scope.cancel()
        if error is not None:
            raise error
        if not self._reply.complete:
            raise ClientGoneError

    async def _answer(self, raw: bytes) -> None:
        bounds.check(raw)
        if len(raw) > bounds.REQUEST.small_bytes:
            # Counting and decoding may take a tenth of a second each: everybody else gets a turn in between.
            await anyio.sleep(TURN_S)
        body = wire.read(raw)
        asked = prompt.read(self._api, body.fields) if body.readable else None
        pool = self._gateway.pool_for(body.model)
        self._record.pool = pool.name
        shape = shape_of(self._api, body, asked, self._gateway.estimator(pool)) if asked else UNREAD
        request = Request(self._api, self._headers, body, asked, self._record, self._reply, self._explain)
        usage = await Serving(self._gateway, pool, request).run(shape)
        if usage is not None and asked is not None:
            metrics = self._gateway.metrics
            metrics.estimate_ratio.labels(pool.name).observe(shape.prompt_tokens / max(1, usage.prompt_tokens))
            self._gateway.learn(pool, self._api, asked, usage, answers=answers_of(body, asked))


async def _cancel_when_gone(receive: Receive, scope: anyio.CancelScope) -> None:
    await wait_until_gone(receive)
    scope.cancel()
