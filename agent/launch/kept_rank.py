"""The agent's side of one rank's keeper."""

from __future__ import annotations

import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import anyio
from anyio.abc import Process

from agent.errors import LaunchError
from agent.launch.keeper import ENDED, FAILED, STARTED
from agent.launch.rank_command import RankCommand
from agent.launch.rank_log import open_log

_ROOT = str(Path(__file__).parents[2])
_KEEPER = (
    "import sys; sys.path.insert(0, sys.argv.pop(1)); "
    "from agent.launch.keeper import main; sys.exit(main(sys.argv[1:]))"
)
"""Isolated from the rank's environment (PYTHONPATH and others are the rank's), and without site-packages: it starts in
some 20 ms, and breaks with nothing that is installed."""
_LONGEST_SAID = 65_536


class KeptRank:
    """A rank that was started; made by `start_rank`."""

    def __init__(self, command: RankCommand, process: Process) -> None:
        self.command = command
        self._process = process
        self._said = ""
        self._returncode: int | None = None

    @property
    def pid(self) -> int:
        """The keeper's."""
        return self._process.pid

    async def started(self) -> None:
        """Wait until the template's process runs. Raises LaunchError with the reason why it does not."""
        while "\n" not in self._said and await self._hear():
            pass
        line = self._said.partition("\n")[0]
        if line != STARTED:
            reason = line.removeprefix(FAILED).strip() or "its keeper was ended"
            raise LaunchError(f"rank {self.command.dp_rank}: {self.command.argv[0]} cannot be started: {reason}")

    async def ended(self) -> int:
        """Wait until the template's process has ended: its exit code, or minus the signal that ended it.

        That signal if the keeper itself was ended by one. May be cancelled and asked again.
        """
        while self._returncode is None:
            for line in self._said.splitlines():
                if line.startswith(ENDED):
                    self._returncode = int(line.removeprefix(ENDED))
            if self._returncode is None and not await self._hear():
                self._returncode = await self._process.wait()
        return self._returncode

    async def gone(self) -> bool:
        """Wait until the keeper has ended; whether it left nothing, as it does unless it is killed."""
        return await self._process.wait() == 0

    async def tell(self, word: bytes) -> None:
        """Say keeper.STOP or keeper.KILL."""
        assert self._process.stdin is not None
        with suppress(anyio.BrokenResourceError, anyio.ClosedResourceError):
            await self._process.stdin.send(word)

    async def close(self) -> None:
        """Close the pipes of a keeper that has ended."""
        await self._process.aclose()

    async def _hear(self) -> bool:
        """Take in more of what the keeper says; False at the end of it."""
        assert self._process.stdout is not None
        try:
            self._said += (await self._process.stdout.receive(_LONGEST_SAID)).decode(errors="replace")
        except (anyio.EndOfStream, anyio.ClosedResourceError):
            return False
        return True


async def start_rank(command: RankCommand, stop_timeout_s: float) -> KeptRank:
    """Start a rank's keeper, which starts the rank. Raises LaunchError where even that fails."""
    with open_log(command.log_path) as log:
        try:
            process = await anyio.open_process(
                [sys.executable, "-I", "-S", "-c", _KEEPER, _ROOT, str(stop_timeout_s), *command.argv],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=log,
                cwd=command.folder,
                env=command.environment,
                start_new_session=True,
            )
        except OSError as error:
            raise LaunchError(f"rank {command.dp_rank}: its keeper cannot be started: {error.strerror}") from error
    return KeptRank(command, process)
