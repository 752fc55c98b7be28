"""A `forebay` command that a test ends and starts anew, as operators do."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.e2e.up_process import FOREBAY, START_S, environment
from tests.polling import until


class Restartable:
    """One process after another with the same arguments; what they said goes to files, one pair a life."""

    def __init__(self, folder: Path, name: str, *arguments: str) -> None:
        self.name, self.lives = name, 0
        self._folder, self._arguments = folder, arguments
        self._process: subprocess.Popen[bytes] | None = None

    def __str__(self) -> str:
        return f"{self.name}: {self._file('out').read_text()}{self._file('err').read_text()}"

    def begin(self) -> None:
        """Starts it, without waiting for it."""
        self.lives += 1
        with self._file("out").open("wb") as out, self._file("err").open("wb") as err:
            self._process = subprocess.Popen(
                [*FOREBAY, *self._arguments], env=environment(), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )

    async def ready(self) -> None:
        """Returns when it has said that it is."""
        process = self._process
        assert process is not None

        def said() -> bool:
            assert process.poll() is None, str(self)
            return self._file("out").read_text().endswith("\n")

        await until(said, f"{self.name} is ready", within_s=START_S, pause_s=0.02)

    def tell_to_end(self) -> None:
        """SIGTERM."""
        assert self._process is not None
        self._process.terminate()

    async def ended(self) -> None:
        """Returns when it has ended, well."""
        process = self._process
        assert process is not None
        await until(lambda: process.poll() is not None, f"{self.name} has ended", within_s=START_S, pause_s=0.02)
        assert process.returncode == 0, str(self)

    def complaints(self) -> list[str]:
        """What any of its lives has logged above INFO."""
        logs = [self._folder / f"{self.name}.{life}.err" for life in range(1, self.lives + 1)]
        found = re.compile(r"^.* (?:WARNING|ERROR|CRITICAL) .*$", re.MULTILINE)
        return [line for log in logs for line in found.findall(log.read_text())]

    def kill(self) -> None:
        """Ends it by force."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def _file(self, suffix: str) -> Path:
        return self._folder / f"{self.name}.{self.lives}.{suffix}"


@contextmanager
def ending_all(processes: list[Restartable]) -> Iterator[None]:
    """None of them outlives the block."""
    try:
        yield
    finally:
        for process in processes:
            process.kill()
