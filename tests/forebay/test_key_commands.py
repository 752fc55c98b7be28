"""`forebay key`, on a file and on Redis."""

import json
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from hashlib import sha256
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from tests.servers import needs_redis, redis_server

KEY = re.compile(r"fb-[A-Za-z0-9_-]{43}\n")


def run(*words: str, **environment: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")} | environment
    return CliRunner().invoke(main, ["key", *words], env=ours)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server.url


@pytest.fixture(params=["file", pytest.param("redis", marks=needs_redis)])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> list[str]:
    """The options that say where keys are."""
    if request.param == "file":
        return ["--keys", str(tmp_path / "keys")]
    url: str = request.getfixturevalue("redis_url")
    for line in run("list", "--json", "--redis", url).stdout.splitlines():
        run("revoke", json.loads(line)["name"], "--redis", url)
    return ["--redis", url]


def listed(place: list[str]) -> list[dict[str, object]]:
    result = run("list", "--json", *place)
    assert result.exit_code == 0, result.output
    return [json.loads(line) for line in result.stdout.splitlines()]


def test_a_new_key_is_printed_once_and_kept_as_its_digest(place: list[str]) -> None:
    made = run("new", "--name", "team-a", "--requests-per-minute", "600", "--tokens-per-minute", "200000", *place)
    assert made.exit_code == 0
    assert KEY.fullmatch(made.stdout)
    (kept,) = listed(place)
    assert kept["sha256"] == sha256(made.stdout.strip().encode()).hexdigest()
    assert (kept["name"], kept["requests_per_minute"], kept["tokens_per_minute"]) == ("team-a", 600, 200_000)
    table = run("list", *place)
    assert "team-a" in table.stdout
    assert str(kept["sha256"]) not in table.stdout


def test_no_two_keys_are_alike_and_no_two_names(place: list[str]) -> None:
    one, other = (run("new", "--name", name, *place) for name in ("a", "b"))
    assert one.stdout != other.stdout
    again = run("new", "--name", "a", *place)
    assert (again.exit_code, again.stdout) == (1, "")
    assert "there is a key called 'a'" in again.stderr
    assert [key["name"] for key in listed(place)] == ["a", "b"]


def test_what_is_set_changes_and_the_rest_stays(place: list[str]) -> None:
    run("new", "--name", "a", "--requests-at-once", "3", "--model", "m", "--model", "n", "--model", "m", *place)
    assert run("set", "a", "--tokens-per-minute", "5", "--expires", "2030-01-31", *place).exit_code == 0
    (kept,) = listed(place)
    assert (kept["requests_at_once"], kept["tokens_per_minute"], kept["models"]) == (3, 5, ["m", "n"])
    assert kept["expires"] == "2030-01-31T00:00:00Z"
    assert run("set", "a", "--requests-at-once", "0", "--expires", "never", "--model", "all", *place).exit_code == 0
    (kept,) = listed(place)
    assert kept.keys() == {"name", "sha256", "created", "tokens_per_minute"}


def test_a_revoked_key_is_gone_and_its_name_free(place: list[str]) -> None:
    for _ in range(2):
        assert run("new", "--name", "a", *place).exit_code == 0
        assert run("revoke", "a", *place).exit_code == 0
        assert listed(place) == []


@pytest.mark.parametrize("words", [["revoke", "nobody"], ["set", "nobody", "--requests-at-once", "1"]])
def test_an_unknown_name_is_an_error(place: list[str], words: list[str]) -> None:
    run("new", "--name", "a", *place)
    result = run(*words, *place)
    assert (result.exit_code, result.output) == (1, "Error: there is no key called 'nobody'\n")


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["new", "--name", "té"], "up to 64 letters"),
        (["new", "--name", "a b"], "up to 64 letters"),
        (["new", "--name", 'a"} 1\n'], "up to 64 letters"),
        (["new", "--name", ""], "up to 64 letters"),
        (["new", "--name", "a" * 65], "up to 64 letters"),
        (["new", "--name", "\udcff"], "is not UTF-8"),
        (["new"], "Missing option '--name'"),
        (["new", "--name", "a", "--requests-per-minute", "-1"], "'--requests-per-minute'"),
        (["new", "--name", "a", "--tokens-per-minute", "1.5"], "'--tokens-per-minute'"),
        (["new", "--name", "a", "--requests-at-once", "1000000001"], "'--requests-at-once'"),
        (["new", "--name", "a", "--expires", "tomorrow"], "'tomorrow' is not a date"),
        (["new", "--name", "a", "--model", ""], "models"),
        (["set", "a"], "nothing to change"),
        (["new", "fb-key", "--name", "a"], "unexpected extra argument"),
        (["dance"], "No such command 'dance'"),
    ],
)
def test_what_is_wrong_is_named_and_nothing_is_written(tmp_path: Path, words: list[str], named: str) -> None:
    place = tmp_path / "keys"
    result = run(*words, "--keys", str(place))
    assert result.exit_code == 2, result.output
    assert named in result.output
    assert not place.exists()


def test_keys_are_in_one_place() -> None:
    assert "name one of them" in run("list").output
    assert "name one of them" in run("list", "--keys", "k", "--redis", "redis://h").output
    assert "Did you mean FOREBAY_KEYS" in run("list", "--keys", "k", FOREBAY_KEYZ="k").output


def test_a_file_that_is_named_goes_before_the_redis_of_the_environment(tmp_path: Path) -> None:
    place = str(tmp_path / "keys")
    assert run("new", "--name", "a", "--keys", place, FOREBAY_REDIS="redis://127.0.0.1:1").exit_code == 0
    assert len(listed(["--keys", place])) == 1


def test_a_new_file_is_its_owners_alone_and_an_old_one_keeps_its_mode(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    run("new", "--name", "a", "--keys", str(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o600
    place.chmod(0o640)
    result = run("new", "--name", "b", "--keys", str(place))
    assert stat.S_IMODE(place.stat().st_mode) == 0o640
    assert "chmod 600 is advised" in result.stderr
    assert [file.name for file in tmp_path.iterdir()] == ["keys"]


def test_a_broken_file_is_left_as_it_is(tmp_path: Path) -> None:
    place = tmp_path / "keys"
    place.write_bytes(b"garbage\n")
    for words in (["list"], ["new", "--name", "a"], ["revoke", "a"]):
        result = run(*words, "--keys", str(place))
        assert (result.exit_code, result.output) == (
            1,
            f"Error: {place}: line 1: JSON is malformed: invalid character (byte 0)\n",
        )
    assert place.read_bytes() == b"garbage\n"


@pytest.mark.parametrize("place", ["/nowhere/keys", "/", "/proc/keys"])
def test_where_nothing_can_be_written_it_is_said(place: str) -> None:
    result = run("new", "--name", "a", "--keys", place)
    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("Error: /")


def test_a_redis_that_does_not_answer_makes_no_key() -> None:
    result = run("new", "--name", "a", "--redis", "redis://127.0.0.1:1")
    assert (result.exit_code, result.stdout) == (1, "")
    assert "Redis does not answer" in result.stderr


def test_changes_at_once_lose_none(tmp_path: Path) -> None:
    place = str(tmp_path / "keys")
    program = [sys.executable, "-m", "forebay", "key", "new", "--keys", place, "--name"]
    with ThreadPoolExecutor(4) as threads:
        done = threads.map(
            lambda number: subprocess.run([*program, f"k{number}"], check=True, capture_output=True), range(8)
        )
        assert len(list(done)) == 8
    assert len(listed(["--keys", place])) == 8
