"""Publishes what a node knows of its ranks, in one call for all of them, when report_timing.py says so."""

from __future__ import annotations

import asyncio
import logging
import random
import time
from collections.abc import Callable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import Protocol

from agent.claims import StoreAnswer
from agent.node_report import NodeReport
from agent.report_timing import LEAST_GAP_S, due_at_s, interval_s
from scheduler.errors import SchedulerError, StoreRejectedError
from scheduler.messages import Clash, RankCard, RankReport, RankState, ReportReply

log = logging.getLogger(__name__)
_GATHER_S = 0.01
_RETRY_S = (0.1, 0.5)


class NodeReporter(Protocol):
    """The store's side of one node (scheduler.reporter.Reporter)."""

    async def report(self, reports: Sequence[RankReport], cards: Mapping[str, RankCard]) -> ReportReply:
        """Store the reports. Raises SchedulerError when they were not stored."""
        ...

    async def goodbye(self) -> None:
        """Take the node's ranks out of the pool."""
        ...


class Publisher:
    """Sends `take()`'s reports while `run` runs; `answered` hears of each that was sent, and of the answer."""

    def __init__(
        self,
        reporter: NodeReporter,
        take: Callable[[], NodeReport],
        *,
        node: str,
        heartbeat_ms: int,
        answered: Callable[[NodeReport, StoreAnswer], None],
    ) -> None:
        self._reporter = reporter
        self._take = take
        self._node = node
        self._heartbeat_s = heartbeat_ms / 1e3
        self._interval_s = LEAST_GAP_S
        self._answered = answered
        self._changed = asyncio.Event()
        self._sent = NodeReport((), {}, {})
        self._refused: Mapping[str, str] = {}
        self._clashing: Mapping[str, Clash] = {}
        self._reasons: dict[str, set[str]] = {}
        self._complaints: set[str] = set()

    def has_told(self, rank: str, incarnation: str) -> bool:
        """Whether the store has answered a report of this life, or cannot be asked: its answer says whose it is."""
        known = any((r.rank, r.incarnation) == (rank, incarnation) for r in self._sent.reports)
        return known or bool(self._complaints)

    def changed(self) -> None:
        """The ranks may have changed: look soon."""
        self._changed.set()

    async def run(self) -> None:
        """Report until cancelled. The store being away delays reports, never ends them.

        Raises StoreRejectedError when the store never took a report of ours: a wrong password, most likely.
        """
        while True:
            report = self._take()
            if report.reports and not await self._send(report):
                await asyncio.sleep(random.uniform(*_RETRY_S))
                continue
            await self._wait_for_news(time.monotonic())

    async def _wait_for_news(self, sent_at_s: float) -> None:
        """Return when the next report is due."""
        await asyncio.sleep(LEAST_GAP_S)
        while (left_s := self._due_at_s(sent_at_s) - time.monotonic()) > 0:
            try:
                async with asyncio.timeout(left_s):
                    await self._changed.wait()
            except TimeoutError:
                return
            # Watchers look at the same moments; a short wait lets their news share one call.
            await asyncio.sleep(_GATHER_S)
            self._changed.clear()

    def _due_at_s(self, sent_at_s: float) -> float:
        latest = self._take()
        return due_at_s(
            self._sent, latest, sent_at_s=sent_at_s, heartbeat_s=self._heartbeat_s, wanted_s=self._interval_s
        )

    async def _send(self, report: NodeReport) -> bool:
        try:
            reply = await self._reporter.report(report.reports, report.cards)
        except SchedulerError as error:
            if isinstance(error, StoreRejectedError) and not self._sent.reports:
                raise
            if str(error) not in self._complaints:
                log.warning("node %s cannot report: %s; going on without and trying again", self._node, error)
            # What broke the connection may not be what keeps it from being made again.
            self._complaints.add(str(error))
            return False
        if self._complaints:
            log.info("node %s reports again", self._node)
        self._complaints.clear()
        self._interval_s = interval_s(reply.interval_ms)
        self._log_refusals(reply.refused)
        self._log_clashes(reply.clashing)
        refused = reply.refused.keys() | reply.clashing.keys()
        self._log_states(report, refused)
        self._sent = report
        taken = frozenset(r.rank for r in report.reports) - refused
        self._answered(report, StoreAnswer(taken, reply.refused, time.monotonic()))
        return True

    def _log_refusals(self, refused: Mapping[str, str]) -> None:
        for rank, other in refused.items():
            if self._refused.get(rank) != other:
                log.warning(
                    "rank %s is claimed by agent %s; this agent, %s, is refused and keeps trying",
                    rank, other, self._node,
                )  # fmt: skip
        for rank in self._refused.keys() - refused.keys():
            log.info("rank %s is now agent %s's", rank, self._node)
        self._refused = dict(refused)

    def _log_clashes(self, clashing: Mapping[str, Clash]) -> None:
        for rank, clash in clashing.items():
            if self._clashing.get(rank) != clash:
                log.warning(
                    "rank %s has the %s that rank %s has already; it is refused, and tried again",
                    rank, clash.what, clash.rank,
                )  # fmt: skip
        self._clashing = dict(clashing)

    def _log_states(self, report: NodeReport, refused: AbstractSet[str]) -> None:
        before = {r.rank: (r.state, r.incarnation) for r in self._sent.reports}
        for r in report.reports:
            is_new = before.get(r.rank) != (r.state, r.incarnation)
            because = report.because.get(r.rank, "")
            # A rank that is restarted is refused first, and may be kept down by something else, as its certificate.
            reasons = set[str]() if is_new else self._reasons.get(r.rank, set())
            is_other_reason = r.state is RankState.DOWN and because not in reasons
            if r.rank not in refused and (is_new or is_other_reason):
                reason = f": {because}" if because else ""
                log.info("rank %s is %s%s (incarnation %s)", r.rank, r.state, reason, r.incarnation)
            self._reasons[r.rank] = reasons | {because}
