"""Simulated ranks of an external data-parallel group: none goes before all are there, none after one is lost."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial

import httpx
import pytest

from simulator.server import RankCrashedError, serve
from simulator.settings import RankSettings
from tests.polling import until
from tests.ports import free_row

SIZE = 3
ASK = {"prompt": "x", "max_tokens": 4, "ignore_eos": True}


class Ranks:
    """A group's ranks, each a task on its own port; what becomes of one that ends by itself is in `ended`."""

    def __init__(self) -> None:
        self.first_port = free_row(SIZE + 1)
        self._lives: dict[int, asyncio.Task[None]] = {}
        self.ended: dict[int, str] = {}

    def url(self, number: int) -> str:
        return f"http://127.0.0.1:{self.first_port + number}"

    def start(self, tasks: asyncio.TaskGroup, *numbers: int, size: int = SIZE) -> None:
        for number in numbers:
            settings = RankSettings(
                port=self.first_port + number,
                speed=100,
                data_parallel_size=size,
                data_parallel_rank=number,
                data_parallel_rpc_port=self.first_port + SIZE,
            )
            self._lives[number] = tasks.create_task(self._live(number, settings), name=f"rank {number}")

    async def kill(self, number: int) -> None:
        self._lives[number].cancel()
        await asyncio.wait([self._lives[number]])

    async def kill_all(self) -> None:
        for number in self._lives:
            await self.kill(number)

    async def _live(self, number: int, settings: RankSettings) -> None:
        try:
            await serve(settings, lambda _line: None)
        except RankCrashedError as error:
            self.ended[number] = str(error)


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with httpx.AsyncClient(trust_env=False, timeout=0.5) as opened:
        yield opened


@asynccontextmanager
async def ranks_running() -> AsyncIterator[tuple[Ranks, asyncio.TaskGroup]]:
    ranks = Ranks()
    async with AsyncExitStack() as stack:
        tasks = await stack.enter_async_context(asyncio.TaskGroup())
        try:
            yield ranks, tasks
        finally:
            await ranks.kill_all()


async def answers(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(f"{url}/health")).status_code == 200
    except httpx.TransportError:
        return False


async def connects(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    return True


async def generates(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.post(f"{url}/v1/completions", json=ASK)).status_code == 200
    except httpx.TransportError:
        return False


async def test_no_rank_answers_before_all_are_there(client: httpx.AsyncClient) -> None:
    async with ranks_running() as (ranks, tasks):
        ranks.start(tasks, 1, 0)
        await until(partial(connects, ranks.first_port + SIZE), "rank 0 coordinates")
        assert not any([await answers(client, ranks.url(number)) for number in range(SIZE)])
        ranks.start(tasks, 2)
        for number in range(SIZE):
            await until(partial(answers, client, ranks.url(number)), "all are there", pause_s=0.02)
            await until(partial(generates, client, ranks.url(number)), "it generates", pause_s=0.02)
        engine = (await client.get(f"{ranks.url(2)}/metrics")).text
        assert 'engine="2"' in engine


@pytest.mark.parametrize("lost", [0, 2])
async def test_the_others_hang_when_one_is_lost(client: httpx.AsyncClient, lost: int) -> None:
    async with ranks_running() as (ranks, tasks):
        ranks.start(tasks, *range(SIZE))
        await until(partial(generates, client, ranks.url(1)), "the group goes", pause_s=0.02)
        await ranks.kill(lost)

        async def hangs() -> bool:
            return not await generates(client, ranks.url(1))

        await until(hangs, "the others hang", pause_s=0.02)
        await until(partial(answers, client, ranks.url(1)), "it says that it is well all the same", pause_s=0.02)


async def test_one_that_comes_anew_alone_is_refused(client: httpx.AsyncClient) -> None:
    async with ranks_running() as (ranks, tasks):
        ranks.start(tasks, *range(SIZE))
        await until(partial(generates, client, ranks.url(1)), "the group goes", pause_s=0.02)
        await ranks.kill(2)
        ranks.start(tasks, 2)
        await until(lambda: 2 in ranks.ended, "it ends")
        assert "comes to a group of an older life" in ranks.ended[2]
        del ranks.ended[2]
        await ranks.kill(0)
        ranks.start(tasks, 0)
        ranks.start(tasks, 2, size=SIZE + 1)
        await until(lambda: 2 in ranks.ended, "rank 0 coordinates anew")
        assert not await answers(client, ranks.url(0))


async def test_all_together_go_again(client: httpx.AsyncClient) -> None:
    async with ranks_running() as (ranks, tasks):
        for _ in range(2):
            ranks.start(tasks, *range(SIZE))
            await until(partial(generates, client, ranks.url(1)), "the group goes", pause_s=0.02)
            await ranks.kill_all()
        assert ranks.ended == {}


async def test_one_of_another_size_or_a_number_twice_is_refused() -> None:
    async with ranks_running() as (ranks, tasks):
        ranks.start(tasks, 0, 1)
        await until(partial(connects, ranks.first_port + SIZE), "rank 0 coordinates")
        ranks.start(tasks, 2, size=SIZE + 1)
        await until(lambda: 2 in ranks.ended, "it ends")
        assert "is of a group of 4, this one has 3 ranks" in ranks.ended[2]
        await ranks.kill(1)
        ranks.start(tasks, 1)
        await until(lambda: 1 in ranks.ended, "it ends")
        assert "cannot come anew alone" in ranks.ended[1]


async def test_what_is_no_coordinator_is_said() -> None:
    async with ranks_running() as (ranks, tasks):
        port = ranks.first_port + SIZE

        def talk(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(b"HTTP/1.1 400\r\n")
            writer.close()

        async with await asyncio.start_server(talk, "127.0.0.1", port):
            ranks.start(tasks, 1)
            await until(lambda: 1 in ranks.ended, "it ends")
            assert "is no coordinator" in ranks.ended[1]


def test_a_group_without_such_a_rank_is_refused() -> None:
    with pytest.raises(ValueError, match="a group of 2 has no such rank"):
        RankSettings(data_parallel_size=2, data_parallel_rank=2)
