"""Store URLs: what each form reaches, what is wrong with a bad one."""

from __future__ import annotations

import asyncio
import shutil
import subprocess
from pathlib import Path

import pytest

from scheduler.calls import Call
from scheduler.errors import SchedulerError, StoreRejectedError, StoreUnavailableError, StoreUrlError
from scheduler.lua import Script
from scheduler.store import open_store
from tests.polling import until
from tests.ports import HOST, free_port
from tests.servers import RedisServer, cluster_server, redis_server, replica_server, sentinel_server


def opening(epoch: str, head: str = "{x}:head") -> Call:
    return Call(Script.OPEN, (head,), (epoch,))


@pytest.fixture
def certificate(tmp_path: Path) -> tuple[Path, Path]:
    """A throwaway certificate for loopback, its own authority, and its key."""
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    key, certificate = tmp_path / "key.pem", tmp_path / "certificate.pem"
    subprocess.run(
        [
            *("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"),
            *("-keyout", str(key), "-out", str(certificate), "-days", "2", "-subj", "/CN=localhost"),
            *("-addext", f"subjectAltName=IP:{HOST}"),
        ],
        check=True,
        capture_output=True,
    )
    return certificate, key


class TestUrls:
    @pytest.mark.parametrize(
        ("url", "complaint"),
        [
            pytest.param("", "it has no scheme", id="empty"),
            pytest.param("http://localhost", "unknown scheme, expected one of redis, rediss", id="another scheme"),
            pytest.param("localhost:6379", "it has no scheme", id="no scheme"),
            pytest.param("redis://localhost:port", "[Pp]ort", id="a word for a port"),
            pytest.param("redis://localhost:70000", "[Pp]ort", id="a port too high"),
            pytest.param("redis+sentinel://localhost:26379", "needs /service", id="no service"),
            pytest.param("redis+sentinel:///service", "no host", id="no sentinel"),
            pytest.param("redis+sentinel://localhost:1,/service", "expected redis.sentinel", id="an empty sentinel"),
            pytest.param("redis+sentinel://localhost:port/service", "[Pp]ort", id="a word for a sentinel's port"),
            pytest.param("redis+sentinel://localhost/service/db", "db", id="a word for a database"),
            pytest.param("redis+cluster://localhost:port", "[Pp]ort", id="a word for a cluster's port"),
            pytest.param("rediss://localhost?ssl_ca_certs=nowhere", "ssl_ca_certs: No such file", id="no authorities"),
            pytest.param("rediss://localhost?ssl_certfile=/", "ssl_certfile: Is a directory", id="no certificate"),
        ],
    )
    async def test_a_bad_url_is_named(self, url: str, complaint: str) -> None:
        with pytest.raises(StoreUrlError, match=complaint):
            async with open_store(url):
                pass

    async def test_a_password_is_given(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, "--requirepass", "a b@c", password="a b@c") as server:
            async with open_store(f"redis://:a%20b%40c@{server.address}") as store:
                assert await store.run([opening("e1")]) == [b"e1"]
            for wrong in (f"redis://:wrong@{server.address}", server.url):
                async with open_store(wrong) as store:
                    with pytest.raises(StoreRejectedError):
                        await store.run([opening("e1")])
                    with pytest.raises(StoreRejectedError):
                        await store.command("GET", "key")

    async def test_a_password_that_is_missing_is_asked_for_by_its_place_in_the_url(self, tmp_path: Path) -> None:
        with redis_server(tmp_path, "--requirepass", "a-password", password="a-password") as server:
            async with open_store(server.url) as store:
                with pytest.raises(StoreRejectedError, match="wants a password: redis://:PASSWORD@host"):
                    await store.command("GET", "key")
                with pytest.raises(StoreRejectedError, match="wants a password"):
                    await store.run([opening("e1")])

    async def test_a_server_that_repeats_the_password_is_not_quoted(self) -> None:
        async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            """As Redis 5 answers HELLO 3 AUTH."""
            await reader.read(1000)
            writer.write(b"-ERR unknown command `HELLO`, with args beginning with: `3`, `AUTH`, `default`, `pw`, \r\n")
            await writer.drain()
            writer.close()

        async with await asyncio.start_server(answer, HOST, 0) as server:
            port = server.sockets[0].getsockname()[1]
            async with open_store(f"redis://:pw@{HOST}:{port}") as store:
                with pytest.raises(SchedulerError) as caught:
                    await store.command("PING")
        assert "HELLO" in str(caught.value)
        assert "pw" not in str(caught.value)

    async def test_a_user_without_permission_is_rejected(self, tmp_path: Path) -> None:
        with redis_server(tmp_path) as server:
            with server.client() as client:
                client.execute_command("ACL", "SETUSER", "reader", "on", ">secret", "~*", "+get", "+hello", "+client")
            async with open_store(f"redis://reader:secret@{server.address}") as store:
                with pytest.raises(StoreRejectedError, match="refuses us"):
                    await store.run([opening("e1")])

    async def test_a_database_is_selected(self, redis_process: RedisServer) -> None:
        async with open_store(f"{redis_process.url}/3") as store, open_store(redis_process.url) as other:
            await store.command("SET", "where", "3")
            assert await other.command("GET", "where") is None

    async def test_a_unix_socket_is_used(self, tmp_path: Path) -> None:
        path = tmp_path / "s"
        with redis_server(tmp_path, "--unixsocket", str(path)):
            async with open_store(f"unix://{path}") as store:
                assert await store.run([opening("e1")]) == [b"e1"]

    async def test_a_cluster_is_found_from_one_node(self, tmp_path: Path) -> None:
        with cluster_server(tmp_path) as server:
            async with open_store(f"redis+cluster://{server.address}") as store:
                assert await store.run([opening("e1"), opening("e2")]) == [b"e1", b"e1"]
                with server.client() as client:
                    client.script_flush()
                assert await store.run([opening("e3")]) == [b"e1"]
                server.stop()
                with pytest.raises(StoreUnavailableError):
                    await store.run([opening("e4")])

    async def test_a_cluster_that_is_away_is_unavailable(self) -> None:
        async with open_store(f"redis+cluster://{HOST}:{free_port()}") as store:
            with pytest.raises(StoreUnavailableError):
                await store.run([opening("e1")])
            with pytest.raises(StoreUnavailableError):
                await store.command("PING")

    async def test_sentinel_names_the_new_master_after_a_failover(self, tmp_path: Path) -> None:
        with (
            redis_server(tmp_path) as master,
            replica_server(tmp_path, master) as replica,
            sentinel_server(tmp_path, master, "forebay") as sentinel,
        ):
            url = f"redis+sentinel://{HOST}:{free_port()},{sentinel.address}/forebay/0"
            async with open_store(url) as store:
                assert await store.run([opening("e1")]) == [b"e1"]
                master.stop()
                with pytest.raises(StoreUnavailableError):
                    await store.run([opening("e2")])

                async def promoted() -> bool:
                    try:
                        await store.run([opening("e3")])
                    except StoreUnavailableError:
                        return False
                    return True

                await until(promoted, "the replica is the master")
                with replica.client() as client:
                    assert client.info("replication")["role"] == "master"

    async def test_a_service_the_sentinel_does_not_know_is_unavailable(self, tmp_path: Path) -> None:
        with (
            redis_server(tmp_path) as master,
            replica_server(tmp_path, master),
            sentinel_server(tmp_path, master, "forebay") as sentinel,
        ):
            async with open_store(f"redis+sentinel://{sentinel.address}/other") as store:
                with pytest.raises(StoreUnavailableError):
                    await store.command("PING")

    async def test_tls_is_checked_against_the_given_authority(
        self, tmp_path: Path, certificate: tuple[Path, Path]
    ) -> None:
        tls_port = free_port()
        own, key = certificate
        options = ["--tls-port", str(tls_port), "--tls-cert-file", str(own), "--tls-key-file", str(key)]
        with redis_server(tmp_path, *options, "--tls-auth-clients", "no"):
            async with open_store(f"rediss://{HOST}:{tls_port}?ssl_ca_certs={own}") as store:
                assert await store.run([opening("e1")]) == [b"e1"]
            async with open_store(f"rediss://{HOST}:{tls_port}") as store:
                with pytest.raises(StoreUnavailableError):
                    await store.command("PING")
