"""`make mutants`: each one-line change of a script must make a test of its invariant fail.

Only tests on the VirtualStore run, in a process of their own that carries the mutation in an environment variable
(tests/invariants/mutation.py). Exits 1 if a mutant survives, a mutation no longer applies, or the tests fail without.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple

import click
import msgspec

from tests.invariants.mutation import VARIABLE, Mutation, part_text
from tests.invariants.mutations import MUTATIONS

FOLDER = Path(__file__).parent / "invariants"
PARTS = sorted({mutation.part for mutation in MUTATIONS})
REAL = "_on_redis"
"""In the names of test files that need a real server."""
ALL_PASSED, SOME_FAILED = 0, 1
WITHIN_S = 300.0
"""Several times what all tests take where others use the machine too: a slow run is not one that hangs."""


class Verdict(NamedTuple):
    """`caught_by` is the test that failed; empty: none did."""

    mutation: Mutation
    caught_by: str
    seconds: float


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("parts", nargs=-1, metavar="[PART]...", type=click.Choice(PARTS))
def main(parts: Sequence[str]) -> None:
    """Mutate the Lua scripts called PARTS (all where none is named) one line at a time; each must be caught."""
    sys.exit(judge(parts))


def judge(wanted: Sequence[str]) -> int:
    """Runs the mutants of the parts `wanted` (all when empty), prints a table, returns the exit status."""
    chosen = [mutation for mutation in MUTATIONS if not wanted or mutation.part in wanted]
    for mutation in chosen:
        try:
            mutation.apply(part_text(mutation.part))
        except ValueError as error:
            click.echo(f"a mutation no longer applies: {error}")
            return 1
    if failed := _first_failure(None, _files(None)):
        click.echo(f"without a mutation fails: {failed}")
        return 1
    survivors = 0
    with ThreadPoolExecutor(os.cpu_count()) as workers:
        for verdict in workers.map(_judge, chosen):
            survivors += not verdict.caught_by
            click.echo(_line(verdict))
    click.echo(f"{len(chosen)} mutants, {survivors} survived")
    return 1 if survivors else 0


def _judge(mutation: Mutation) -> Verdict:
    """The tests of its invariant first; where they are content, all the others."""
    started = time.monotonic()
    caught_by = _first_failure(mutation, _files(mutation.invariant)) or _first_failure(mutation, _files(None))
    return Verdict(mutation, caught_by, time.monotonic() - started)


def _files(invariant: int | None) -> list[Path]:
    """The test files of an invariant, state machines last; of all for None."""
    found = FOLDER.glob(f"test_{invariant or '[0-9]*'}_*.py")
    return sorted((file for file in found if REAL not in file.name), key=lambda file: ("machine" in file.name, file))


def _first_failure(mutation: Mutation | None, tests: Sequence[Path]) -> str:
    """The name of the first test that fails; empty if none does."""
    environment = os.environ | {"HYPOTHESIS_PROFILE": "mutants"}
    if mutation:
        environment[VARIABLE] = msgspec.json.encode(mutation).decode()
    options = ("-x", "-q", "--tb=no", "-p", "no:cacheprovider", "-p", "no:xdist")
    command = [sys.executable, "-m", "pytest", *options, *map(str, tests)]
    try:
        done = subprocess.run(
            command,
            check=False,
            env=environment,
            cwd=FOLDER.parent.parent,
            capture_output=True,
            text=True,
            timeout=WITHIN_S,
        )
    except subprocess.TimeoutExpired:
        return f"nothing in {WITHIN_S:.0f} s: it hangs"
    if done.returncode == ALL_PASSED:
        return ""
    found = re.search(r"^(?:FAILED|ERROR) \S*?(test_\S+)", done.stdout, re.MULTILINE)
    if done.returncode != SOME_FAILED or not found:
        raise RuntimeError(f"pytest could not run the tests:\n{done.stdout}{done.stderr}")
    return found[1]


def _line(verdict: Verdict) -> str:
    mutation = verdict.mutation
    change = f"{mutation.part}.lua: {mutation.old.strip()!r} -> {mutation.new.strip()!r}"
    return f"{verdict.seconds:5.1f} s  {mutation.invariant}  {change}\n             {verdict.caught_by or 'SURVIVED'}"


if __name__ == "__main__":
    main()
