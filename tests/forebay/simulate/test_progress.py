"""A simulation says on a terminal how far it is, and nowhere else."""

import os
import pty
import subprocess
import sys
from contextlib import suppress
from io import StringIO

import msgspec
import pytest
from rich.console import Console

from forebay.simulate.progress import progress

ARGUMENTS = "--workload poisson --requests 20 --seeds 1-3 --json"
COMMAND = [sys.executable, "-m", "forebay", "simulate", *ARGUMENTS.split()]
TERMINAL = {"TERM": "xterm", "COLUMNS": "80"}


def test_each_run_that_ended_is_counted_on_a_terminal() -> None:
    shown = StringIO()
    with progress(Console(file=shown, force_terminal=True, width=80), 3) as ended:
        ended()
        ended()
    assert "2/3" in shown.getvalue()


def test_elsewhere_nothing_is_shown() -> None:
    shown = StringIO()
    with progress(Console(file=shown, force_terminal=False), 3) as ended:
        ended()
    assert not shown.getvalue()


@pytest.mark.parametrize("is_terminal", [True, False])
def test_the_command_shows_it_on_standard_error_and_its_json_stays_clean(*, is_terminal: bool) -> None:
    ours, theirs = pty.openpty() if is_terminal else os.pipe()
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    with subprocess.Popen(COMMAND, stdout=subprocess.PIPE, stderr=theirs, env=environment | TERMINAL) as process:
        os.close(theirs)
        said = read_to_the_end(ours)
        printed = process.stdout.read() if process.stdout else b""
    assert process.returncode == 0
    assert (b"3/3" in said) is is_terminal
    assert is_terminal or not said
    assert [seed["seed"] for seed in msgspec.json.decode(printed)["seeds"]] == [1, 2, 3]


def read_to_the_end(descriptor: int) -> bytes:
    """What comes until nobody can write any more, of which a terminal makes an error."""
    found = []
    with suppress(OSError):
        while piece := os.read(descriptor, 1 << 16):
            found.append(piece)
    os.close(descriptor)
    return b"".join(found)
