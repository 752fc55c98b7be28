"""`forebay bench` from end to end, with the least load that is a load."""

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from forebay.main import main

TINY = ("--rounds", "1", "--streams", "2", "--rate", "200", "--chunks", "2,8", "--connections", "2", "--requests", "6")
PATIENCE_S = 120


def bench(*arguments: str, path: str | None = None) -> "subprocess.CompletedProcess[str]":
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    return subprocess.run(
        [sys.executable, "-m", "forebay", "bench", *arguments],
        env=ours if path is None else ours | {"PATH": path},
        capture_output=True,
        text=True,
        timeout=PATIENCE_S,
        check=False,
    )


def test_a_run_measures_direct_and_forebay_and_writes_table_json_and_plot(tmp_path: Path) -> None:
    report, plot = tmp_path / "report.json", tmp_path / "plot.svg"
    targets = ("--target", "direct,forebay", "--measure", "memory,streams,requests,gateways")
    done = bench(*TINY, *targets, "--json", str(report), "--plot", str(plot))
    assert done.returncode == 0, done.stderr
    assert "µs/chunk" in done.stdout
    assert plot.read_text().startswith("<svg")
    found = json.loads(report.read_text())
    assert found["left_out"] == {}
    values = {(sample["case"], sample["target"]): sample["values"] for sample in found["samples"]}
    streams = values["2 streams", "forebay"]
    assert streams["cores"] > 0
    assert {"chunk_us", "chunk_agent_us", "chunk_redis_us", "first_p50_ms", "gap_p99_ms", "delay_p50_ms"} <= set(
        streams
    )
    assert "chunk_us" not in values["2 streams", "direct"]
    assert values["requests, 2 at once", "forebay"]["request_us"] > 0
    assert values["20 idle streams", "forebay"]["stream_kib"] > 0
    assert {"1 x 50 streams", "4 x 50 streams"} <= {case for case, _ in values}
    assert {"cpu", "kernel", "python", "uvloop", "date"} <= set(found["machine"])


def test_a_gateway_that_asks_for_a_key_with_limits_is_measured_beside_one_that_does_not(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    targets = ("--target", "forebay,forebay-keys", "--measure", "memory,streams,requests")
    done = bench(*TINY, *targets, "--json", str(report))
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert found["left_out"] == {}
    values = {(sample["case"], sample["target"]): sample["values"] for sample in found["samples"]}
    for target in ("forebay", "forebay-keys"):
        assert values["requests, 2 at once", target]["request_us"] > 0
        assert {"chunk_us", "chunk_redis_us"} <= set(values["2 streams", target])
        assert "stream_kib" in values["20 idle streams", target]


def test_a_target_that_does_not_start_is_named_with_its_last_words_and_left_out(tmp_path: Path) -> None:
    broken = tmp_path / "nginx"
    broken.write_text("#!/bin/sh\necho 'no such licence' >&2\nexit 3\n")
    broken.chmod(broken.stat().st_mode | stat.S_IXUSR)
    report = tmp_path / "report.json"
    options = ("--target", "direct,nginx", "--peer", f"nginx={broken}", "--measure", "requests", "--json", str(report))
    done = bench(*TINY, *options)
    assert done.returncode == 0, done.stderr
    found = json.loads(report.read_text())
    assert "exit code 3" in found["left_out"]["nginx"]
    assert "no such licence" in found["left_out"]["nginx"]
    assert {sample["target"] for sample in found["samples"]} == {"direct"}
    assert "left out, nginx" in done.stdout


def test_a_target_that_is_asked_for_and_not_installed_is_named() -> None:
    done = bench(*TINY, "--target", "haproxy", "--peer", "haproxy=/nowhere/haproxy")
    assert done.returncode == 1
    assert "nothing to measure" in done.stderr
    assert "--peer haproxy=PATH" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(["--chunks", "64"], "'--chunks'", id="one-length"),
        pytest.param(["--chunks", "64,8"], "'--chunks'", id="no-slope"),
        pytest.param(["--target", "apache"], "'apache' is none of direct, forebay, forebay-pace, ", id="target"),
        pytest.param(["--peer", "apache=/bin/true"], "'apache' is none of nginx", id="peer"),
        pytest.param(["--measure", "luck"], "'--measure'", id="measure"),
        pytest.param(["--page", __file__], "expected a page with the lines", id="page"),
        pytest.param(["--json", "/nowhere/at/all.json"], "there is no such folder", id="folder"),
    ],
)
def test_a_bad_option_ends_with_2(arguments: list[str], named: str) -> None:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    result = CliRunner().invoke(main, ["bench", *TINY, *arguments], env=ours)
    assert result.exit_code == 2
    assert named in result.output
