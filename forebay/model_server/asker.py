"""Asks a server for answers that are not streamed, again where that may help."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from random import Random

import anyio
import httpx
import msgspec

from forebay.model_server.errors import ServerError
from forebay.model_server.retrying import BUSY, LONGEST_S, PASSING, asked_wait_s, wait_s
from forebay.model_server.server import Server

CONNECT_S = 10.0
OK = 200
JSON = {"content-type": "application/json"}
UNREADABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What reading JSON raises where it is none, or is nested too deep."""


class Answered(msgspec.Struct, frozen=True):
    """What the server answered, whatever its status; `body` is JSON in one line."""

    status: int
    request_id: str
    body: msgspec.Raw

    @property
    def is_ok(self) -> bool:
        """Whether it is what was asked for."""
        return self.status == OK


class Unanswered(msgspec.Struct, frozen=True):
    """There was no answer: `code`: connection_refused, connection_error, request_timeout or invalid_response."""

    code: str
    message: str


class Patience(msgspec.Struct, frozen=True, kw_only=True):
    """How long one answer may take, how often a failure is retried, how long a busy or absent server is waited for."""

    answer_s: float = 3_600.0
    retries: int = 3
    busy_s: float = 600.0


class Asker:
    """Made by `asker`; any number of tasks may ask."""

    def __init__(self, server: Server, client: httpx.AsyncClient, patience: Patience, chance: Random) -> None:
        self._servers = server.bases
        self._bases = itertools.cycle(server.bases)
        self._client = client
        self._patience = patience
        self._chance = chance
        self._closed_until_s = dict.fromkeys(server.bases, 0.0)
        self._let_in_at = anyio.current_time()

    async def ask(self, path: str, body: bytes) -> Answered | Unanswered:
        """The last answer to a POST. Being told to wait (429, 503) or finding nobody there uses up no retry.

        That has its own bound, of time. While a server asks for a pause by Retry-After nobody asks it anything; others
        are asked meanwhile.
        """
        failures, waits = 0, 0
        give_up_at = anyio.current_time() + self._patience.busy_s
        while True:
            base = await self._open_server()
            found, retry_after_s = await self._once(base, path, body)
            if not _is_busy(found):
                self._let_in_at = anyio.current_time()
            if isinstance(found, Answered) and found.status not in PASSING:
                return found
            if _is_busy(found):
                waits += 1
                # One that is away is no reason to wait for the next one.
                is_away = isinstance(found, Unanswered) and waits < len(self._servers)
                pause_s = 0.0 if is_away else self._pause_s(base, waits, retry_after_s)
                if anyio.current_time() + pause_s > give_up_at:
                    self._refuse_to_go_on(found, pause_s)
                    return found
            else:
                failures += 1
                if failures > self._patience.retries:
                    return found
                pause_s = self._pause_s(base, failures, retry_after_s)
                give_up_at = anyio.current_time() + self._patience.busy_s
            await anyio.sleep(pause_s)

    async def models(self) -> list[str]:
        """The models that the server has. Raises ServerError, and asks no second time."""
        base, answer = await self._listed()
        if answer.status_code != OK:
            raise ServerError(f"{base}/v1/models answers {answer.status_code}: {answer.text[:200]}")
        try:
            return [model.id for model in msgspec.json.decode(answer.content, type=_Models).data]
        except UNREADABLE as error:
            raise ServerError(f"{base}/v1/models answers what is no list of models") from error

    async def check(self) -> None:
        """Raise ServerError unless a server can be reached, and does not refuse the key."""
        base, answer = await self._listed()
        if answer.status_code in {401, 403}:
            raise ServerError(f"{base} refuses the key: {answer.status_code} {answer.text[:200]}")

    async def _listed(self) -> tuple[str, httpx.Response]:
        """What the first server that can be reached says of its models. Raises ServerError."""
        away: list[str] = []
        for base in self._servers:
            try:
                return base, await self._client.get(f"{base}/v1/models", timeout=CONNECT_S)
            except httpx.HTTPError as error:
                away.append(f"{base} cannot be reached: {_why(error)}")
        raise ServerError("; ".join(away))

    def _refuse_to_go_on(self, found: Answered | Unanswered, pause_s: float) -> None:
        """Raise ServerError where no request at all was, or will be, let in for as long as one is patient."""
        silent_s = anyio.current_time() - self._let_in_at
        if silent_s + pause_s < self._patience.busy_s:
            return
        servers = ", ".join(self._servers)
        words = found.message if isinstance(found, Unanswered) else f"{servers}: it answers {found.status}"
        if pause_s > max(LONGEST_S, silent_s):
            words += f", and a pause of {pause_s:.0f} s is asked for"
        raise ServerError(f"nothing was let in for {silent_s:.0f} s: {words}")

    async def _open_server(self) -> str:
        """The next in turn that asks for no pause; where all do, once one of them has had it."""
        while True:
            now_s = anyio.current_time()
            for base in itertools.islice(self._bases, len(self._servers)):
                if self._closed_until_s[base] <= now_s:
                    return base
            # Not all at the same instant. Who was asked before that may have asked for another pause meanwhile.
            await anyio.sleep_until(min(self._closed_until_s.values()) + wait_s(1, self._chance.random()))

    def _pause_s(self, base: str, retry: int, retry_after_s: float | None) -> float:
        """How long to wait before the next try, after what the server at `base` has answered."""
        now_s = anyio.current_time()
        if retry_after_s is not None:
            self._closed_until_s[base] = max(self._closed_until_s[base], now_s + retry_after_s)
        first_open_s = min(self._closed_until_s.values())
        return max(0.0, first_open_s - now_s) + wait_s(retry, self._chance.random())

    async def _once(self, base: str, path: str, body: bytes) -> tuple[Answered | Unanswered, float | None]:
        """An answer, and the seconds that the server asks for a pause."""
        try:
            # The client's own bound is for each piece that comes.
            with anyio.fail_after(self._patience.answer_s):
                answer = await self._client.post(base + path, content=body, headers=JSON)
        except TimeoutError:
            return Unanswered("request_timeout", f"{base}: no answer in {self._patience.answer_s:g} s"), None
        except httpx.TimeoutException as error:
            kind = "connection_error" if isinstance(error, httpx.ConnectTimeout) else "request_timeout"
            return Unanswered(kind, f"{base}: {_why(error)}"), None
        except httpx.HTTPError as error:
            code = "connection_refused" if isinstance(error, httpx.ConnectError) else "connection_error"
            return Unanswered(code, f"{base}: {_why(error)}"), None
        try:
            one_line = msgspec.json.format(answer.content.decode(), indent=-1)
        except UNREADABLE:
            return _no_json(answer, base), asked_wait_s(answer.headers.get("retry-after"))
        request_id = answer.headers.get("x-request-id", "")
        found = Answered(answer.status_code, request_id, msgspec.Raw(one_line.encode()))
        return found, asked_wait_s(answer.headers.get("retry-after"))


class _Model(msgspec.Struct):
    id: str


class _Models(msgspec.Struct):
    data: list[_Model]


def _no_json(answer: httpx.Response, base: str) -> Answered | Unanswered:
    if answer.status_code == OK:
        return Unanswered("invalid_response", f"{base} answers {answer.status_code} with what is no JSON")
    words = {"error": {"message": answer.text[:1000], "type": "invalid_response", "code": answer.status_code}}
    return Answered(answer.status_code, "", msgspec.Raw(msgspec.json.encode(words)))


def _is_busy(found: Answered | Unanswered) -> bool:
    if isinstance(found, Answered):
        return found.status in BUSY
    return found.code == "connection_refused"


def _why(error: httpx.HTTPError) -> str:
    return str(error) or type(error).__name__


@asynccontextmanager
async def asker(server: Server, concurrency: int, patience: Patience) -> AsyncIterator[Asker]:
    """An asker with so many connections at most. Variables with proxies are not heeded."""
    timeout = httpx.Timeout(patience.answer_s, connect=CONNECT_S)
    limits = httpx.Limits(max_connections=concurrency, max_keepalive_connections=concurrency)
    verify = server.tls if server.tls is not None else False
    async with httpx.AsyncClient(
        headers=server.headers, timeout=timeout, limits=limits, verify=verify, trust_env=False
    ) as client:
        yield Asker(server, client, patience, Random())
