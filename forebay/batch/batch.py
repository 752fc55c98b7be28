"""One run of a batch, from its input to its output."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import islice
from pathlib import Path
from tempfile import TemporaryFile
from typing import BinaryIO

import anyio
import msgspec
from rich.console import Console

from forebay.batch.journal import Journal, journal_of, naming, open_journal
from forebay.batch.lines import Outcome
from forebay.batch.places import input_file, is_to_be_written_over, output_path
from forebay.batch.progress import progress
from forebay.batch.roster import Roster
from forebay.batch.running import Noted, run
from forebay.batch.settings import BatchSettings
from forebay.model_server.server import Server

MOST_SHOWN = 20


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """How a run ended: `failed` of `total` requests failed, the first in `failures`; `interrupted`: by a signal."""

    total: int
    done: int
    failed: int
    interrupted: bool
    failures: tuple[Outcome, ...] = ()


def batch(settings: BatchSettings, server: Server, read_from: str, write_to: str, console: Console) -> Result:
    """Raises BatchInputError before anything is asked, and what `run` raises."""
    output = output_path(write_to, read_from, resume=settings.resume)
    with input_file(read_from) as file:
        roster = Roster(file, "standard input" if read_from == "-" else read_from, settings.max_line_bytes)
        roster.read()
        with _journal_file(output, resume=settings.resume) as kept:
            journal = Journal(kept, str(journal_of(output)) if output else "a temporary file", roster)
            journal.load()
            # Looked at before, but the input may have taken its time.
            is_over = output is not None and is_to_be_written_over(output, resume=settings.resume)
            if output and is_over:
                with output.open("rb") as earlier:
                    journal.adopt(earlier, str(output))
            interrupted = _run(settings, server, roster, journal, console, output)
            failures = tuple(islice(journal.failures(), MOST_SHOWN))
            if output and not interrupted:
                journal.write_in_order(output, is_over=is_over)
                journal_of(output).unlink(missing_ok=True)
    return Result(
        total=len(roster), done=journal.done, failed=journal.failed, interrupted=interrupted, failures=failures
    )


@contextmanager
def _journal_file(output: Path | None, *, resume: bool) -> Iterator[BinaryIO]:
    """The file that answers go to; one in which nothing was written is not left behind."""
    if output is None:
        with TemporaryFile() as file:
            yield file
        return
    with open_journal(output, resume=resume) as file:
        try:
            yield file
        finally:
            if not file.seek(0, 2):
                journal_of(output).unlink(missing_ok=True)


def _run(
    settings: BatchSettings, server: Server, roster: Roster, journal: Journal, console: Console, output: Path | None
) -> bool:
    """Whether it was interrupted."""
    written = 0
    with progress(console, len(roster), journal.done) as advance:

        def noted(place: int) -> None:
            nonlocal written
            advance(not journal.is_answered(place))
            while output is None and written < len(roster) and (line := journal.line(written)):
                with naming("standard output"):
                    sys.stdout.buffer.write(line)
                    sys.stdout.buffer.flush()
                written += 1

        return anyio.run(_until_signal, settings, server, roster, journal, noted, backend_options={"use_uvloop": True})


async def _until_signal(
    settings: BatchSettings, server: Server, roster: Roster, journal: Journal, noted: Noted
) -> bool:
    interrupted = False

    async def stop_on_signal() -> None:
        nonlocal interrupted
        with anyio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            async for _ in signals:
                interrupted = True
                tasks.cancel_scope.cancel()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(stop_on_signal, name="signals")
        await run(settings, server, roster, journal, noted)
        tasks.cancel_scope.cancel()
    return interrupted
