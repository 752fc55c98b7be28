"""Redis over TLS: a server, a cluster, and behind a Sentinel; with the user and the certificate of a gateway."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from scheduler.calls import Call
from scheduler.errors import StoreUnavailableError
from scheduler.lua import Script
from scheduler.rights import ProcessRole
from scheduler.store import open_store
from tests.certificates import UNVERIFIABLE, Authority, Pair, unverifiable
from tests.polling import until, until_now
from tests.ports import HOST, free_port
from tests.redis_users import password_of, redis_with_users
from tests.servers import RedisServer, cluster_server, redis_server

CALL = Call(Script.OPEN, ("forebay:1:{x}:head", "forebay:1:{x}:drain"), ("e1",))


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


@pytest.fixture(scope="module")
def pair(authority: Authority) -> Pair:
    return authority.signs("redis")


def tls(port: int, pair: Pair, authority: Authority, *, clients: str = "no") -> tuple[str, ...]:
    """A server's options."""
    files = (
        "--tls-cert-file",
        str(pair.cert),
        "--tls-key-file",
        str(pair.key),
        "--tls-ca-cert-file",
        str(authority.ca),
    )
    return ("--tls-port", str(port), *files, "--tls-auth-clients", clients)


async def test_a_server_that_asks_for_certificates_is_used_by_a_user_of_its_own(
    tmp_path: Path, authority: Authority, pair: Pair
) -> None:
    port, own = free_port(), authority.signs("gateway")
    login = f"{ProcessRole.GATEWAY}:{password_of(ProcessRole.GATEWAY)}@"
    url = f"rediss://{login}{HOST}:{port}?ssl_ca_certs={authority.ca}"
    with redis_with_users(tmp_path, ["x"], *tls(port, pair, authority, clients="yes")):
        async with open_store(f"{url}&ssl_certfile={own.cert}&ssl_keyfile={own.key}") as store:
            assert await store.run([CALL]) == [b"e1"]
        async with open_store(url) as store:
            with pytest.raises(StoreUnavailableError):
                await store.run([CALL])


@pytest.mark.usefixtures("hasty_store")
@pytest.mark.parametrize("fault", [*UNVERIFIABLE, "no TLS"])
async def test_a_server_that_cannot_be_verified_is_told_nothing(
    tmp_path: Path, authority: Authority, pair: Pair, fault: str
) -> None:
    port = free_port()
    shown = pair if fault == "no TLS" else unverifiable(authority, tmp_path, fault)
    with redis_server(tmp_path, *tls(port, shown, authority)) as server:
        asked = server.port if fault == "no TLS" else port
        async with open_store(f"rediss://:secret@{HOST}:{asked}?ssl_ca_certs={authority.ca}") as store:
            with pytest.raises(StoreUnavailableError) as refused:
                await store.run([CALL])
        assert "secret" not in str(refused.value)


async def test_a_cluster_is_used_over_tls(tmp_path: Path, authority: Authority, pair: Pair) -> None:
    port = free_port()
    with cluster_server(tmp_path, *tls(port, pair, authority), "--tls-cluster", "yes"):
        async with open_store(f"rediss+cluster://{HOST}:{port}?ssl_ca_certs={authority.ca}") as store:
            assert await store.run([CALL]) == [b"e1"]
            assert await store.command("GET", CALL.keys[0]) == b"e1 0 0 0"


@pytest.fixture
def sentinel_port(tmp_path: Path, authority: Authority, pair: Pair) -> Iterator[int]:
    """A Sentinel on TLS that watches a master on TLS, and has found it up."""
    master_port, port, plain_port = free_port(), free_port(), free_port()
    config = tmp_path / "sentinel.conf"
    config.write_text(f"sentinel monitor forebay {HOST} {master_port} 1\n")
    sentinel_tls = (*tls(port, pair, authority), "--tls-replication", "yes")
    sentinel = RedisServer(tmp_path, str(config), "--sentinel", *sentinel_tls, port=plain_port)
    with redis_server(tmp_path, *tls(master_port, pair, authority)):
        try:
            sentinel.start()
            with sentinel.client() as client:
                until_now(lambda: client.sentinel_master("forebay")["is_odown"] is False, "the Sentinel has a master")
            yield port
        finally:
            sentinel.stop()


async def test_sentinels_are_asked_over_tls_too(sentinel_port: int, authority: Authority) -> None:
    url = f"rediss+sentinel://{HOST}:{sentinel_port}/forebay"

    async def answers() -> bool:
        async with open_store(f"{url}?ssl_ca_certs={authority.ca}") as store:
            try:
                return await store.run([CALL]) == [b"e1"]
            except StoreUnavailableError:
                return False

    await until(answers, "the master was found")
    async with open_store(url) as store:
        with pytest.raises(StoreUnavailableError):
            await store.run([CALL])
