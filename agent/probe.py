"""Asks one rank's port over HTTP and says what came of it. Thin: health.py and discovery.py judge."""

from __future__ import annotations

import asyncio
import secrets
import ssl
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.cookiejar import CookieJar, DefaultCookiePolicy
from types import MappingProxyType
from typing import Any, TypeVar, overload
from urllib.parse import urlsplit

import httpx
import msgspec

from agent import kv_discovery
from agent.discovery import Description, ModelList, VersionAnswer
from agent.errors import AnswerError, DiscoveryError, NoSuchRouteError, PageError, WarmUpError
from agent.evidence import Answered, Broken, EngineDead, Evidence, Healthy, PageEvidence, Refused, Silent, Unanswered
from agent.metrics_page import parse_metrics
from agent.settings import AgentSettings
from scheduler.endpoints import host_of
from scheduler.messages import KvAddress, RankCard, Role

Decoded = TypeVar("Decoded")

_METRICS = "/metrics"
_LARGEST_PAGE_BYTES = 16 << 20
"""A real page is 33 KB per engine and 34 KB for the server, so this is a page of 500 engines behind one port."""
_LARGEST_ANSWER_BYTES = 4 << 20
"""Of all other answers the longest is `/v1/models`, with some 600 bytes for each LoRA adapter."""


class Answer(msgspec.Struct, frozen=True):
    """A whole answer of a rank."""

    status: int
    body: bytes

    @property
    def is_success(self) -> bool:
        """Whether the status is of the 200s."""
        return httpx.codes.is_success(self.status)


def open_http(verify: ssl.SSLContext | None = None) -> httpx.AsyncClient:
    """The client all probes of one agent share; `verify` says which ranks on https it trusts, else the system does.

    It knows no proxy, follows nobody elsewhere, keeps no cookie, and keeps no connection, so each look proves that
    somebody listens.
    """
    return httpx.AsyncClient(
        verify=verify or ssl.create_default_context(),
        trust_env=False,
        follow_redirects=False,
        limits=httpx.Limits(max_keepalive_connections=0),
        cookies=CookieJar(DefaultCookiePolicy(allowed_domains=())),
    )


class Probe:
    """One port. Looks must not overlap: a page costs the rank milliseconds of the loop that sends its tokens."""

    def __init__(self, http: httpx.AsyncClient, url: str, settings: AgentSettings, metrics_url: str = "") -> None:
        """`metrics_url` is where the page is, if not on the port itself."""
        self._http = http
        self._url = url
        self._metrics_url = metrics_url or url
        self._is_paired = settings.role is not Role.MIXED or bool(settings.kv_connector)
        self._deadline_s = settings.probe_timeout_ms / 1e3
        self._warm_up_deadline_s = settings.warmup_timeout_ms / 1e3
        self._key = {"authorization": f"Bearer {settings.rank_api_key}"} if settings.rank_api_key else {}

    @overload
    async def look(self) -> PageEvidence: ...
    @overload
    async def look(self, *, at_page: bool) -> Evidence: ...
    async def look(self, *, at_page: bool = True) -> Evidence:
        """`/health`, then `/metrics` unless it is not to be looked `at_page`; raises nothing of httpx."""
        from_s, connection = time.monotonic(), _Connection()
        try:
            health = await self._get("/health", _LARGEST_ANSWER_BYTES, trace=connection.trace)
            if health.status == httpx.codes.SERVICE_UNAVAILABLE:
                return EngineDead()
            if not at_page:
                is_broken = httpx.codes.is_server_error(health.status)
                return Broken(f"/health answers {health.status}") if is_broken else Healthy(from_s)
            asked_at_s = time.monotonic()
            answer = await self._get(_METRICS, _LARGEST_PAGE_BYTES, trace=connection.trace)
            broken = Broken(f"/health answers {health.status}, /metrics {answer.status}")
            if httpx.codes.is_server_error(health.status) or not answer.is_success:
                return broken
            page = parse_metrics(answer.body)
            # FastDeploy tells with a 404 or a 304 that its workers are dead; a vLLM without the route is judged by
            # its page alone.
            return broken if page.is_fastdeploy and not health.is_success else Answered(page, asked_at_s)
        except (httpx.HTTPError, TimeoutError, AnswerError, PageError) as error:
            if isinstance(error, TimeoutError) and connection.is_taken:
                return Unanswered(_named(error), from_s, time.monotonic())
            return _evidence_of(error)

    async def describe(self) -> Description:
        """`/version` and `/v1/models`. Raises DiscoveryError when one is not answered as vLLM does.

        A rank that is never paired may have no version, as FastDeploy has none: it is for pairs to agree in.
        """
        try:
            version = (await self._fetch("/version", VersionAnswer)).version
        except NoSuchRouteError:
            if self._is_paired:
                raise
            version = ""
        models = await self._fetch("/v1/models", ModelList)
        return Description(version, models.data)

    async def warm_up(self, card: RankCard) -> None:
        """One small completion on the card's engine. Raises WarmUpError unless it succeeds."""
        await self._complete(card, "warm-up", max_tokens=1 if card.role is Role.PREFILL else 8)

    async def kv_of_push(self, card: RankCard) -> KvAddress:
        """Where a rank of NIXL's push says it has KV, in its answer to the smallest prefill leg there is.

        Its one block is held until its lease ends. Raises WarmUpError and DiscoveryError.
        """
        transfer_id = f"forebay-{secrets.token_hex(8)}"
        params = {"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": transfer_id}
        answer = await self._complete(card, "the request for its KV address", max_tokens=1, kv_transfer_params=params)
        return kv_discovery.of_push(answer, host_of(card.endpoint))

    async def kv_of_mooncake(self, card: RankCard, port: int) -> KvAddress:
        """What the bootstrap server of a rank of Mooncake says of it. Raises DiscoveryError."""
        parts = urlsplit(self._url)
        url = parts._replace(scheme="http", netloc=f"{parts.netloc.rpartition(':')[0]}:{port}").geturl()
        with _translated(DiscoveryError, f"the bootstrap server {url}"):
            async with asyncio.timeout(self._deadline_s):
                answer = await self._ask("GET", "/query", _LARGEST_ANSWER_BYTES, {}, at=url)
        if not answer.is_success:
            raise DiscoveryError(f"the bootstrap server {url} answers {answer.status}")
        return kv_discovery.of_mooncake(answer.body, url, card.local_index or 0)

    async def _complete(self, card: RankCard, what: str, **fields: Any) -> bytes:
        """The answer to a small completion on the card's engine. Raises WarmUpError unless it succeeds."""
        headers = dict(self._key)
        if card.local_index is not None:
            headers["x-data-parallel-rank"] = str(card.local_index)
        body = {"model": card.model, "prompt": "The basin in front of the turbines", "temperature": 0, **fields}
        with _translated(WarmUpError, what):
            async with asyncio.timeout(self._warm_up_deadline_s):
                answer = await self._ask("POST", "/v1/completions", _LARGEST_ANSWER_BYTES, headers, json=body)
        if not answer.is_success:
            raise WarmUpError(f"{what} answers {answer.status}: {answer.body[:200].decode(errors='replace')}")
        return answer.body

    async def _fetch(self, path: str, kind: type[Decoded]) -> Decoded:
        with _translated(DiscoveryError, path):
            answer = await self._get(path, _LARGEST_ANSWER_BYTES, self._key)
        if answer.status == httpx.codes.UNAUTHORIZED:
            raise DiscoveryError(f"{path} wants a key; give --rank-api-key")
        if answer.status == httpx.codes.NOT_FOUND:
            raise NoSuchRouteError(f"{path} answers {answer.status}")
        if not answer.is_success:
            raise DiscoveryError(f"{path} answers {answer.status}")
        try:
            return msgspec.json.decode(answer.body, type=kind)
        except (ValueError, RecursionError) as error:
            raise DiscoveryError(f"{path} is not what vLLM answers: {error}") from error

    async def _get(
        self, path: str, largest_bytes: int, headers: Mapping[str, str] = MappingProxyType({}), **extensions: Any
    ) -> Answer:
        async with asyncio.timeout(self._deadline_s):
            return await self._ask("GET", path, largest_bytes, headers, extensions=extensions)

    async def _ask(
        self, method: str, path: str, largest_bytes: int, headers: Mapping[str, str], *, at: str = "", **more: Any
    ) -> Answer:
        """The whole answer, in the time that the caller gives; `at` another server than the rank's, if there is a URL.

        Raises AnswerError and what httpx raises.
        """
        # Encoded, an answer could be a thousand times longer than what is counted. httpx's own timeouts are per read;
        # an answer that trickles in must meet the deadline as a whole.
        headers = {"accept-encoding": "identity", **headers}
        url = f"{at or (self._metrics_url if path == _METRICS else self._url)}{path}"
        async with self._http.stream(method, url, headers=headers, timeout=None, **more) as answer:
            encoding = answer.headers.get("content-encoding", "identity")
            if encoding != "identity":
                raise AnswerError(f"{path} answers in content-encoding {encoding[:40]}, which was not asked for")
            body = bytearray()
            async for piece in answer.aiter_raw():
                body += piece
                if len(body) > largest_bytes:
                    raise AnswerError(f"{path} answers more than {largest_bytes} bytes")
            return Answer(answer.status_code, bytes(body))


class _Connection:
    """Whether the port took the last connection; `trace` hears of it as httpx's extension of that name."""

    def __init__(self) -> None:
        self.is_taken = False

    async def trace(self, event: str, _details: Mapping[str, Any]) -> None:
        if event.startswith("connection.connect_tcp."):
            self.is_taken = event.endswith(".complete")


@contextmanager
def _translated(kind: type[DiscoveryError | WarmUpError], what: str) -> Iterator[None]:
    try:
        yield
    except AnswerError as error:
        raise kind(str(error)) from error
    except (httpx.HTTPError, TimeoutError) as error:
        raise kind(f"{what}: {_named(error)}") from error


def _evidence_of(error: httpx.HTTPError | TimeoutError | AnswerError | PageError) -> Evidence:
    match error:
        case httpx.ConnectError() if _is_refusal(error):
            return Refused()
        case httpx.ConnectError() if "SSL" in str(error):  # gateways will not send it anything either
            return Broken(_named(error))
        case httpx.ConnectError() | httpx.TimeoutException() | TimeoutError():
            return Silent(_named(error))
        case AnswerError() | PageError():
            return Broken(str(error))
        case _:
            return Broken(_named(error))


def _is_refusal(error: BaseException | None) -> bool:
    """Whether every address of the host refused; a host may have several, and their errors come as a group."""
    while error is not None:
        if isinstance(error, BaseExceptionGroup):
            return all(_is_refusal(inner) for inner in error.exceptions)
        if isinstance(error, ConnectionRefusedError):
            return True
        error = error.__cause__ or error.__context__
    return False


def _named(error: BaseException) -> str:
    return f"{type(error).__name__} {error}".strip()
