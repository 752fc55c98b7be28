"""A gateway, an agent or a rank that is killed, or frozen for longer than a lease."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager, nullcontext

import pytest
import redis

from tests.e2e.outages.ledger import books_of
from tests.e2e.outages.live import live_streams
from tests.e2e.outages.outage import undergo, until_agreed, until_held
from tests.e2e.outages.site import Site, linked_site
from tests.e2e.outages.traffic import traffic_to
from tests.polling import until_now
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis

FREEZE_S = 3.0
"""More than a lease, and than agents keep their ranks claimed."""


class Scene:
    """A site, and a client of its Redis."""

    def __init__(self, site: Site, client: redis.Redis) -> None:
        self.site, self.client = site, client


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    with (
        redis_server(tmp_path_factory.mktemp("redis")) as server,
        linked_site(tmp_path_factory.mktemp("site"), server) as site,
        server.client() as client,
    ):
        yield Scene(site, client)


@contextmanager
def frozen(pid: int) -> Iterator[None]:
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


@pytest.mark.parametrize("others", ["serve requests", "are idle"])
def test_what_a_killed_gateway_held_is_given_back_while_the_others(scene: Scene, others: str) -> None:
    site = scene.site
    survivor, doomed = site.gateways[0], site.join_gateway()
    doomed.process.wait_until_ready()
    until_now(lambda: site.knows_all_ranks(doomed), "it knows both ranks")
    with live_streams([survivor.process.url]) as (spared,), ExitStack() as breaking:
        streams = breaking.enter_context(live_streams([doomed.process.url] * 3))
        until_now(lambda: books_of(scene.client).reservations == 4, "all streams are in the ledger")
        with traffic_to([survivor.process.url]) if others == "serve requests" else nullcontext() as traffic:
            name = doomed.state()["gateway"]
            doomed.process.process.kill()
            until_now(lambda: not books_of(scene.client).held.get(name), "nothing of it is held")
        assert not traffic or not traffic.problems()
        spared.goes_on()
        until_held(site, scene.client, 1)
        until_now(lambda: all(stream.problem for stream in streams), "its own streams broke off")


def test_a_gateway_that_was_frozen_for_longer_than_its_lease_has_its_streams_back_in_the_ledger(scene: Scene) -> None:
    ice, other = scene.site.gateways
    name = ice.state()["gateway"]
    with live_streams(scene.site.urls) as streams, traffic_to([other.process.url]) as traffic:
        until_now(lambda: name in books_of(scene.client).held, "its stream is in the ledger")
        with frozen(ice.pid):
            until_now(lambda: not books_of(scene.client).held.get(name), "nothing of it is held any more")
        until_now(lambda: len(books_of(scene.client).held.get(name, ())) == 1, "its stream is in the ledger again")
        traffic.end()
        for stream in streams:
            stream.goes_on()
        until_held(scene.site, scene.client, 2)
        assert not traffic.problems()


def is_frozen(site: Site) -> None:
    with frozen(site.agent.pid):
        time.sleep(FREEZE_S)


def is_killed_and_started_again(site: Site) -> None:
    site.agent.process.process.kill()
    site.agent.process.process.wait()
    time.sleep(1)
    site.agent = site.join_agent()


@pytest.mark.parametrize("fault", [is_frozen, is_killed_and_started_again], ids=lambda fault: fault.__name__)
def test_ranks_are_placed_on_while_their_agent(scene: Scene, fault: Callable[[Site], None]) -> None:
    undergo(scene.site, scene.client, lambda: fault(scene.site))
    until_now(lambda: heard_lately(scene), "its ranks are heard of again")


def heard_lately(scene: Scene) -> bool:
    """Whether no rank's last sample is older than two seconds."""
    ages = [rank["report_age_ms"] for rank in scene.site.status()["ranks"]]
    return len(ages) == len(scene.site.ranks) and max(ages) < 2_000


def test_a_rank_that_is_killed_and_started_again_starts_clean(scene: Scene) -> None:
    site = scene.site
    with live_streams(site.urls * 3) as streams:
        until_now(lambda: books_of(scene.client).reservations == 6, "all streams are in the ledger")
        before = site.incarnations()
        site.restart_rank(0)
        until_now(lambda: len(before | site.incarnations()) == 3, "its next life is known")
        until_now(lambda: any(stream.problem for stream in streams), "streams on it broke off")
        going_on = [stream for stream in streams if not stream.problem]
        for stream in going_on:
            stream.goes_on()
        until_held(site, scene.client, len(going_on))
        lives = {tuple(life.split()) for life in books_of(scene.client).sums.lives}
        assert lives <= site.incarnations()
    with traffic_to(site.urls) as traffic:
        until_now(lambda: len(traffic.outcomes) > 20, "requests are served")
    assert not traffic.problems()
    until_agreed(site, scene.client)
