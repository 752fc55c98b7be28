"""API keys in a file: what is taken, what is not, and what changes while a gateway runs."""

import logging
import os
import re
import subprocess
import sys
from pathlib import Path

import anyio
import httpx
import pytest

from gateway import api_key_file
from gateway.api_key_file import ApiKeyFile, ApiKeyFileError, KeysByDigest, read_keys
from scheduler.api_keys import ApiKey, encode
from tests.gateway.gateway_process import START_S, forebay_process
from tests.gateway.named_keys import named
from tests.polling import until, until_now

PASSWORD = "fb-somebody-wrote-a-key-here"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "keys"


def write(path: Path, *lines: ApiKey | bytes) -> None:
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else encode(line) for line in lines) + b"\n")
    path.chmod(0o600)


def names(keys: KeysByDigest) -> list[str]:
    return sorted(key.name for key in keys.values())


def test_keys_are_read_a_line_each_and_empty_lines_pass(path: Path) -> None:
    write(path, named("a", tokens_per_minute=5), b"", b"  ", named("b"))
    keys = read_keys(path)
    assert sorted(keys.values(), key=lambda key: key.name) == [named("a", tokens_per_minute=5), named("b")]


LINE = encode(named("a"))


@pytest.mark.parametrize(
    ("lines", "complaint"),
    [
        pytest.param([b"garbage"], "line 1: JSON is malformed", id="garbage"),
        pytest.param([b"\x00\xff\xfe" * 1000], "line 1: ", id="binary"),
        pytest.param([named("a"), b"[]"], "line 2: Expected `object`", id="no-object"),
        pytest.param([named("a"), named("b"), named("a", "other")], "line 3: 'a' is the name of", id="one-name-twice"),
        pytest.param([named("a"), named("b", "fb-a")], "line 2: the key is that of another", id="one-key-twice"),
        pytest.param([LINE[:-1] + b',"requests_per_minute":-1}'], "line 1: Expected `int` >= 0", id="negative"),
        pytest.param([LINE[:-1] + b',"tokens_per_minute":1e400}'], "line 1: ", id="huge"),
        pytest.param([LINE[:-1] + b',"requests_per_second":1}'], "unknown field `requests_per_second`", id="unknown"),
        pytest.param([LINE[:-1] + b',"expires":"tomorrow"}'], "line 1: Invalid RFC3339", id="no-date"),
        pytest.param([LINE.replace(b'"a"', '"té"'.encode())], "line 1: Expected `str` matching", id="unicode"),
        pytest.param([LINE.replace(b'"a"', b'"a\\n{}"')], "line 1: Expected `str` matching", id="newline"),
        pytest.param([LINE.replace(b'"a"', b'"%s"' % (b"a" * 65))], "line 1: Expected `str` matching", id="long-name"),
        pytest.param([b'{"name": "a", "key": "%s"}' % PASSWORD.encode()], "line 1: ", id="a-key-itself"),
        pytest.param([PASSWORD.encode()], "line 1: JSON is malformed", id="nothing-but-a-key"),
        pytest.param([b"[" * 100_000], "line 1: ", id="deep"),
    ],
)
def test_what_is_no_file_of_keys_is_refused_by_line_and_shows_nothing(
    path: Path, lines: list[ApiKey | bytes], complaint: str
) -> None:
    write(path, *lines)
    with pytest.raises(ApiKeyFileError, match=re.escape(complaint)) as raised:
        read_keys(path)
    assert PASSWORD not in str(raised.value)
    assert str(path) in str(raised.value)


def test_ten_megabytes_of_keys_are_read(path: Path) -> None:
    count = 80_000
    write(path, *(named(f"team-{number}") for number in range(count)))
    assert path.stat().st_size > 10_000_000
    assert len(read_keys(path)) == count


def test_a_file_beyond_any_size_is_refused_unread(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(api_key_file.MAX_BYTES + 1)
    with pytest.raises(ApiKeyFileError, match="more than"):
        read_keys(path)


@pytest.mark.parametrize("path", [Path("/nowhere/keys"), Path("/")])
def test_what_cannot_be_read_is_an_error(path: Path) -> None:
    with pytest.raises(ApiKeyFileError, match=str(path)):
        read_keys(path)


def test_a_fifo_is_refused_and_not_waited_for(path: Path) -> None:
    os.mkfifo(path)
    with pytest.raises(ApiKeyFileError, match="Not a regular file"):
        read_keys(path)


def test_a_device_is_refused_unread() -> None:
    with pytest.raises(ApiKeyFileError, match="Not a regular file"):
        read_keys(Path("/dev/zero"))


async def test_a_broken_file_is_not_read_again_and_again(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.api_key_file.LOOK_S", 0.001)
    write(path, named("a"))
    file = ApiKeyFile(str(path), lambda _: None)
    file.open()
    write(path, b"garbage")
    looks, reads = 0, 0
    changed, read = file._changed, file._read

    def counted_look() -> object:
        nonlocal looks
        looks += 1
        return changed()

    def counted_read() -> KeysByDigest:
        nonlocal reads
        reads += 1
        return read()

    monkeypatch.setattr(file, "_changed", counted_look)
    monkeypatch.setattr(file, "_read", counted_read)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.run)
        await until(lambda: looks > 5, "it is looked at")
        tasks.cancel_scope.cancel()
    assert reads == 1


async def test_a_file_that_changes_is_read_again_and_a_broken_one_leaves_the_keys(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("gateway.api_key_file.LOOK_S", 0.005)
    used: list[list[str]] = []
    looks = 0

    def use(keys: KeysByDigest) -> None:
        used.append(names(keys))

    write(path, named("a"))
    file = ApiKeyFile(str(path), use)
    file.open()
    changed = file._changed

    def counted() -> object:
        nonlocal looks
        looks += 1
        return changed()

    monkeypatch.setattr(file, "_changed", counted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(file.run)
        write(path, named("a"), b"gar")
        await until(lambda: "keeping the API keys" in caplog.text, "it is said")
        await anyio.Path(path).unlink()
        await until(lambda: "No such file" in caplog.text, "it is said")
        before = looks
        await until(lambda: looks > before + 3, "it is looked at again")
        new = path.with_name("new")
        write(new, named("a"), named("b"))
        new.replace(path)
        await until(lambda: used[-1] == ["a", "b"], "it is read")
        tasks.cancel_scope.cancel()
    assert used == [["a"], ["a", "b"]]
    assert len([record for record in caplog.records if record.levelno == logging.WARNING]) == 2


def test_a_file_that_others_may_read_is_warned_of(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    write(path, named("a"))
    for mode, is_said in ((0o600, False), (0o644, True)):
        path.chmod(mode)
        ApiKeyFile(str(path), lambda _: None).open()
        assert ("chmod 600 is advised" in caplog.text) is is_said


@pytest.mark.parametrize("workers", ["1", "2"])
def test_a_broken_file_at_the_start_ends_the_process_with_one_line(path: Path, workers: str) -> None:
    write(path, named("a"), b"garbage")
    command = [sys.executable, "-m", "forebay", "gateway", "--redis", "redis://127.0.0.1:1", "--port", "0"]
    done = subprocess.run(
        [*command, "--api-keys", str(path), "--workers", workers],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 2
    assert f"{path}: line 2: JSON is malformed" in done.stderr.splitlines()[-1]


def test_a_gateway_lets_the_keys_of_its_file_in_though_there_is_no_redis(path: Path, tmp_path: Path) -> None:
    write(path, named("a"))
    with forebay_process(
        tmp_path, "gateway", "--redis", "redis://127.0.0.1:1", "--api-keys", str(path), "--rank-wait-ms", "0"
    ) as gateway:

        def status(key: str) -> int:
            try:
                headers = {"authorization": f"Bearer {key}"}
                url = f"{gateway.url}/v1/models"
                return httpx.get(url, headers=headers, trust_env=False, timeout=START_S).status_code
            except httpx.TransportError:
                return 0

        until_now(lambda: status("fb-a") == 503, "it knows the key, and no models yet")
        assert status("fb-b") == 401
        write(path, named("b"))
        until_now(lambda: (status("fb-a"), status("fb-b")) == (401, 503), "the file is read again")
