"""A Redis that is not there yet, wants another password than it did, or shows another certificate."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import redis

from tests.certificates import Authority, Pair
from tests.e2e.outages.outage import undergo
from tests.e2e.outages.site import LOOK_S, Member, Site, site_on
from tests.e2e.outages.traffic import traffic_to
from tests.gateway.gateway_process import warnings_of
from tests.polling import until_now
from tests.ports import HOST, free_port
from tests.servers import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

PASSWORD = "hunter2-hunter2"


class Scene:
    """A site whose Redis wants a password and TLS; `client` is let in whatever happens."""

    def __init__(self, site: Site, client: redis.Redis, own: Pair, other: Pair) -> None:
        self.site, self.client, self.own, self.other = site, client, own, other

    def show(self, pair: Pair) -> None:
        """Whoever connects from now on sees this one."""
        # Together, for a certificate and a key that do not belong together are refused.
        told = ("tls-cert-file", str(pair.cert), "tls-key-file", str(pair.key))
        self.client.execute_command("CONFIG", "SET", *told)  # type: ignore[no-untyped-call]
        self.part_with_all()

    def ask_for(self, password: str) -> None:
        """Whoever connects from now on has to know this one."""
        self.client.execute_command("ACL", "SETUSER", "default", "resetpass", f">{password}")  # type: ignore[no-untyped-call]
        self.part_with_all()

    def until_all_say(self, why: str) -> None:
        """Waits until no process has Redis, and each says why; requests are served meanwhile."""
        self.site.until_degraded()
        for member in self.site.members:
            until_now(partial(_has_said, member, why), f"it says {why}", pause_s=LOOK_S)

    def part_with_all(self) -> None:
        """But for us."""
        self.client.execute_command("CLIENT", "KILL", "TYPE", "normal", "SKIPME", "yes")  # type: ignore[no-untyped-call]


def _has_said(member: Member, why: str) -> bool:
    return any(why in line for line in warnings_of(member.process))


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder, tls_port = tmp_path_factory.mktemp("redis"), free_port()
    authority, stranger = (Authority(tmp_path_factory.mktemp(name), name) for name in ("ours", "another"))
    own, other = authority.signs("redis"), stranger.signs("redis")
    options = ["--tls-port", str(tls_port), "--tls-cert-file", str(own.cert), "--tls-key-file", str(own.key)]
    url = f"rediss://:{PASSWORD}@{HOST}:{tls_port}?ssl_ca_certs={authority.ca}"
    with (
        redis_server(folder, *options, "--tls-auth-clients", "no") as server,
        server.client() as client,
    ):
        client.execute_command("ACL", "SETUSER", "default", f">{PASSWORD}")
        with site_on(tmp_path_factory.mktemp("site"), lambda: (url, None)) as site:
            yield Scene(site, client, own, other)


def wants_another_password(scene: Scene, said: str) -> None:
    scene.ask_for("another")
    scene.until_all_say(said)
    scene.ask_for(PASSWORD)


def shows_another_certificate(scene: Scene, said: str) -> None:
    scene.show(scene.other)
    scene.until_all_say(said)
    scene.show(scene.own)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        (wants_another_password, "Redis refuses us: invalid username-password pair"),
        (shows_another_certificate, "CERTIFICATE_VERIFY_FAILED"),
    ],
    ids=["wants another password", "shows another certificate"],
)
def test_requests_go_on_and_each_process_says_what_is_wrong_when_redis(
    scene: Scene, fault: Callable[[Scene, str], None], said: str
) -> None:
    undergo(scene.site, scene.client, lambda: fault(scene, said))
    for member in scene.site.members:
        told = [line.partition(" WARNING ")[2] for line in warnings_of(member.process) if said in line]
        assert len(told) == len(set(told)), told


def test_processes_that_are_started_before_redis_serve_once_it_is_there(tmp_path: Path) -> None:
    server = RedisServer(tmp_path)
    (tmp_path / "site").mkdir()
    with ExitStack() as stack:
        site = Site(tmp_path / "site", stack, lambda: (server.url, None))
        for gateway in site.gateways:
            until_now(partial(gateway.refuses, "/readyz"), "it is not ready", pause_s=LOOK_S)
        server.start()
        stack.callback(server.stop)
        site.until_serving()
        with traffic_to(site.urls) as traffic:
            until_now(lambda: len(traffic.outcomes) >= 8, "requests are served")
        assert not traffic.problems()
        for member in site.members:
            told = [line.partition(" WARNING ")[2] for line in warnings_of(member.process)]
            assert any("Connection refused" in line for line in told)
            assert len(told) == len(set(told))
