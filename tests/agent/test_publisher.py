import asyncio
import logging
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import msgspec
import pytest

from agent.discovery import rank_card
from agent.node_report import NodeReport
from agent.publisher import Publisher
from agent.targets import Target
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.messages import Clash, RankReport, RankState
from tests.agent.fakes import RecordingReporter
from tests.agent.samples import ABOUT, engine, settings
from tests.polling import until
from tests.samples import report

CARD = rank_card("r", Target("h", 1), engine(), "p1", ABOUT, settings())
UP = report("r", incarnation="p1")
NEVER_MS = 3_600_000


class Node:
    """A publisher, the store behind it and the report it takes."""

    def __init__(self, heartbeat_ms: int) -> None:
        self.reporter = RecordingReporter()
        self.accepted: list[frozenset[str]] = []
        self.report = NodeReport((UP,), {"r": CARD}, {})
        self.taken = 0
        self.publisher = Publisher(
            self.reporter,
            self._take,
            node="node-a",
            heartbeat_ms=heartbeat_ms,
            answered=lambda _, answer: self.accepted.append(answer.taken),
        )

    def _take(self) -> NodeReport:
        self.taken += 1
        return self.report

    def says(self, *reports: RankReport, because: str = "") -> None:
        down = {report.rank: because for report in reports if report.state is RankState.DOWN}
        self.report = NodeReport(reports, {report.rank: CARD for report in reports}, down)
        self.publisher.changed()


@asynccontextmanager
async def publishing(heartbeat_ms: int = NEVER_MS) -> AsyncIterator[Node]:
    node = Node(heartbeat_ms)
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(node.publisher.run())
        yield node
        task.cancel()


async def test_all_ranks_of_a_node_go_in_one_call() -> None:
    async with publishing() as node:
        node.says(UP, msgspec.structs.replace(UP, rank="s"))
        await until(lambda: bool(node.reporter.told), "a report is stored")
        assert node.reporter.last.keys() == {"r", "s"}
        assert node.reporter.cards.keys() == {"r", "s"}


async def test_a_change_is_told_without_waiting_for_the_heartbeat() -> None:
    async with publishing() as node:
        await until(lambda: node.reporter.last == {"r": UP}, "the first report is stored")
        busy = msgspec.structs.replace(UP, running=3)
        node.says(busy)
        await until(lambda: node.reporter.last == {"r": busy}, "the change is stored")


async def test_news_that_is_none_waits_for_the_heartbeat() -> None:
    async with publishing() as node:
        await until(lambda: node.reporter.attempts == 1, "a report is sent")
        node.says(msgspec.structs.replace(UP, age_ms=9))
        looked = node.taken
        await until(lambda: node.taken > looked, "the news is looked at")
        assert node.reporter.attempts == 1


async def test_a_node_told_to_report_next_year_goes_on_all_the_same() -> None:
    async with publishing(heartbeat_ms=50) as node:
        node.reporter.interval_ms = 31_536_000_000
        await until(lambda: bool(node.reporter.told), "a report is stored")
        node.says(msgspec.structs.replace(UP, running=3))
        await until(lambda: node.reporter.last["r"].running == 3, "load is told")
        node.says(msgspec.structs.replace(UP, state=RankState.DOWN))
        await until(lambda: node.reporter.last["r"].state is RankState.DOWN, "health is told")


async def test_an_unchanged_node_is_told_again_by_heartbeat() -> None:
    async with publishing(heartbeat_ms=50) as node:
        await until(lambda: len(node.reporter.told) >= 3, "heartbeats are stored")


async def test_a_node_without_known_ranks_says_nothing() -> None:
    async with publishing(heartbeat_ms=50) as node:
        node.says()
        looked = node.taken
        await until(lambda: node.taken > looked + 2, "heartbeats are due")
        assert node.reporter.attempts == 0


async def test_a_store_that_is_away_costs_two_lines_and_is_told_at_its_return(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with publishing(heartbeat_ms=50) as node:
        await until(lambda: bool(node.reporter.told), "a report is stored")
        node.reporter.fault = StoreUnavailableError("connection refused")
        seen = node.reporter.attempts
        await until(lambda: node.reporter.attempts >= seen + 3, "the report is tried again")
        node.says(msgspec.structs.replace(UP, running=5))
        node.reporter.fault = None
        await until(lambda: node.reporter.last["r"].running == 5, "the last state is stored")
    about_store = [record.message for record in caplog.records if "node node-a" in record.message]
    assert about_store == [
        "node node-a cannot report: connection refused; going on without and trying again",
        "node node-a reports again",
    ]


async def test_each_reason_why_a_store_is_away_is_told_once(caplog: pytest.LogCaptureFixture) -> None:
    async with publishing(heartbeat_ms=50) as node:
        await until(lambda: bool(node.reporter.told), "a report is stored")
        for reason in ("the connection was reset", "wrong password", "the connection was reset"):
            node.reporter.fault = StoreUnavailableError(reason)
            seen = node.reporter.attempts
            await until(lambda seen=seen: node.reporter.attempts >= seen + 2, "it is tried again")  # type: ignore[misc]
    told = [record.message for record in caplog.records if "cannot report" in record.message]
    assert [line.split(": ")[1].partition(";")[0] for line in told] == ["the connection was reset", "wrong password"]


async def test_a_store_that_never_had_us_ends_the_agent() -> None:
    node = Node(NEVER_MS)
    node.reporter.fault = StoreRejectedError("wrong password")
    with pytest.raises(StoreRejectedError, match="wrong password"):
        await node.publisher.run()


async def test_a_store_that_had_us_before_is_asked_again() -> None:
    async with publishing(heartbeat_ms=50) as node:
        await until(lambda: bool(node.reporter.told), "a report is stored")
        node.reporter.fault = StoreRejectedError("no permission")
        seen = node.reporter.attempts
        await until(lambda: node.reporter.attempts >= seen + 2, "the report is tried again")
        node.reporter.fault = None
        told = len(node.reporter.told)
        await until(lambda: len(node.reporter.told) > told, "reports are stored again")


async def test_a_refused_rank_is_named_with_both_agents_once_and_the_others_go_on(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with publishing(heartbeat_ms=50) as node:
        node.reporter.refuse = {"r": "node-b"}
        node.says(UP, msgspec.structs.replace(UP, rank="s"))
        await until(lambda: len(node.accepted) >= 3, "reports are answered")
        assert node.accepted[-1] == {"s"}
        node.reporter.refuse = {}
        await until(lambda: node.accepted[-1] == {"r", "s"}, "both ranks are accepted")
    claims = [record.message for record in caplog.records if "claimed" in record.message or "now" in record.message]
    assert claims == [
        "rank r is claimed by agent node-b; this agent, node-a, is refused and keeps trying",
        "rank r is now agent node-a's",
    ]


async def test_a_rank_that_goes_down_is_logged_with_the_reason(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with publishing() as node:
        await until(lambda: bool(node.reporter.told), "a report is stored")
        node.says(msgspec.structs.replace(UP, state=RankState.DOWN), because="connection refused")
        await until(lambda: node.reporter.last["r"].state is RankState.DOWN, "the rank is down")
    assert "rank r is down: connection refused (incarnation p1)" in caplog.messages


async def test_each_reason_why_a_rank_stays_down_is_logged_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    down = msgspec.structs.replace(UP, state=RankState.DOWN)
    async with publishing(heartbeat_ms=50) as node:
        for reason in ("connection refused", "certificate verify failed", "connection refused"):
            told = len(node.reporter.told)
            node.says(down, because=reason)
            await until(lambda told=told: len(node.reporter.told) >= told + 2, "it is told")  # type: ignore[misc]
        node.says(UP)
        await until(lambda: node.reporter.last["r"] == UP, "the rank is up")
        node.says(down, because="connection refused")
        await until(lambda: node.reporter.last["r"] == down, "it is down again")
    assert [line.removesuffix(" (incarnation p1)") for line in caplog.messages if line.startswith("rank r is ")] == [
        "rank r is down: connection refused",
        "rank r is down: certificate verify failed",
        "rank r is up",
        "rank r is down: connection refused",
    ]


async def test_a_rank_with_what_another_one_has_is_named_with_it_once_and_not_accepted(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with publishing(heartbeat_ms=50) as node:
        node.reporter.clash = {"r": Clash("other:9000", "kv engine id e-1")}
        await until(lambda: node.reporter.attempts >= 3, "it is tried again")
        node.reporter.clash = {}
        await until(lambda: node.accepted[-1:] == [frozenset({"r"})], "it is accepted")
    line = "rank r has the kv engine id e-1 that rank other:9000 has already; it is refused, and tried again"
    assert caplog.messages.count(line) == 1


async def test_whose_a_rank_is_was_told_once_the_store_has_answered_or_cannot_be_asked() -> None:
    async with publishing() as node:
        assert not node.publisher.has_told("r", "p1")
        await until(lambda: node.publisher.has_told("r", "p1"), "it was told")
        assert len(node.reporter.told) == 1
        assert not node.publisher.has_told("r", "p2")
        node.reporter.fault = StoreUnavailableError("away")
        node.says(report("r", incarnation="p2"))
        await until(lambda: node.publisher.has_told("r", "p2"), "the store is away")
        assert len(node.reporter.told) == 1
