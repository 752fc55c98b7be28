"""What the requests of one gateway process share; nothing here is needed by another gateway."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager

import anyio

from gateway import api_key_sources
from gateway.access import RequestRecord
from gateway.allowed_kv import AllowedKv
from gateway.auth import KeyRing
from gateway.errands import Errands
from gateway.errors import (
    AmbiguousModelError,
    DeadlineExceededError,
    GatewayError,
    NoRankError,
    ShuttingDownError,
    UnknownModelError,
    quoted,
)
from gateway.hedging import Hedging
from gateway.kept_responses import KeptResponses
from gateway.lost_ranks import LostRanks
from gateway.metaserver import Metaserver
from gateway.metrics import Metrics, StateCollector
from gateway.patience import Patience
from gateway.placing import Pool, Pools
from gateway.prompt import Prompt
from gateway.rank_ports import RankPorts
from gateway.rank_wait import RankWait
from gateway.readiness import Readiness
from gateway.retry_budget import RetryBudget
from gateway.retry_metrics import RetryMetrics
from gateway.settings import GatewaySettings
from gateway.site import Site
from gateway.upstream import Upstream
from gateway.usage import Usage
from scheduler.estimates import TokenEstimator
from scheduler.limits import SharedLimits

RETRY_AFTER_MS = 1_000
"""When to come back to a gateway that has no rank: about how long a rank's first report takes to be seen."""


class Gateway:
    """Pools, connections, keys, metrics and the requests alive. `name` is this gateway's in the store: its life, `@`,
    and where ranks and other gateways reach it.
    """

    def __init__(
        self,
        settings: GatewaySettings,
        pools: Pools,
        upstream: Upstream,
        *,
        limits: SharedLimits,
        name: str,
        started_s: int,
    ) -> None:
        self.settings = settings
        self.pools = pools
        self.upstream = upstream
        self.name = name
        self.started_s = started_s
        life, _, address = name.partition("@")
        self.metaserver = Metaserver(life, settings.scheme, address)
        self.keys = KeyRing(
            settings.api_key,
            settings.admin_key,
            api_key_sources.named(settings),
            local_admin=settings.local_admin,
        )
        self.limits = limits
        self.metrics = Metrics()
        self.errands = Errands()
        self.rank_wait = RankWait(settings.rank_wait_ms / 1000, self.metrics.registry)
        self.kept = KeptResponses(pools, self.metrics, self.errands, settings.response_ttl_s, self.rank_wait)
        self.lost_ranks = LostRanks(time.monotonic)
        self.retry_budget = RetryBudget(time.monotonic)
        self.hedging = Hedging() if settings.hedge else None
        self.retry_metrics = RetryMetrics(self.metrics.registry)
        self.readiness = Readiness(pools, self.keys, self.rank_wait, settings.pool_name)
        self.metrics.registry.register(StateCollector(pools, self.metrics.placements, self.held, limits))
        self.metrics_page: Callable[[], Awaitable[bytes]] = self._own_metrics_page
        """What /metrics shows. One of several workers shows what all of them have counted."""
        self.site: Site | None = None
        """What answers for its ranks as a whole, if whoever started it does."""
        self.patience = Patience(settings.client_idle_ms / 1000)
        self.allowed_kv = AllowedKv(settings.allow_ranks)
        self.rank_ports = RankPorts(settings.ports_of_ranks, pools)
        self.stopping = False
        """Whether it is to end; its requests may still run on."""
        self.is_cutting = False
        """Whether they may not."""
        self._estimators: defaultdict[str, TokenEstimator] = defaultdict(TokenEstimator)
        self._alive: set[anyio.CancelScope] = set()
        self._idle = anyio.Event()

    def held(self) -> dict[str, int]:
        """What this gateway holds of others': reservations in the ledger, requests open at ranks."""
        return {"reservations": self.pools.reservations, "rank_requests_open": self.upstream.open_requests}

    async def _own_metrics_page(self) -> bytes:
        return self.metrics.page()

    @property
    def alive(self) -> int:
        """How many requests for ranks are being served."""
        return len(self._alive)

    async def pool_for(self, model: str | None, record: RequestRecord) -> Pool:
        """The pool of a request, as soon as it is known which there are; it may have lost its ranks a moment ago.

        Raises AmbiguousModelError, UnknownModelError, NoRankError.
        """
        await self.readiness.of_pools(record)
        if sole := self.settings.pool_name:
            return self._sole_pool(sole)
        if not model:  # to vLLM an empty name is none
            names = self.pools.names() or self.pools.known_names()
            if len(names) > 1:
                known = ", ".join(sorted(names))
                raise AmbiguousModelError(f"`model` is required; it may be one of: {known}.", param="model")
            if not names:
                raise NoRankError("No model is being served now", retry_after_ms=RETRY_AFTER_MS)
            model = names[0]
        pool = self.pools.known(model)
        if pool is None:
            known = ", ".join(sorted(self.pools.known_names())) or "none"
            raise UnknownModelError(
                f"The model `{quoted(model)}` does not exist. Valid aliases: {known}.", param="model"
            )
        return pool

    def _sole_pool(self, name: str) -> Pool:
        if pool := self.pools.known(name):
            return pool
        raise NoRankError("No model is being served now", retry_after_ms=RETRY_AFTER_MS)

    def estimator(self, pool: Pool) -> TokenEstimator:
        """What has been learned of a pool's tokens."""
        return self._estimators[pool.name]

    def learn(self, pool: Pool, learned_as: str, asked: Prompt, usage: Usage, *, answers: int) -> None:
        """Learn from what an engine counted of a request, its completion tokens over so many `answers` together."""
        completion_tokens = usage.completion_tokens // answers
        self.estimator(pool).observe(learned_as, asked.text_bytes, usage.prompt_tokens, completion_tokens)

    @contextmanager
    def living(self, timeout_s: float | None, *, since_s: float) -> Iterator[None]:
        """The life of a request that came at `since_s`, in monotonic seconds.

        Raises DeadlineExceededError `timeout_s` after that, or when the life of any request ends, whichever is first;
        ShuttingDownError when cut.
        """
        if (ttl_s := self.settings.request_ttl_s) and (timeout_s is None or ttl_s < timeout_s):
            timeout_s = ttl_s
        left_s = None if timeout_s is None else since_s + timeout_s - time.monotonic()
        with anyio.move_on_after(left_s) as scope:
            self._alive.add(scope)
            try:
                yield
            finally:
                self._alive.discard(scope)
                if not self._alive:
                    self._idle.set()
        if scope.cancelled_caught:
            raise self._reason_to_cut(timeout_s)

    def _reason_to_cut(self, timeout_s: float | None) -> GatewayError:
        if self.is_cutting:
            return ShuttingDownError("This gateway is shutting down", retry_after_ms=RETRY_AFTER_MS)
        return DeadlineExceededError(f"The request took longer than the {timeout_s:g} s it was given")

    async def until_idle(self) -> None:
        """Return when no request is alive."""
        while self._alive:
            self._idle = anyio.Event()
            await self._idle.wait()

    def cut_all(self) -> None:
        """End every request that is still alive; each tells its client, as far as it still can."""
        self.stopping = self.is_cutting = True
        for scope in self._alive:
            scope.cancel()
