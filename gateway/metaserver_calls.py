"""What becomes of a decode rank's call, whichever way it came: it is taken here, or passed on to whose it is.

A call may reach another process than the one whose URL it is for: workers share a port, and a load balancer may stand
before gateways. It is passed on by the life that its token begins with, to a worker on this host by its own socket,
else once to an address that the gateway of that life keeps in Redis.
"""

from __future__ import annotations

import re
import ssl
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from http import HTTPStatus

import anyio

from gateway.errors import GatewayError, InvalidRequestError, ShuttingDownError, UnknownRouteError
from gateway.gateway import RETRY_AFTER_MS, Gateway
from gateway.metaserver import PATH, Heard, life_in
from gateway.sibling_calls import SiblingGoneError, call_sibling
from gateway.upstream import Deadlines, Upstream
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.rank_tls import trusting

TOKEN = re.compile(r"[0-9A-Za-z_-]{1,64}\.[0-9A-Za-z_-]{32}")

HOP = b"x-forebay-hop"
"""Marks a call that a gateway has passed on: it leaves the next host no more."""

SETTLED = frozenset({HTTPStatus.OK, HTTPStatus.BAD_REQUEST})
"""What whose call it is may say of it."""

AT_ONCE = 64
"""Calls that are passed on at the same time; others wait."""

PASS_ON_S = 5.0
ASK_S, ASK_PAUSE_S = 2.0, 0.2
"""How long and how often the store is asked where a gateway is that nobody has found before."""
ASKING_AT_ONCE = 16
"""Calls that ask again. Who forges tokens while the store is away keeps no more from being passed on."""
DEADLINES = Deadlines(connect_s=1.5, first_byte_s=PASS_ON_S, idle_s=PASS_ON_S)


class Calls:
    """The calls that have reached one gateway process."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        self._passing_on = anyio.CapacityLimiter(AT_ONCE)
        self._asking_again = anyio.Semaphore(ASKING_AT_ONCE)

    def check(self, token: str) -> None:
        """Raise UnknownRouteError for a token that lets nobody in, before anything of the call is read."""
        is_token = TOKEN.fullmatch(token) is not None
        if not is_token or (self._is_ours(token) and not self._gateway.metaserver.knows(token)):
            raise self._unknown()

    async def answer(self, token: str, body: bytes, *, may_leave_host: bool) -> None:
        """Take a call or pass it on; returns when the decode rank is to be told that all is well.

        Raises UnknownRouteError, InvalidRequestError, ShuttingDownError.
        """
        if self._is_ours(token):
            self.take(token, body)
            return
        status = None
        async with self._passing_on:
            with anyio.move_on_after(PASS_ON_S):
                status = await self._pass_on(token, body, may_leave_host=may_leave_host)
        self._count(Heard.LOST if status is None else Heard.PASSED_ON)
        if status == HTTPStatus.BAD_REQUEST:
            raise InvalidRequestError("The call is malformed")
        if status != HTTPStatus.OK:
            raise UnknownRouteError("Not Found")

    def take(self, token: str, body: bytes) -> None:
        """Take a call that is for this process; returns at once. Raises as `answer`."""
        if self._gateway.is_cutting:
            raise ShuttingDownError("This gateway is shutting down", retry_after_ms=RETRY_AFTER_MS)
        try:
            heard = self._gateway.metaserver.hear(token, body)
        except UnknownRouteError:
            raise self._unknown() from None
        except InvalidRequestError:
            self._count(Heard.MALFORMED)
            raise
        self._count(heard)
        if heard is Heard.OTHER_CHILD:
            raise UnknownRouteError("Not Found")

    def _is_ours(self, token: str) -> bool:
        return life_in(token) == self._gateway.metaserver.life

    async def _pass_on(self, token: str, body: bytes, *, may_leave_host: bool) -> int | None:
        """The status that whose call it is has answered; None where he is not found."""
        try:
            return await call_sibling(life_in(token), token, body)
        except SiblingGoneError:
            pass
        try:
            addresses = await self._addresses(life_in(token)) if may_leave_host else ()
        except StoreRejectedError:
            return None
        status = None
        for address in addresses:
            # What is a loopback address to whose call it is may be our own: that says 404.
            with suppress(GatewayError):
                status = await self._post(address, token, body)
            if status in SETTLED:
                break
        return status

    async def _addresses(self, life: str) -> Sequence[str]:
        """Where the gateway of this life is: nowhere if the store does not say. It is asked again for a while, since a
        call that is lost costs a decode rank its blocks for good. Raises StoreRejectedError.
        """
        addresses = self._gateway.pools.addresses
        with suppress(StoreUnavailableError):
            return await addresses.find(life)
        with suppress(anyio.WouldBlock), anyio.move_on_after(ASK_S):
            self._asking_again.acquire_nowait()
            try:
                while True:
                    await anyio.sleep(ASK_PAUSE_S)
                    with suppress(StoreUnavailableError):
                        return await addresses.find(life)
            finally:
                self._asking_again.release()
        return ()

    async def _post(self, address: str, token: str, body: bytes) -> int:
        settings = self._gateway.settings
        upstream = Upstream(DEADLINES, 1, self._tls)
        headers = [(b"content-type", b"application/json"), (HOP, b"1")]
        try:
            url = f"{settings.scheme}://{address}{PATH}{token}"
            async with upstream.request("POST", url, headers, body, _nothing) as answer:
                return answer.status
        finally:
            with anyio.CancelScope(shield=True):
                await upstream.aclose()

    @cached_property
    def _tls(self) -> ssl.SSLContext | None:
        """Other gateways are verified as ranks are. To read the system's authorities takes longer than a call."""
        settings = self._gateway.settings
        return trusting(ssl.Purpose.SERVER_AUTH, "rank-ca", settings.rank_ca) if settings.tls_cert else None

    def _unknown(self) -> UnknownRouteError:
        self._count(Heard.UNKNOWN)
        return UnknownRouteError("Not Found")

    def _count(self, heard: Heard) -> None:
        self._gateway.metrics.pairs.calls.labels(heard.value).inc()


def _nothing() -> None:
    """Nobody waits to hear that it was sent."""
