"""What a batch is refused for: one line that says what and where, and nothing is left behind."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.forebay.batch.batch_command import batch, line, written
from tests.forebay.model_server.scripted_server import Reply, scripted_server

NOWHERE = "http://127.0.0.1:1"
GOOD = line("good")


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        pytest.param([], "there is no request in it", id="empty"),
        pytest.param([GOOD, "{"], "line 2: it is not JSON", id="no-json"),
        pytest.param([GOOD, "", "[]"], "line 3: Expected `object`, got `array`", id="no-object"),
        pytest.param([GOOD, '{"custom_id": "a"}'], "line 2: Object missing required field `url`", id="no-url"),
        pytest.param([GOOD, line("")], "line 2: Expected `str` of length >= 1", id="empty-id"),
        pytest.param([GOOD, GOOD], "line 2: custom_id 'good' is that of line 1, too", id="same-id"),
        pytest.param([GOOD, line("b", model="x")], "line 2: model 'x', but 'sim' in line 1", id="two-models"),
        pytest.param([GOOD, line("b", stream=True)], "line 2: a batch's answers are not streamed", id="stream"),
        pytest.param([GOOD, line("b", method="GET")], "line 2: Invalid enum value 'GET'", id="method"),
        pytest.param([GOOD, line("b", url="/v1/nothing")], "line 2: url '/v1/nothing' is none of", id="url"),
        pytest.param([GOOD, line("b", prompt="x" * 999)], "line 2: it is longer than 500 bytes", id="long"),
    ],
)
def test_an_input_that_cannot_be_asked_is_refused_with_its_line(tmp_path: Path, lines: list[str], said: str) -> None:
    given = written(tmp_path / "in.jsonl", lines)
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE, "--max-line-bytes", "500")
    assert done.exit_code == 2
    assert done.stderr.startswith(f"Error: {given}")
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_bytes_that_are_no_text_are_refused(tmp_path: Path) -> None:
    given = tmp_path / "in.jsonl"
    given.write_bytes(GOOD.encode().replace(b"good", b"\xff"))
    done = batch(str(given), "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE)
    assert (done.exit_code, done.stderr) == (2, f"Error: {given}, line 1: it is not UTF-8\n")


@pytest.mark.parametrize(
    ("given", "output", "said"),
    [
        ("none.jsonl", "out.jsonl", "none.jsonl: it cannot be read: No such file or directory"),
        (".", "out.jsonl", "it cannot be read: Is a directory"),
        ("", "out.jsonl", "Error: INPUT: the name of the file is empty"),
        ("in.jsonl", "", "Error: -o: the name of the file is empty"),
        ("in.jsonl", "in.jsonl", "the input would be written over"),
        ("in.jsonl", "none/out.jsonl", "there is no folder"),
        ("in.jsonl", ".", "it is no regular file"),
        ("in.jsonl", "/dev/null", "it is no regular file; for a pipe give -o -"),
        ("in.jsonl", f"{'x' * 300}.jsonl", "File name too long"),
    ],
)
def test_files_that_cannot_be_used_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, given: str, output: str, said: str
) -> None:
    monkeypatch.chdir(tmp_path)
    written(tmp_path / "in.jsonl", [GOOD])
    done = batch(given, "-o", output, "--url", NOWHERE)
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert done.stderr.count("\n") == 1
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


@pytest.mark.parametrize(
    "url",
    [
        "gateway:8000",
        "ftp://h:1",
        "http://",
        "http://h:99999",
        "http://a:b@h:1",
        "http://h?x",
        "http://[::1",
        "http://a b",
        "http://h/\x01",
        "http://ä..b",
        "http://xn--a",
    ],
)
def test_a_url_that_is_none_of_a_server_is_refused(tmp_path: Path, url: str) -> None:
    given = written(tmp_path / "in.jsonl", [GOOD])
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", url)
    assert done.exit_code == 2
    assert "'--url' (env var: 'FOREBAY_URL'): expected http or https, a host" in done.stderr


def test_a_server_that_is_not_there_is_named_and_nothing_is_left(tmp_path: Path) -> None:
    given = written(tmp_path / "in.jsonl", [GOOD])
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE)
    assert done.exit_code == 1
    assert done.stderr == f"Error: {NOWHERE} cannot be reached: All connection attempts failed\n"
    assert [path.name for path in tmp_path.iterdir()] == ["in.jsonl"]


def test_a_key_that_is_refused_ends_the_run_before_anything_is_asked(tmp_path: Path) -> None:
    with scripted_server() as server:
        server.models = Reply(401, {"error": {"message": "no key"}})
        given = written(tmp_path / "in.jsonl", [GOOD])
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url)
        assert server.posts == []
    assert done.exit_code == 1
    assert "refuses the key: 401" in done.stderr


@pytest.mark.parametrize("key", ["se cret", "schlüssel", "se\r\ncret"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(tmp_path: Path, key: str) -> None:
    given = written(tmp_path / "in.jsonl", [GOOD])
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE, "--api-key", key)
    told = "--api-key: the key has a blank or a control character in it, or a letter that is not ASCII"
    assert (done.exit_code, told in done.stderr, key in done.stderr) == (2, True, False)


def test_an_unusable_key_file_is_named(tmp_path: Path) -> None:
    given = written(tmp_path / "in.jsonl", [GOOD])
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE, "--api-key-file", str(tmp_path / "none"))
    assert done.exit_code == 2
    assert "--api-key-file: cannot read" in done.stderr


def test_an_input_that_breaks_off_is_named(tmp_path: Path) -> None:
    done = batch("/proc/self/mem", "-o", str(tmp_path / "out.jsonl"), "--url", NOWHERE)
    assert (done.exit_code, done.stderr) == (2, "Error: /proc/self/mem: it cannot be read: Input/output error\n")


@pytest.mark.parametrize(
    ("closing", "said"),
    [("<&-", "Error: -: standard input is closed\n"), (">&-", "Error: -o -: standard output is closed\n")],
)
def test_a_closed_stream_is_named(tmp_path: Path, closing: str, said: str) -> None:
    done = subprocess.run(
        ["/bin/sh", "-c", f'"$0" -m forebay batch - -o - --url {NOWHERE} {closing}', sys.executable],
        input=GOOD,
        capture_output=True,
        text=True,
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(Path.cwd())},
        timeout=30,
        check=False,
    )
    assert (done.returncode, done.stderr) == (2, said)
