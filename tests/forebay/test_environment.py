"""Which environment variables the commands accept."""

import os

import pytest
from click.testing import CliRunner, Result

from forebay.main import main


def run(*arguments: str, **variables: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, arguments, env={**ours, **variables})


def test_a_variable_that_is_no_option_is_named_with_what_was_meant() -> None:
    result = run("rank", "--port", "x", FOREBAY_SPEDE="50")
    assert result.exit_code == 2
    assert "FOREBAY_SPEDE is no option's. Did you mean FOREBAY_SPEED?" in result.output


@pytest.mark.parametrize("name", ["FOREBAY_MIXED", "FOREBAY_PORT", "PORT", "HOME_FOREBAY_X"])
def test_a_variable_of_another_command_or_another_program_passes(name: str) -> None:
    result = run("rank", "--role", "no-such-role", **{name: "1"})
    assert result.exit_code == 2
    assert "no-such-role" in result.output
    assert name not in result.output
