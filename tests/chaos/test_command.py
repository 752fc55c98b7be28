"""What `make chaos` takes; what it does is in test_run.py."""

import shutil
from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.chaos.__main__ import LONG, main, run, settings_of
from tests.chaos.kinds import KINDS, possible
from tests.chaos.settings import ChaosSettings, Stage
from tests.servers import BINARY, MISSING


def given(**options: object) -> ChaosSettings:
    return settings_of({"is_long": False, "stages": (), "kinds": ()} | options)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_runs_nothing(option: str) -> None:
    result = CliRunner().invoke(main, [option])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")


@pytest.mark.parametrize("url", ["http://192.0.2.1:80", "https://127.0.0.1:1", "127.0.0.1:1"])
def test_a_router_elsewhere_is_refused(url: str) -> None:
    assert CliRunner().invoke(main, ["--against", url]).exit_code == 2


def test_the_long_run_is_as_long_as_it_is_promised_to_be() -> None:
    counts = dict.fromkeys(KINDS, 0)
    for stage in LONG.stages:
        of_stage = stage.of(LONG)
        taken, _ = possible(of_stage.kinds, stage.store, has_faketime=True, theirs=False)
        for kind in taken:
            counts[kind.name] += of_stage.rounds
    assert LONG.requests >= 20_000
    assert sum(counts.values()) >= 100
    assert min(counts.values()) >= 10


def test_what_is_given_counts_in_place_of_what_is_usual() -> None:
    assert given() == ChaosSettings()
    assert given(seed=7, rate=3.0, stages=("pairs-sentinel",)).stages == (Stage("pairs", "sentinel"),)
    assert given(is_long=True, seed=7) == given(is_long=True, seed=7, faults=None)
    assert given(is_long=True, faults=9).rounds == 0
    assert given(is_long=True, against="http://127.0.0.1:1").stages == (Stage("mixed", "alone"),)


@pytest.mark.skipif(BINARY is None, reason=MISSING)
async def test_a_run_against_another_router_ends_well_where_there_is_no_nginx(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "redis-server").symlink_to(shutil.which("redis-server") or "")
    monkeypatch.setenv("PATH", str(tmp_path))
    report = await run(ChaosSettings(stages=(), against="http://127.0.0.1:1"), tmp_path, "")
    assert report.stages == []
    assert {"cpu", "redis-server", "date"} <= set(report.machine)
