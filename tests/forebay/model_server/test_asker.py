"""When a server is asked, and for how long it is waited for."""

import asyncio
import threading
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import anyio
import pytest

from forebay.model_server.asker import Answered, Patience, Unanswered, asker
from forebay.model_server.errors import ServerError
from forebay.model_server.server import server_at
from tests.forebay.model_server.scripted_server import Asked, Reply, echo, scripted_server
from tests.polling import until

PATH = "/v1/completions"


def body(prompt: str) -> bytes:
    return b'{"model": "sim", "prompt": "%b"}' % prompt.encode()


async def test_nobody_asks_a_server_that_has_asked_for_another_pause_meanwhile() -> None:
    let_go, closed_until_s, too_early = threading.Event(), 0.0, []

    def closing(seconds: int) -> Reply:
        nonlocal closed_until_s
        closed_until_s = time.monotonic() + seconds
        return Reply(429, {}, (("retry-after", str(seconds)),))

    def script(asked: Asked, before: int) -> Reply:
        match asked.body["prompt"]:
            case "under way":
                let_go.wait(10)
                return closing(2)
            case "first":
                return closing(1)
        if time.monotonic() < closed_until_s:
            too_early.append(asked)
        return echo(asked, before)

    async def refused(prompt: str) -> None:
        with pytest.raises(ServerError, match="nothing was let in"):
            await asking.ask(PATH, body(prompt))

    with scripted_server(script) as server:
        async with (
            asker(server_at([server.url]), 4, Patience(busy_s=0.5)) as asking,
            anyio.create_task_group() as tasks,
        ):
            tasks.start_soon(refused, "under way")
            await until(lambda: server.under_way == 1, "one is under way")
            await refused("first")
            tasks.start_soon(asking.ask, PATH, body("waits"))
            await anyio.wait_all_tasks_blocked()
            let_go.set()
    assert [asked.body["prompt"] for asked in server.posts] == ["under way", "first", "waits"]
    assert too_early == []


async def test_while_one_server_asks_for_a_pause_the_others_are_asked() -> None:
    with (
        scripted_server(lambda *_: Reply(503, {}, (("retry-after", "60"),))) as pausing,
        scripted_server() as other,
    ):
        async with asker(server_at([pausing.url, other.url]), 2, Patience(busy_s=5)) as asking:
            found = [await asking.ask(PATH, body(f"p{number}")) for number in range(4)]
    assert all(isinstance(each, Answered) and each.is_ok for each in found)
    assert (len(pausing.posts), len(other.posts)) == (1, 4)


@asynccontextmanager
async def dripping_server() -> AsyncIterator[str]:
    """Its answer comes a byte at a time, each of them soon."""
    has_ended = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"}")
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 40\r\n\r\n")
        with suppress(ConnectionError):
            for byte in b"{" + b" " * 38 + b"}":
                writer.write(bytes([byte]))
                await writer.drain()
                await asyncio.sleep(0.05)
        writer.close()
        has_ended.set()

    async with await asyncio.start_server(serve, "127.0.0.1", 0) as running:
        yield f"http://127.0.0.1:{running.sockets[0].getsockname()[1]}"
        await has_ended.wait()


async def test_the_time_for_an_answer_is_for_all_of_it() -> None:
    async with (
        dripping_server() as url,
        asker(server_at([url]), 1, Patience(answer_s=0.3, retries=0)) as asking,
    ):
        found = await asking.ask(PATH, body("a"))
    assert found == Unanswered("request_timeout", f"{url}: no answer in 0.3 s")
