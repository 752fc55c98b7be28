"""The certificate that clients are shown: read at the start, and again when it changes."""

import asyncio
import logging
import shutil
import ssl
from pathlib import Path

import msgspec
import pytest

from gateway import tls
from gateway.settings import GatewaySettings
from gateway.tls import ServerCertificate
from scheduler.rank_tls import TlsFileError
from tests.certificates import Authority, Pair
from tests.gateway.fake_pools import pools_of_nobody
from tests.gateway.running import Served, eventually, serving
from tests.polling import until


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("tls"))


def put(pair: Pair, folder: Path) -> Pair:
    return Pair(*(Path(shutil.copy(file, folder / name)) for file, name in zip(pair, ("cert", "key"), strict=True)))


async def shown_by(served: Served, authority: Authority) -> str:
    context = ssl.create_default_context(cafile=str(authority.ca))
    _, writer = await asyncio.open_connection("127.0.0.1", served.port, ssl=context)
    writer.close()
    return str(dict(part[0] for part in writer.get_extra_info("peercert")["subject"])["commonName"])


async def test_a_certificate_that_changes_is_shown_from_then_on(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.02)
    files = put(authority.signs("first"), tmp_path)
    async with serving(pools_of_nobody(), tls_cert=str(files.cert), tls_key=str(files.key)) as served:
        assert await shown_by(served, authority) == "first"
        second = authority.signs("second")
        shutil.copy(second.key, files.key)  # for a moment they do not match
        await eventually(lambda: "the former certificate is still used" in caplog.text)
        assert await shown_by(served, authority) == "first"
        put(second, tmp_path)

        async def is_second() -> bool:
            return await shown_by(served, authority) == "second"

        await until(is_second, "the second one is shown")


async def test_a_file_whose_rights_have_changed_is_looked_at_again(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(tls, "LOOK_S", 0.005)
    caplog.set_level(logging.INFO)
    files = put(authority.signs("gateway"), tmp_path)
    certificate = ServerCertificate(str(files.cert), str(files.key))
    async with asyncio.TaskGroup() as tasks:
        looking = tasks.create_task(certificate.run())
        files.key.chmod(0o640)
        await until(lambda: "the certificate was read again" in caplog.text, "what could not be read may be readable")
        looking.cancel()


@pytest.mark.parametrize(
    ("what", "why"),
    [
        ("missing", "No such file"),
        ("no certificate", "no certificate and its key, as PEM and without a passphrase"),
        ("of another key", ".*key values mismatch"),
    ],
)
def test_files_that_cannot_be_used_are_named(authority: Authority, tmp_path: Path, what: str, why: str) -> None:
    files = put(authority.signs("gateway"), tmp_path)
    match what:
        case "missing":
            files.cert.unlink()
        case "no certificate":
            files.cert.write_text("nothing")
        case _:
            files.key.write_text(authority.signs("other").key.read_text())
    with pytest.raises(TlsFileError, match=f"--tls-cert: cannot use {files.cert} and {files.key}: {why}"):
        ServerCertificate(str(files.cert), str(files.key))


@pytest.mark.parametrize("given", ["tls_cert", "tls_key", "rank_cert", "rank_key"])
def test_a_certificate_and_its_key_go_together(given: str) -> None:
    with pytest.raises(ValueError, match="go together"):
        msgspec.structs.replace(GatewaySettings(redis="redis://unused"), **{given: "x"})
