"""Sentinel makes a replica that had fallen behind the master: requests are served, streams go on, the ledger is put
right, and the old master comes back as a replica unnoticed.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator

import pytest

from tests.e2e.outages.outage import undergo, until_agreed
from tests.e2e.outages.site import Site, site_on
from tests.sentinel_trio import SentinelTrio, sentinel_trio
from tests.servers import needs_redis

pytestmark = needs_redis

BEHIND_S = 1.0
"""For how long what is acknowledged does not reach the replica."""


class Scene:
    """A site, and the trio it finds its store by."""

    def __init__(self, site: Site, trio: SentinelTrio) -> None:
        self.site, self.trio = site, trio


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        sentinel_trio(tmp_path_factory.mktemp("trio")) as trio,
        site_on(tmp_path_factory.mktemp("site"), lambda: (trio.url, None)) as site,
    ):
        yield Scene(site, trio)


def an_operator_s_command(scene: Scene) -> None:
    before = scene.trio.master
    scene.trio.fail_over()
    scene.trio.until_failed_over(before)


def the_master_s_freeze(scene: Scene) -> None:
    """It still believes that it is the master when it thaws."""
    before = scene.trio.master
    os.kill(before.pid, signal.SIGSTOP)
    try:
        scene.trio.until_failed_over(before)
    finally:
        os.kill(before.pid, signal.SIGCONT)


def the_master_s_death(scene: Scene) -> None:
    before = scene.trio.master
    before.stop()
    scene.trio.until_failed_over(before)
    before.start()


@pytest.mark.parametrize(
    "failover",
    [an_operator_s_command, the_master_s_freeze, the_master_s_death],
    ids=lambda failover: failover.__name__,
)
def test_requests_and_streams_go_on_and_the_ledger_is_exact_after_a_failover_by(
    scene: Scene, failover: Callable[[Scene], None]
) -> None:
    old_master = scene.trio.master

    def fault() -> None:
        scene.trio.let_the_replica_fall_behind()
        time.sleep(BEHIND_S)
        failover(scene)

    undergo(scene.site, scene.trio.client, fault)
    scene.trio.until_replica(old_master)
    until_agreed(scene.site, scene.trio.client)
