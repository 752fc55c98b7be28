"""What stat loggers push reaches the fold, whether the agent waits for it or looks for it."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, closing
from pathlib import Path

from agent.pushes import Pushes
from agent.stat_socket import stat_socket
from agent.targets import Target
from tests.agent.pushed import push_fields
from tests.polling import until

PORT = 9000


class Engine:
    """Pushes as a stat logger does: what the agent cannot take at once is dropped."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._socket.connect(path)
        self.pushed = self.dropped = 0

    def push(self) -> None:
        self.pushed += 1
        fields = push_fields(seq=self.pushed, prompt_tokens=self.pushed, at_ns=self.pushed)
        try:
            self._socket.send(json.dumps(fields).encode())
        except BlockingIOError:
            self.dropped += 1

    def close(self) -> None:
        self._socket.close()


class Folds:
    """What was known at each fold: the prompt tokens of the only engine."""

    def __init__(self, pushes: Pushes) -> None:
        self._pushes = pushes
        self.tokens: list[float] = []

    def __call__(self) -> None:
        self.tokens.append(self._pushes.of(Target("127.0.0.1", PORT))["0"].sample.prompt_tokens)

    async def until_known(self, tokens: int) -> None:
        await until(lambda: self.tokens[-1:] == [tokens], f"{tokens} tokens are folded")


@asynccontextmanager
async def folding(tmp_path: Path) -> AsyncIterator[tuple[Engine, Folds]]:
    path = str(tmp_path / "stats.sock")
    with stat_socket(path) as bound:
        pushes = Pushes(bound)
        await pushes.watch(Target("127.0.0.1", PORT))
        folds = Folds(pushes)
        with closing(Engine(path)) as engine:
            async with asyncio.TaskGroup() as tasks:
                running = tasks.create_task(pushes.run(folds))
                yield engine, folds
                running.cancel()


async def test_what_is_pushed_between_two_folds_is_known_at_the_second(tmp_path: Path) -> None:
    async with folding(tmp_path) as (engine, folds):
        engine.push()
        await folds.until_known(1)
        for _ in range(3):
            engine.push()
        await folds.until_known(4)
        assert folds.tokens == [1, 4]


async def test_of_engines_that_push_much_none_is_dropped(tmp_path: Path) -> None:
    async with folding(tmp_path) as (engine, folds):
        for _ in range(50):
            for _ in range(8):  # a socket holds ten
                engine.push()
            for _ in range(3):
                await asyncio.sleep(0)
        await folds.until_known(engine.pushed)
        assert engine.dropped == 0


async def test_a_port_that_is_added_again_before_it_is_gone_is_still_heard(tmp_path: Path) -> None:
    path, target = str(tmp_path / "stats.sock"), Target("127.0.0.1", PORT)
    with stat_socket(path) as bound, closing(Engine(path)) as engine:
        pushes = Pushes(bound)
        for _ in range(2):
            assert await pushes.watch(target)
        pushes.forget(target)
        engine.push()
        assert pushes.of(target)["0"].sample.prompt_tokens == 1
        pushes.forget(target)
        engine.push()
        assert pushes.of(target) == {}
