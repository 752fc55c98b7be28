"""Keys: who may use the models and read the docs, and who may use /admin and what changes ranks.

Keys are compared by their digests, all of them every time, so that neither a key's length nor its place in
the list shows in the time taken. They are never logged.
"""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import websocket
from gateway.access import record_of
from gateway.errors import GatewayError, UnauthorizedError, UnknownRouteError
from gateway.headers import authorization_of
from gateway.reply import fail
from gateway.routes import ADMIN_PATHS, CLIENT_PATHS, REALTIME

CLIENT_PREFIXES = ("/v1", "/docs", "/openapi.json")
ADMIN_PREFIX = "/admin"

TENANT_DIGITS = 8
"""Of a key's SHA-256: enough to tell keys apart, and nothing of the key."""


class KeyRing:
    """The keys of one gateway."""

    def __init__(self, api_keys: Iterable[str], admin_key: str) -> None:
        self._clients = [_digest(key.encode()) for key in api_keys]
        self._tenants = {digest: digest.hex()[:TENANT_DIGITS] for digest in self._clients}
        self._admins = [_digest(admin_key.encode())] if admin_key else []

    @property
    def holds_any(self) -> bool:
        """Whether an Authorization header a client sends may be one of our keys."""
        return bool(self._clients or self._admins)

    def check(self, path: str, authorization: bytes | None) -> str:
        """Let a request pass and return its tenant: how its client's key is called in metrics and log, "" without.

        Raises UnauthorizedError (UnknownRouteError for an admin's where there is none).
        """
        if path in ADMIN_PATHS or _is_under(path, ADMIN_PREFIX):
            if not self._admins:
                raise UnknownRouteError("Not Found")
            _require(self._admins, authorization)
        elif self._clients and (path in CLIENT_PATHS or any(_is_under(path, prefix) for prefix in CLIENT_PREFIXES)):
            return self._tenants[_require(self._clients, authorization)]
        return ""


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _require(digests: list[bytes], authorization: bytes | None) -> bytes:
    scheme, _, key = (authorization or b"").partition(b" ")
    given = _digest(key.strip())
    matches = [hmac.compare_digest(digest, given) for digest in digests]
    if scheme.lower() != b"bearer" or not any(matches):
        raise UnauthorizedError("Unauthorized")
    return given


def _digest(key: bytes) -> bytes:
    return hashlib.sha256(key).digest()


class KeyGuard:
    """ASGI middleware that asks for the key before a route is looked for."""

    def __init__(self, app: ASGIApp, *, keys: KeyRing) -> None:
        self._app = app
        self._keys = keys

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what `KeyRing.check` raises."""
        if scope["type"] == "http":
            authorization = authorization_of(scope["headers"])
            if authorization is None and scope["path"] == REALTIME:
                authorization = websocket.authorization_of(scope["headers"])
            try:
                tenant = self._keys.check(scope["path"], authorization)
            except GatewayError as error:
                await fail(scope, send, error)
                return
            record_of(scope).tenant = tenant
        await self._app(scope, receive, send)
