"""Keys: who may use the models and read the docs, and who may use /admin and what changes ranks.

Keys are compared by their digests. Those of the command line, which people may have chosen, all of them every time, so
that neither a key's length nor its place in the list shows in the time taken. Those with a name are looked up by digest
in a dict. How far that gets tells of SHA-256(given) what SipHash under this process's own secret leaves of it, and
digests like a chosen one nobody can make; nor would a few bytes of a digest help against 32 random ones.
Keys are never logged.
"""

from __future__ import annotations

import hmac
from collections.abc import Awaitable, Callable, Iterable
from datetime import UTC, datetime
from ipaddress import IPv6Address, ip_address
from typing import NamedTuple

from starlette.types import ASGIApp, Receive, Scope, Send

from gateway import websocket
from gateway.access import record_of
from gateway.api_key_file import KeysByDigest
from gateway.errors import GatewayError, KeysNotReadError, UnauthorizedError, UnknownRouteError
from gateway.headers import authorization_of, first
from gateway.reply import ClientGoneError, fail
from gateway.routes import ADMIN_PATHS, CLIENT_PATHS, REALTIME
from scheduler.api_keys import ApiKey, digest_of

CLIENT_PREFIXES = ("/v1", "/docs", "/openapi.json")
ADMIN_PREFIX = "/admin"

FOR_OTHERS = (b"forwarded", b"x-forwarded-for", b"x-real-ip", b"via", b"origin", b"sec-fetch-site")
"""Headers of proxies, which ask for others, and of browsers, which ask for pages of anybody."""

TENANT_DIGITS = 8
"""Of a key's SHA-256: enough to tell keys apart, and nothing of the key."""

RETRY_AFTER_MS = 1_000
"""When to come back to a gateway that has just started and not read its keys yet."""


class Caller(NamedTuple):
    """Who asks: how the key is called in metrics and log, "" without one; and the key, where it is one with a name."""

    tenant: str = ""
    key: ApiKey | None = None


def _now_s() -> float:
    return datetime.now(tz=UTC).timestamp()


class KeyRing:
    """The keys of one gateway: those given here, without limits, and those of `sources`, which are yet to be read.

    `clock` answers Unix time, for when a key expires is a date.
    """

    def __init__(
        self,
        api_keys: Iterable[str],
        admin_key: str,
        sources: Iterable[str] = (),
        *,
        local_admin: bool = False,
        clock: Callable[[], float] = _now_s,
    ) -> None:
        self._clients = [digest_of(key.encode()) for key in api_keys]
        self._tenants = {digest: digest.hex()[:TENANT_DIGITS] for digest in self._clients}
        self._admins = [digest_of(admin_key.encode())] if admin_key else []
        self._lets_local_in = local_admin and not admin_key
        self._named: dict[str, KeysByDigest | None] = dict.fromkeys(sources)
        self._clock = clock

    @property
    def is_read(self) -> bool:
        """Whether all sources have been read."""
        return None not in self._named.values()

    def replace(self, source: str, keys: KeysByDigest) -> None:
        """The keys of one source from now on."""
        self._named[source] = keys

    @property
    def _guards_clients(self) -> bool:
        return bool(self._clients or self._named)

    @property
    def holds_any(self) -> bool:
        """Whether an Authorization header a client sends may be one of our keys."""
        return bool(self._guards_clients or self._admins)

    def minds_where_from(self, path: str) -> bool:
        """Whether this path is open to programs on this machine only."""
        return self._lets_local_in and _is_admins(path)

    def check(self, path: str, authorization: bytes | None, *, is_local: bool = False) -> Caller:
        """Let a request pass and return who asks. `is_local`: a program on this machine does, and no web page.

        Raises UnauthorizedError (UnknownRouteError for an admin's where there is none), KeysNotReadError.
        """
        if _is_admins(path):
            if self._lets_local_in:
                if not is_local:
                    raise UnauthorizedError("Without --admin-key this is for programs on the gateway's own machine")
            elif not self._admins:
                raise UnknownRouteError("Not Found")
            elif not _is_among(self._admins, _digest_in(authorization)):
                raise UnauthorizedError("Unauthorized")
        elif self._guards_clients and (
            path in CLIENT_PATHS or any(_is_under(path, prefix) for prefix in CLIENT_PREFIXES)
        ):
            return self._caller(_digest_in(authorization))
        return Caller()

    def _caller(self, given: bytes | None) -> Caller:
        if given is not None and _is_among(self._clients, given):
            return Caller(self._tenants[given])
        if given is not None and (key := self._found(given)):
            if key.expires_s is not None and key.expires_s <= self._clock():
                raise UnauthorizedError("The key has expired")
            return Caller(key.name, key)
        if given is not None and not self.is_read:
            raise KeysNotReadError("The keys have not been read yet", retry_after_ms=RETRY_AFTER_MS)
        raise UnauthorizedError("Unauthorized")

    def _found(self, digest: bytes) -> ApiKey | None:
        return next((key for keys in self._named.values() if keys and (key := keys.get(digest))), None)


def _is_under(path: str, prefix: str) -> bool:
    return path == prefix or path.startswith(prefix + "/")


def _digest_in(authorization: bytes | None) -> bytes | None:
    """The digest of the key in an Authorization header; None where there is none."""
    scheme, _, key = (authorization or b"").partition(b" ")
    return digest_of(key.strip()) if scheme.lower() == b"bearer" else None


def _is_among(digests: list[bytes], given: bytes | None) -> bool:
    matches = [hmac.compare_digest(digest, given or b"") for digest in digests]
    return any(matches)


def _is_admins(path: str) -> bool:
    return path in ADMIN_PATHS or _is_under(path, ADMIN_PREFIX)


def _is_local(scope: Scope) -> bool:
    """Whether a program on this machine asks: not a proxy on it for somebody else, and not a browser for a page."""
    client = scope.get("client")
    if not client or any(first(scope["headers"], name) is not None for name in FOR_OTHERS):
        return False
    try:
        address = ip_address(client[0])
    except ValueError:
        return False
    mapped = address.ipv4_mapped if isinstance(address, IPv6Address) else None
    return (mapped or address).is_loopback


class KeyGuard:
    """ASGI middleware that asks for the key before a route is looked for.

    A key that may be among those that have not been read waits `until_read`, which may return too early, and raises
    GatewayError, and ClientGoneError.
    """

    def __init__(self, app: ASGIApp, *, keys: KeyRing, until_read: Callable[[Scope], Awaitable[None]]) -> None:
        self._app = app
        self._keys = keys
        self._until_read = until_read

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, or answer it with what `KeyRing.check` raises."""
        if scope["type"] == "http":
            record = record_of(scope)
            try:
                record.tenant, record.key = await self._check(scope)
            except ClientGoneError:
                record.client_left = True
                return
            except GatewayError as error:
                record.error = type(error).__name__
                await fail(scope, send, error)
                return
        await self._app(scope, receive, send)

    async def _check(self, scope: Scope) -> Caller:
        authorization = authorization_of(scope["headers"])
        if authorization is None and scope["path"] == REALTIME:
            authorization = websocket.authorization_of(scope["headers"])
        try:
            is_local = self._keys.minds_where_from(scope["path"]) and _is_local(scope)
            return self._keys.check(scope["path"], authorization, is_local=is_local)
        except KeysNotReadError:
            await self._until_read(scope)
            return self._keys.check(scope["path"], authorization)
