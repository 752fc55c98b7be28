"""Asks one rank's port over HTTP and says what came of it. Thin: health.py and discovery.py judge."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TypeVar

import httpx
import msgspec

from agent.discovery import Description, ModelList, VersionAnswer
from agent.errors import DiscoveryError, PageError, WarmUpError
from agent.evidence import Answered, Broken, EngineDead, Evidence, Refused, Silent
from agent.metrics_page import parse_metrics
from agent.settings import AgentSettings
from scheduler.messages import RankCard, Role

Answer = TypeVar("Answer")


def open_http() -> httpx.AsyncClient:
    """The client all probes of one agent share: no proxy, and no kept connection, so each look proves a listener."""
    return httpx.AsyncClient(trust_env=False, limits=httpx.Limits(max_keepalive_connections=0))


class Probe:
    """One port. Its methods must not overlap: a page costs the rank milliseconds of the loop that sends its tokens."""

    def __init__(self, http: httpx.AsyncClient, url: str, settings: AgentSettings) -> None:
        self._http = http
        self._url = url
        self._deadline_s = settings.probe_timeout_ms / 1e3
        self._warm_up_deadline_s = settings.warmup_timeout_ms / 1e3
        self._key = {"authorization": f"Bearer {settings.rank_api_key}"} if settings.rank_api_key else {}

    async def look(self) -> Evidence:
        """`/health`, then `/metrics`; raises nothing of httpx."""
        try:
            health = await self._get("/health")
            if health.status_code == httpx.codes.SERVICE_UNAVAILABLE:
                return EngineDead()
            asked_at_s = time.monotonic()
            page = await self._get("/metrics")
        except (httpx.HTTPError, TimeoutError) as error:
            return _evidence_of(error)
        if health.is_server_error or not page.is_success:
            return Broken(f"/health answers {health.status_code}, /metrics {page.status_code}")
        try:
            return Answered(parse_metrics(page.content), asked_at_s)
        except PageError as error:
            return Broken(str(error))

    async def describe(self) -> Description:
        """`/version` and `/v1/models`. Raises DiscoveryError when one is not answered as vLLM does."""
        version = await self._fetch("/version", VersionAnswer)
        models = await self._fetch("/v1/models", ModelList)
        return Description(version.version, models.data)

    async def warm_up(self, card: RankCard) -> None:
        """One small completion on the card's engine. Raises WarmUpError unless it answers 200."""
        headers = dict(self._key)
        if card.local_index is not None:
            headers["x-data-parallel-rank"] = str(card.local_index)
        body = {
            "model": card.model,
            "prompt": "The basin in front of the turbines",
            "temperature": 0,
            "max_tokens": 1 if card.role is Role.PREFILL else 8,
        }
        with _translated(WarmUpError, "warm-up"):
            async with asyncio.timeout(self._warm_up_deadline_s):
                answer = await self._http.post(f"{self._url}/v1/completions", json=body, headers=headers, timeout=None)
        if not answer.is_success:
            raise WarmUpError(f"warm-up answers {answer.status_code}: {answer.text[:200]}")

    async def _fetch(self, path: str, kind: type[Answer]) -> Answer:
        with _translated(DiscoveryError, path):
            answer = await self._get(path, self._key)
        if answer.status_code == httpx.codes.UNAUTHORIZED:
            raise DiscoveryError(f"{path} wants a key; give --rank-api-key")
        if not answer.is_success:
            raise DiscoveryError(f"{path} answers {answer.status_code}")
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except (ValueError, RecursionError) as error:
            raise DiscoveryError(f"{path} is not what vLLM answers: {error}") from error

    async def _get(self, path: str, headers: dict[str, str] | None = None) -> httpx.Response:
        # httpx's own timeouts are per read; a page that trickles in must meet the deadline as a whole.
        async with asyncio.timeout(self._deadline_s):
            return await self._http.get(f"{self._url}{path}", headers=headers, timeout=None)


@contextmanager
def _translated(kind: type[DiscoveryError | WarmUpError], what: str) -> Iterator[None]:
    try:
        yield
    except (httpx.HTTPError, TimeoutError) as error:
        raise kind(f"{what}: {_named(error)}") from error


def _evidence_of(error: httpx.HTTPError | TimeoutError) -> Evidence:
    match error:
        case httpx.ConnectError() if _is_refusal(error):
            return Refused()
        case httpx.ConnectError() | httpx.TimeoutException() | TimeoutError():
            return Silent(_named(error))
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
