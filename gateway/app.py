"""A gateway's application: the ranks' routes (routes.py) and its own, and how what goes wrong around them is told."""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import partial
from importlib.metadata import version
from typing import assert_never

from fastapi import FastAPI, Request
from prometheus_client import CONTENT_TYPE_LATEST
from starlette import routing
from starlette.exceptions import HTTPException
from starlette.middleware.cors import CORSMiddleware
from starlette.middleware.errors import ServerErrorMiddleware
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import error_shapes, errors
from gateway.access import AccessLog
from gateway.auth import KeyGuard
from gateway.errors import GatewayError, InternalError, MethodNotAllowedError, UnknownRouteError
from gateway.fan_out import FanOut
from gateway.gateway import Gateway
from gateway.json_request import JsonRequest
from gateway.life import Life, Serve, until_keys_are_read
from gateway.metaserver import PATH as METASERVER
from gateway.metaserver_route import MetaserverRoute
from gateway.models import MODELS, Models
from gateway.readiness import NOT_REACHED
from gateway.realtime import Realtime
from gateway.reply import fail
from gateway.routes import ROUTES, SITE_PATHS, Kind, Route, template_of
from gateway.site_requests import SiteRequests
from gateway.sticky import Sticky
from gateway.upload import Upload

VERSION = version("forebay")

CORS_METHODS = ("GET", "POST", "DELETE")
CORS_MAX_AGE_S = 600
"""How long a browser remembers that it may ask."""
EXPOSED_HEADERS = (
    *("retry-after", "x-request-id", "x-forebay-prefill", "x-forebay-decode", "x-forebay-gateway"),
    *("x-ratelimit-limit-requests", "x-ratelimit-remaining-requests", "x-ratelimit-reset-requests"),
    *("x-ratelimit-limit-tokens", "x-ratelimit-remaining-tokens", "x-ratelimit-reset-tokens"),
)
"""What scripts of a web page may read of an answer's head, beside what they always may."""

CONTROL_CHARACTERS = re.compile(r"[\x00-\x1f\x7f]")


def create_app(gateway: Gateway) -> ASGIApp:
    """The ASGI application of one gateway.

    What stands around all requests stands around the framework too: ranks' routes are served before they come to it, as
    its layers and its router would cost about as much as placing a request.
    """
    api = _api_of(gateway)
    routes = frozenset(route.path for route in api.routes if isinstance(route, routing.Route))
    app: ASGIApp = _PathGuard(_RankRoutes(api, gateway))
    app = KeyGuard(app, keys=gateway.keys, until_read=partial(until_keys_are_read, gateway))
    app = ServerErrorMiddleware(app, handler=_on_exception)
    if origins := gateway.settings.cors_origin:
        # Outside of the keys: a browser asks without one whether it may ask, and is to see why it was refused. Outside
        # of faults: no page of another origin could read that answer.
        app = CORSMiddleware(
            app,
            allow_origins=origins,
            allow_methods=CORS_METHODS,
            allow_headers=["*"],
            expose_headers=EXPOSED_HEADERS,
            max_age=CORS_MAX_AGE_S,
        )
    return AccessLog(app, routes=routes, metrics=gateway.metrics)


def _api_of(gateway: Gateway) -> FastAPI:
    api = FastAPI(title="Forebay", version=VERSION, redirect_slashes=False, redoc_url=None)
    _add_api(api, gateway)
    _add_probes(api, gateway)
    _add_operations(api, gateway)
    api.add_exception_handler(HTTPException, _on_http_exception)
    api.add_exception_handler(GatewayError, _on_gateway_error)
    api.add_exception_handler(Exception, _on_exception)
    return api


class _PathGuard:
    """ASGI middleware: no path has control characters, though starlette's patterns overlook a newline at the end."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and CONTROL_CHARACTERS.search(scope["path"]):
            await fail(scope, send, UnknownRouteError("Not Found"))
        else:
            await self._app(scope, receive, send)


class _RankRoutes:
    """ASGI middleware: serves what goes to ranks, what may wait as that does, and what ranks call."""

    def __init__(self, app: ASGIApp, gateway: Gateway) -> None:
        self._app = app
        self._lives = {(route.method, route.path): Life(gateway, _serve_of(gateway, route)) for route in ROUTES}
        self._lives["GET", MODELS] = Life(gateway, _serve_models(gateway))
        if gateway.site is not None:
            serve_site = SiteRequests(gateway, gateway.site).serve
            self._lives |= {(method, path): Life(gateway, serve_site) for path, method in SITE_PATHS.items()}
        self._metaserver = MetaserverRoute(gateway)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        app = self._life_of(scope) if scope["type"] == "http" else None
        await (app or self._app)(scope, receive, send)

    def _life_of(self, scope: Scope) -> ASGIApp | None:
        method, path = scope["method"], scope["path"]
        if path.startswith(METASERVER):
            return self._metaserver
        return self._lives.get((method, path)) or self._lives.get((method, template_of(path)))


def _add_api(app: FastAPI, gateway: Gateway) -> None:
    for route in ROUTES:
        # For the docs, and for other methods to be refused; a request itself is served before it comes to the router.
        app.add_api_route(
            route.path,
            _served_before,
            methods=[route.method],
            description=route.kind.value,
            name=f"{route.method} {route.path}",
            include_in_schema=route.kind is not Kind.ADMIN,
        )
    for path, method in SITE_PATHS.items() if gateway.site is not None else ():
        app.add_api_route(path, _served_before, methods=[method], name=f"{method} {path}", include_in_schema=False)
    app.add_api_route(MODELS, _served_before, name="list_models", description=Models.__doc__)


async def _served_before() -> Response:
    raise AssertionError("a route that waits for ranks is served by _RankRoutes")


def _serve_models(gateway: Gateway) -> Serve:
    """Where any name goes to one pool, one of its ranks says which there are: aliases and adapters are among them."""
    if gateway.settings.pool_name:
        return JsonRequest(gateway, Route(MODELS, Kind.COUNTING, "GET")).serve
    return Models(gateway).serve


def _serve_of(gateway: Gateway, route: Route) -> Serve:
    match route.kind:
        case Kind.PAIRABLE | Kind.GENERATING | Kind.COMPUTING | Kind.COUNTING:
            return JsonRequest(gateway, route).serve
        case Kind.STICKY:
            return Sticky(gateway, route).serve
        case Kind.UPLOADING:
            return Upload(gateway, route).serve
        case Kind.ADMIN:
            return FanOut(gateway).serve
        case Kind.TUNNELLING:
            return Realtime(gateway, route).serve
        case _:
            assert_never(route.kind)


def _add_probes(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/healthz")
    @app.get("/health")
    @app.get("/ping")
    async def alive(request: Request) -> Response:
        """Whether this process serves at all; at the port of a rank, whether that rank takes requests."""
        return Response(status_code=200 if gateway.rank_ports.serves_at(request.scope) else 503)

    @app.get("/readyz")
    async def ready() -> Response:
        """Whether requests should be sent here: from the first contact with the store until the shutdown."""
        if gateway.stopping:
            return JSONResponse({"ready": False, "reason": "shutting down"}, 503)
        if not gateway.pools.ready:
            return JSONResponse({"ready": False, "reason": NOT_REACHED}, 503)
        if not gateway.readiness.is_complete:
            return JSONResponse({"ready": False, "reason": "the keys have not been read yet"}, 503)
        return JSONResponse({"ready": True, "degraded": gateway.pools.degraded})


def _add_operations(app: FastAPI, gateway: Gateway) -> None:
    @app.get("/metrics")
    async def metrics() -> Response:
        """Prometheus metrics; of several workers on this port, those of all."""
        return Response(await gateway.metrics_page(), media_type=CONTENT_TYPE_LATEST)

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


async def _on_http_exception(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    kind = MethodNotAllowedError if error.status_code == 405 else UnknownRouteError
    return _error_response(request, kind(error.detail), error.headers)


async def _on_gateway_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, GatewayError)
    return _error_response(request, error)


async def _on_exception(request: Request, _: Exception) -> Response:
    return _error_response(request, InternalError("Internal server error"))


def _error_response(request: Request, error: GatewayError, headers: Mapping[str, str] | None = None) -> Response:
    body = error_shapes.body_of(error, error_shapes.shape_at(request.url.path))
    own = {name.decode(): value.decode() for name, value in errors.headers_of(error)}
    return Response(body, errors.status_of(error), headers=own | dict(headers or {}))
