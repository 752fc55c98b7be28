"""Processes that are killed, frozen and started again; what they say goes to files, and each is ended by its pid."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

from tests.polling import until

START_WITHIN_S, END_WITHIN_S = 60.0, 45.0
POLL_S = 0.02
ENVIRONMENT = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}


def forebay(*arguments: str) -> list[str]:
    """A command of ours, which ends when this process does."""
    return [sys.executable, "-m", "forebay", "--die-with", str(os.getpid()), *arguments]


class Life(NamedTuple):
    """From when (monotonic) a process served, and until when: killed, or, `in_order`, told to end."""

    begin_s: float
    end_s: float = float("inf")
    in_order: bool = False


class Running:
    """One part of the fleet: a command that has several lives. `is_ready` is asked until it is True."""

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        folder: Path,
        *,
        is_ready: Callable[[], Awaitable[bool]] | None = None,
        variables: Mapping[str, str] | None = None,
        ignores_xfsz: bool = False,
    ) -> None:
        self.name, self.command = name, list(command)
        self.lives: list[Life] = []
        self._out, self._err = folder / f"{name}.out", folder / f"{name}.err"
        self._is_ready = is_ready or self._has_said_so
        self._environment = ENVIRONMENT | dict(variables or {})
        self._ignores_xfsz = ignores_xfsz
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """Of its present life."""
        assert self._process is not None
        return self._process.pid

    @property
    def runs(self) -> bool:
        """Whether it has not ended."""
        return self._process is not None and self._process.poll() is None

    def start(self) -> None:
        """Begins a life; `ready` waits for it."""
        self._out.write_bytes(b"")
        with self._out.open("wb") as out, self._err.open("ab") as err:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
                env=self._environment,
                start_new_session=True,
                # Python ignores SIGXFSZ, and only then hands that on: a write beyond the limit is an error, no end.
                restore_signals=not self._ignores_xfsz,
            )

    async def ready(self) -> None:
        """Returns when it serves."""
        await until(self._ready_or_ended, f"{self.name} is ready", within_s=START_WITHIN_S, pause_s=POLL_S)
        self.lives.append(Life(time.monotonic()))

    def signal(self, number: signal.Signals) -> None:
        """Sends a signal; one that ends it ends its life, as clients may notice from now on."""
        if number in (signal.SIGKILL, signal.SIGTERM) and self.lives and self.lives[-1].end_s == float("inf"):
            self.lives[-1] = Life(self.lives[-1].begin_s, time.monotonic(), in_order=number == signal.SIGTERM)
        if self.runs:
            os.kill(self.pid, number)

    async def ended(self, within_s: float = END_WITHIN_S) -> None:
        """Returns when it has ended; after so long it is killed."""
        deadline_s = time.monotonic() + within_s
        await until(
            lambda: not self.runs or time.monotonic() > deadline_s,
            f"{self.name} ends",
            within_s=within_s + 5,
            pause_s=POLL_S,
        )
        self.kill()

    def kill(self) -> None:
        """Ends it at once, frozen or not."""
        if self._process is not None:
            self.signal(signal.SIGKILL)
            with suppress(subprocess.TimeoutExpired):
                self._process.wait(END_WITHIN_S)

    async def _ready_or_ended(self) -> bool:
        if not self.runs:
            raise RuntimeError(
                f"{self.name} ended early: see {self._err}\n{self._err.read_text(errors='replace')[-2000:]}"
            )
        return await self._is_ready()

    async def _has_said_so(self) -> bool:
        return self._out.read_bytes().endswith(b"\n")
