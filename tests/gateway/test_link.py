"""What a worker and its supervisor say to each other."""

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import anyio
import pytest

from gateway.link import Link, LinkClosedError, open_link


async def nothing(_: bytes) -> bytes:
    return b""


@asynccontextmanager
async def pair() -> AsyncIterator[tuple[Link, Link]]:
    ours, theirs = socket.socketpair()
    async with open_link(ours) as one, open_link(theirs) as other:
        yield one, other


async def test_either_end_asks_and_each_gets_the_answer_to_its_own_question() -> None:
    numbers = iter(range(100))
    large = b"x" * 3_000_000

    async def count(_: bytes) -> bytes:
        number = next(numbers)
        await anyio.sleep(0 if number % 2 else 0.001)
        return str(number).encode()

    async def page(_: bytes) -> bytes:
        return large

    async with pair() as (worker, supervisor), anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, count)
        tasks.start_soon(supervisor.run, page)
        answers = await asyncio.gather(*(supervisor.ask() for _ in range(20)), worker.ask())
        assert answers == [*(str(number).encode() for number in range(20)), large]
        tasks.cancel_scope.cancel()


async def test_a_worker_says_that_it_is_ready() -> None:
    lines: list[str] = []
    heard = anyio.Event()

    def hear(line: str) -> None:
        lines.append(line)
        heard.set()

    async with pair() as (worker, supervisor), anyio.create_task_group() as tasks:
        tasks.start_soon(supervisor.run, nothing, hear)
        worker.ready("it serves")
        await heard.wait()
        tasks.cancel_scope.cancel()
    assert lines == ["it serves"]


async def test_who_waits_for_an_answer_hears_that_the_other_end_has_ended() -> None:
    ours, theirs = socket.socketpair()

    async def asks(link: Link) -> None:
        with pytest.raises(LinkClosedError):
            await link.ask()
        with pytest.raises(LinkClosedError):
            await link.ask()

    async def runs(link: Link) -> None:
        with pytest.raises(LinkClosedError):
            await link.run(nothing)

    async with open_link(ours) as link, anyio.create_task_group() as tasks:
        tasks.start_soon(asks, link)
        tasks.start_soon(runs, link)
        loop = asyncio.get_running_loop()
        theirs.setblocking(False)
        assert await loop.sock_recv(theirs, 1)
        theirs.close()


async def test_an_answer_nobody_waits_for_any_more_is_dropped() -> None:
    may_answer = anyio.Event()

    async def late(_: bytes) -> bytes:
        await may_answer.wait()
        return b"late"

    async with pair() as (worker, supervisor), anyio.create_task_group() as tasks:
        tasks.start_soon(worker.run, late)
        tasks.start_soon(supervisor.run, nothing)
        with anyio.move_on_after(0.01):
            await supervisor.ask()
        may_answer.set()
        assert await supervisor.ask() == b"late"
        tasks.cancel_scope.cancel()
