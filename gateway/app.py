"""The routes of a gateway, and how whatever goes wrong outside a completions request is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from importlib.metadata import version

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import errors, models
from gateway.access import AccessLog
from gateway.auth import KeyGuard
from gateway.completions import Completion
from gateway.errors import GatewayError, InternalError, MethodNotAllowedError, UnknownRouteError
from gateway.gateway import NOT_REACHED, Gateway
from gateway.reply import fail
from gateway.wire import Api

VERSION = version("forebay")

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def create_app(gateway: Gateway) -> FastAPI:
    """The ASGI application of one gateway."""
    app = FastAPI(title="Forebay", version=VERSION, redirect_slashes=False, redoc_url=None)
    _add_api(app, gateway)
    _add_probes(app, gateway)
    _add_operations(app, gateway)
    app.add_exception_handler(HTTPException, _on_http_exception)
    app.add_exception_handler(GatewayError, _on_gateway_error)
    app.add_exception_handler(Exception, _on_exception)
    # The last one added is the outermost.
    routes = frozenset(route.path for route in app.routes if isinstance(route, Route))
    app.add_middleware(_PathGuard)
    app.add_middleware(KeyGuard, keys=gateway.keys)
    app.add_middleware(AccessLog, routes=routes, metrics=gateway.metrics)
    return app


class _PathGuard:
    """ASGI middleware: no path has control characters, though starlette's patterns overlook a newline at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and CONTROL_CHARACTERS.search(scope["path"]):
            await fail(send, UnknownRouteError("Not Found"))
        else:
            await self._app(scope, receive, send)


def _add_api(app: FastAPI, gateway: Gateway) -> None:
    @app.post("/v1/chat/completions")
    async def chat_completions() -> Response:
        """Chat completion, streamed or not; any field vLLM knows."""
        return Completion(gateway, Api.CHAT)

    @app.post("/v1/completions")
    async def completions() -> Response:
        """Text completion, streamed or not; any field vLLM knows."""
        return Completion(gateway, Api.COMPLETIONS)

    @app.get("/v1/models")
    async def list_models() -> Response:
        """The models that have a pool."""
        gateway.require_ready()
        return JSONResponse(models.listing(gateway.pools, gateway.started_s))


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz")
    @app.get("/health")
    @app.get("/ping")
    async def alive() -> Response:
        """Whether this process serves at all."""
        return Response()

    @app.get("/readyz")
    async def ready() -> Response:
        """Whether requests should be sent here: from the first contact with the store until the shutdown."""
        if gateway.stopping:
            return JSONResponse({"ready": False, "reason": "shutting down"}, 503)
        if not gateway.pools.ready:
            return JSONResponse({"ready": False, "reason": NOT_REACHED}, 503)
        return JSONResponse({"ready": True, "degraded": gateway.pools.degraded})


def _add_operations(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics."""
        return Response(gateway.metrics.page(), media_type=CONTENT_TYPE_LATEST)

    @app.get("/version")
    async def show_version() -> Response:
        """Forebay's version."""
        return JSONResponse({"version": VERSION})

    @app.get("/admin/state", include_in_schema=False)
    async def state() -> Response:
        """What this gateway holds now."""
        return JSONResponse(
            {"gateway": gateway.name, "requests": gateway.alive, "stopping": gateway.stopping, **gateway.held()}
        )


async def _on_http_exception(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = MethodNotAllowedError if error.status_code == 405 else UnknownRouteError
    return _error_response(kind(error.detail), error.headers)


async def _on_gateway_error(_: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return _error_response(error)


async def _on_exception(_: Request, __: Exception) -> Response:
    return _error_response(InternalError("Internal server error"))


def _error_response(error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
    own = {name.decode(): value.decode() for name, value in errors.headers_of(error)}
    return Response(errors.body_of(error), errors.status_of(error), headers=own | dict(headers or {}))
