"""What starts a measurement can be asked first what it is."""

from __future__ import annotations

import importlib

import pytest
from click.testing import CliRunner


@pytest.mark.parametrize("name", ["herd", "place", "planning", "pool_core", "prefix_index"])
def test_help_is_given_and_nothing_is_measured(name: str) -> None:
    benchmark = importlib.import_module(f"benchmarks.{name}")
    done = CliRunner().invoke(benchmark.main, ["--help"])
    assert done.exit_code == 0
    assert f"python -m benchmarks.{name}" in " ".join(done.stdout.split())
