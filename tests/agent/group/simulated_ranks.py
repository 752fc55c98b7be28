"""The ranks of one node, simulated in this process: each listens on a port of its own, and is of an external DP group
that refuses a rank which comes anew alone.
"""

from __future__ import annotations

import asyncio

import anyio

from simulator.server import RankCrashedError, serve
from simulator.settings import RankSettings

HOST = "127.0.0.1"


class SimulatedRanks:
    """A RankSet; `starts` counts, `refused` has what coordinators said to ranks that they would not have."""

    def __init__(self, tasks: asyncio.TaskGroup, first: int, count: int, size: int, first_port: int) -> None:
        """Rank n listens on first_port + n, and the coordinator on the port after the last."""
        self._tasks = tasks
        self._settings = [
            RankSettings(
                port=first_port + number,
                speed=100,
                data_parallel_size=size,
                data_parallel_rank=number,
                data_parallel_rpc_port=first_port + size,
            )
            for number in range(first, first + count)
        ]
        self._lives: list[asyncio.Task[None]] = []
        self._serving: set[int] = set()
        self._exits: asyncio.Queue[str] = asyncio.Queue()
        self.starts = 0
        self.ends_at_once = False
        self.may_stop = asyncio.Event()
        self.may_stop.set()
        self.refused: list[str] = []

    @property
    def ready(self) -> bool:
        return len(self._serving) == len(self._settings)

    @property
    def alive(self) -> int:
        return sum(not life.done() for life in self._lives)

    async def start(self) -> None:
        self.starts += 1
        self._exits = asyncio.Queue()
        self._lives = [
            self._tasks.create_task(self._live(settings), name=f"rank {settings.data_parallel_rank}")
            for settings in self._settings
        ]
        if self.ends_at_once:
            await self.kill(0)

    async def stop(self) -> None:
        await self.may_stop.wait()
        for life in self._lives:
            life.cancel()
        if self._lives:
            await asyncio.wait(self._lives)
        self._lives = []

    async def next_exit(self) -> str:
        return await self._exits.get()

    async def kill(self, index: int) -> None:
        """One rank ends as by kill -9; nobody here has asked for it."""
        self._lives[index].cancel()
        await asyncio.wait([self._lives[index]])
        self._exits.put_nowait(f"rank {self._settings[index].data_parallel_rank} was killed")

    async def restart_alone(self, index: int) -> None:
        """One rank comes anew at once, as under somebody who knows of no group; nobody hears of its end."""
        self._lives[index].cancel()
        await asyncio.wait([self._lives[index]])
        self._lives[index] = self._tasks.create_task(self._live(self._settings[index]), name="alone")

    async def _live(self, settings: RankSettings) -> None:
        number = settings.data_parallel_rank
        try:
            await serve(settings, lambda _line: self._serving.add(number))
        except RankCrashedError as error:
            self.refused.append(str(error))
            self._exits.put_nowait(f"rank {number} ended: {error}")
        finally:
            self._serving.discard(number)


async def listens(port: int) -> None:
    """Returns once something listens there."""
    while True:
        try:
            _, writer = await asyncio.open_connection(HOST, port)
        except OSError:
            await anyio.sleep(0.02)
            continue
        writer.close()
        return
