"""The path that decode ranks call for their prefill; it wants no key but its own token.

It is answered before the prefill begins: vllm-ascend calls from 32 threads without a time-out, so a rank whose calls
waited for prefills could have 32 of them under way and no more.
"""

from __future__ import annotations

from starlette.responses import JSONResponse
from starlette.types import Receive, Scope, Send

from gateway.access import record_of
from gateway.errors import GatewayError, MethodNotAllowedError
from gateway.gateway import Gateway
from gateway.headers import first
from gateway.intake import read_body
from gateway.metaserver import PATH
from gateway.metaserver_calls import HOP, Calls
from gateway.prefill_answer import MAX_PARAMS_BYTES
from gateway.reply import ClientGoneError, fail


class MetaserverRoute:
    """The ASGI application of all paths below `PATH`."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._calls = Calls(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one call."""
        record = record_of(scope)
        try:
            await self._hear(scope, receive)
        except ClientGoneError:
            record.client_left = True
        except GatewayError as error:
            record.error = type(error).__name__
            await fail(scope, send, error)
        else:
            await JSONResponse({"status": "ok"})(scope, receive, send)

    async def _hear(self, scope: Scope, receive: Receive) -> None:
        if scope["method"] != "POST":
            raise MethodNotAllowedError("Method Not Allowed")
        token = scope["path"].removeprefix(PATH)
        self._calls.check(token)
        headers = scope["headers"]
        patience = self._gateway.patience
        body = await read_body(receive, headers, max_bytes=MAX_PARAMS_BYTES, patience=patience)
        await self._calls.answer(token, body, may_leave_host=first(headers, HOP) is None)
