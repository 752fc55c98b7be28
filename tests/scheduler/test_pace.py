"""How often a pool of a given size is told of and read."""

from __future__ import annotations

import pytest

from scheduler.pace import report_interval_ms, snapshot_interval_ms
from scheduler.reporter import Reporter
from simulator.store import VirtualStore
from tests.samples import card, report
from tests.scheduler.scene import SETTINGS


@pytest.mark.parametrize(("ranks", "interval_ms"), [(0, 250), (1_000, 250), (1_001, 1_000), (10_000, 1_000)])
def test_a_large_pool_is_read_less_often(ranks: int, interval_ms: int) -> None:
    assert snapshot_interval_ms(ranks, 250) == interval_ms


def test_a_pool_that_is_read_seldom_anyway_is_not_read_more_often_for_being_large() -> None:
    assert snapshot_interval_ms(2_000, 60_000) == 60_000


@pytest.mark.parametrize(("ranks", "interval_ms"), [(0, 50), (250, 50), (1_000, 200), (5_000, 1_000), (50_000, 1_000)])
def test_a_node_of_a_large_pool_reports_changes_less_often_but_every_second(ranks: int, interval_ms: int) -> None:
    assert report_interval_ms(ranks) == interval_ms


async def test_a_node_is_told_the_interval_for_the_whole_pool() -> None:
    store = VirtualStore()
    for node in ("n1", "n2"):
        names = [f"{node}:{port}" for port in range(250)]
        reporter = Reporter(store, pool="m", node=node, settings=SETTINGS)
        reply = await reporter.report([report(name) for name in names], {name: card(name) for name in names})
    assert reply.interval_ms == report_interval_ms(500)
