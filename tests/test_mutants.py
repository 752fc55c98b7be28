"""What `make mutants` takes; that each mutant is caught is for itself to show."""

import pytest
from click.testing import CliRunner

from tests.mutants import PARTS, main


def test_an_unknown_part_is_refused_with_the_known_ones() -> None:
    result = CliRunner().invoke(main, ["typo"])
    assert result.exit_code == 2
    assert all(f"'{part}'" in result.output for part in PARTS)


@pytest.mark.parametrize("option", ["-h", "--help"])
def test_help_runs_nothing(option: str) -> None:
    result = CliRunner().invoke(main, [option])
    assert result.exit_code == 0
    assert result.output.startswith("Usage: ")
