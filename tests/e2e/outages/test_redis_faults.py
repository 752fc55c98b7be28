"""A Redis that dies, forgets, freezes, is cut off or refuses: requests are served, streams go on, the ledger is put
right.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from threading import Thread

import pytest
import redis

from tests.e2e.outages.outage import undergo
from tests.e2e.outages.site import Site, linked_site
from tests.ports import HOST, free_port
from tests.servers import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

CUT_S = 2.0
FREEZE_S = 5.0
OTHERS = 40
SLOW_LOADING = ("--key-load-delay", "20000", "--loading-process-events-interval-bytes", "1024")
"""20 ms for each key."""
PAUSE_MS = 60_000
"""Longer than any test waits; it is ended before."""
REFUSED_S = 0.7
SPIN = "while true do end"


class Scene:
    """A site, its Redis, and a client of that."""

    def __init__(self, site: Site, server: RedisServer, client: redis.Redis) -> None:
        self.site, self.server, self.client = site, server, client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("redis")
    with (
        redis_server(folder, *SLOW_LOADING) as server,
        linked_site(tmp_path_factory.mktemp("site"), server) as site,
        server.client() as client,
    ):
        yield Scene(site, server, client)


def dies_and_comes_back_empty(scene: Scene) -> None:
    scene.server.stop()
    scene.site.until_degraded()
    scene.server.start()


def dies_and_comes_back_as_it_was_a_second_ago(scene: Scene) -> None:
    """It loads its file for another one, and answers meanwhile that it does."""
    scene.client.mset({f"other:{number}": os.urandom(2_000) for number in range(OTHERS)})
    scene.client.save()
    time.sleep(1)
    scene.server.stop()
    scene.site.until_degraded()
    scene.server.start()
    scene.client.delete(*(f"other:{number}" for number in range(OTHERS)))
    (scene.server.folder / "dump.rdb").unlink()


def is_frozen(scene: Scene) -> None:
    os.kill(scene.server.pid, signal.SIGSTOP)
    try:
        time.sleep(FREEZE_S)
        scene.site.until_degraded()
    finally:
        os.kill(scene.server.pid, signal.SIGCONT)


def is_cut_off_from_one_gateway(scene: Scene) -> None:
    """For a lease's length."""
    gateway = scene.site.gateways[0]
    assert gateway.link
    gateway.link.cut()
    time.sleep(CUT_S)
    scene.site.until_degraded(gateway)
    gateway.link.mend()


def is_cut_off_from_all(scene: Scene) -> None:
    for link in scene.site.links:
        link.cut()
    scene.site.until_degraded()
    time.sleep(CUT_S)
    for link in scene.site.links:
        link.mend()


def has_its_connections_reset(scene: Scene) -> None:
    for _ in range(5):
        for link in scene.site.links:
            link.reset()
        time.sleep(0.1)


def is_slow(scene: Scene) -> None:
    for link in scene.site.links:
        link.slow(0.1)
    scene.site.until_degraded()
    time.sleep(1)
    for link in scene.site.links:
        link.mend()


def pauses_its_clients(scene: Scene) -> None:
    """All that writes, scripts too."""
    scene.client.client_pause(PAUSE_MS, all=False)
    scene.site.until_degraded()
    scene.client.client_unpause()


def forgets_its_scripts(scene: Scene) -> None:
    for _ in range(20):
        scene.client.script_flush()
        time.sleep(0.05)


def is_full(scene: Scene) -> None:
    with configured(scene.client, maxmemory="1"):
        scene.site.until_degraded()
        time.sleep(REFUSED_S)


def loses_all_its_keys(scene: Scene) -> None:
    for _ in range(2):
        scene.client.flushall()
        time.sleep(0.3)


def is_busy_with_somebody_s_script(scene: Scene) -> None:
    with configured(scene.client, **{"busy-reply-threshold": "50"}), redis.Redis(HOST, scene.server.port) as other:
        spinning = Thread(target=spin, args=(other,))
        spinning.start()
        scene.site.until_degraded()
        scene.client.script_kill()
        spinning.join()


def spin(client: redis.Redis) -> None:
    """Until somebody kills the script."""
    with suppress(redis.ResponseError):
        client.eval(SPIN, 0)


def lacks_replicas(scene: Scene) -> None:
    with configured(scene.client, **{"min-replicas-to-write": "1"}):
        scene.site.until_degraded()
        time.sleep(REFUSED_S)


def is_demoted_and_promoted(scene: Scene) -> None:
    scene.client.execute_command("REPLICAOF", HOST, free_port())  # type: ignore[no-untyped-call]
    scene.site.until_degraded()
    time.sleep(REFUSED_S)
    scene.client.execute_command("REPLICAOF", "NO", "ONE")  # type: ignore[no-untyped-call]


@contextmanager
def configured(client: redis.Redis, **options: str) -> Iterator[None]:
    before: dict[str, str] = {name: client.config_get(name)[name] for name in options}  # type: ignore[misc]
    for name, value in options.items():
        client.config_set(name, value)
    try:
        yield
    finally:
        for name in options:
            client.config_set(name, before[name])


FAULTS: list[Callable[[Scene], None]] = [
    dies_and_comes_back_empty,
    dies_and_comes_back_as_it_was_a_second_ago,
    is_frozen,
    is_cut_off_from_one_gateway,
    is_cut_off_from_all,
    has_its_connections_reset,
    is_slow,
    pauses_its_clients,
    forgets_its_scripts,
    is_full,
    loses_all_its_keys,
    is_busy_with_somebody_s_script,
    lacks_replicas,
    is_demoted_and_promoted,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda fault: fault.__name__)
def test_requests_and_streams_go_on_and_the_ledger_is_exact_when_redis(
    scene: Scene, fault: Callable[[Scene], None]
) -> None:
    undergo(scene.site, scene.client, lambda: fault(scene))
