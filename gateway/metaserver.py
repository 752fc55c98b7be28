"""The calls of decode ranks that a gateway awaits: connectors whose decode rank goes first have it ask for its prefill.

Each attempt has a URL of its own. Its token alone lets a call in, so it is a secret between the gateway
and the one decode rank: who has it may have a prompt's KV pushed to where he says. It begins with the gateway's life,
by which another gateway that a call has reached finds this one (metaserver_calls.py).
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import StrEnum
from secrets import token_urlsafe
from urllib.parse import urlsplit

import anyio

from gateway.connectors.connector import Call, DecodeFirst
from gateway.connectors.kv_hosts import host_of
from gateway.errors import UnknownRouteError
from scheduler.endpoints import is_local
from scheduler.messages import RankCard

log = logging.getLogger(__name__)

PATH = "/internal/metaserver/"

SECRET_BYTES = 24

LINGER_S = 10.0
"""How long a call is still taken of a decode rank whose client has left. It may have allocated at that very moment, and
holds the blocks until a prefill has filled them, for ever if none does.
"""


class Heard(StrEnum):
    """What became of a call."""

    TAKEN = "taken"
    AGAIN = "again"
    """The rank has tried once more: it does if it does not get the answer."""

    OTHER_CHILD = "other_child"
    """It is for another prompt than the request's one. Requests with several are not served in pairs (pairable.py)."""

    UNKNOWN = "unknown"
    MALFORMED = "malformed"
    PASSED_ON = "passed_on"
    """Another gateway's; what that makes of it, it counts itself."""

    LOST = "lost"
    """Another gateway's, which cannot be reached."""


class Awaited:
    """The call that one attempt waits for. `child` is who has called, empty until then; it `lingers` if a call may
    still come when the attempt has ended.
    """

    def __init__(self, url: str, connector: DecodeFirst, on_call: Callable[[Call], None]) -> None:
        self.url = url
        self.child = ""
        self.lingers = False
        self._connector = connector
        self._on_call = on_call

    def may_be_called(self) -> None:
        """The decode rank has the request: it may call, even when its client has left."""
        self.lingers = True

    def is_over(self) -> None:
        """The decode rank has answered or failed: it will not call any more."""
        self.lingers = False

    def hear(self, body: bytes) -> Heard:
        """Take a call. Raises InvalidRequestError."""
        call = self._connector.call(body)
        if self.child:
            return Heard.AGAIN if call.child == self.child else Heard.OTHER_CHILD
        self.child = call.child
        self._on_call(call)
        return Heard.TAKEN


class Metaserver:
    """The calls that one gateway process awaits; `address` is where decode ranks reach it, `life` is its own."""

    def __init__(self, life: str, scheme: str, address: str) -> None:
        self.life = life
        self.address = address
        self._scheme = scheme
        self._host = urlsplit(f"//{address}").hostname or ""
        self._has_warned = False
        self._awaited: dict[str, Awaited] = {}
        self._outstanding: set[Awaited] = set()
        self._none_outstanding = anyio.Event()
        self.is_open = True
        """Whether requests may come to depend on a call: it must find this process listening."""

    @contextmanager
    def awaiting(self, connector: DecodeFirst, on_call: Callable[[Call], None]) -> Iterator[Awaited]:
        """A URL that may be called until the block ends, and a little longer if it lingers."""
        token = f"{self.life}.{token_urlsafe(SECRET_BYTES)}"
        awaited = Awaited(f"{self._scheme}://{self.address}{PATH}{token}", connector, on_call)
        self._awaited[token] = awaited
        self._outstanding.add(awaited)
        try:
            yield awaited
        finally:
            self._settle(awaited)
            if awaited.lingers and not awaited.child:
                asyncio.get_running_loop().call_later(LINGER_S, self._awaited.pop, token, None)
            else:
                del self._awaited[token]

    def knows(self, token: str) -> bool:
        """Whether a call with this token is awaited here, or was taken by an attempt that goes on."""
        return token in self._awaited

    def hear(self, token: str, body: bytes) -> Heard:
        """Take a call; returns at once. Raises InvalidRequestError, UnknownRouteError."""
        awaited = self._awaited.get(token)
        if awaited is None:
            raise UnknownRouteError("Not Found")
        heard = awaited.hear(body)
        self._settle(awaited)
        return heard

    def warn_of_address(self, decode: RankCard) -> None:
        """Say once that a decode rank is to call an address that is another host to it."""
        if not self._has_warned and is_local(self._host) and not is_local(host_of(decode)):
            self._has_warned = True
            log.warning(
                "%s is to call this gateway at %s, which only ranks on this host can; give it an --advertise that they "
                "reach",
                decode.rank,
                self.address,
            )

    async def close(self) -> None:
        """Let no more requests depend on a call, and return when none does."""
        self.is_open = False
        if self._outstanding:
            await self._none_outstanding.wait()

    def _settle(self, awaited: Awaited) -> None:
        self._outstanding.discard(awaited)
        if not self.is_open and not self._outstanding:
            self._none_outstanding.set()


def life_in(token: str) -> str:
    """The life of the gateway that made a token, if it is one."""
    return token.partition(".")[0]
