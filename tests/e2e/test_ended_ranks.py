"""A rank that ends as vLLM does on SIGTERM: nobody listens any more, and its clients' connections say nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
import pytest

from scheduler.admin import status
from scheduler.draining import Selection, drain
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.gateway.running import CHAT, COMPLETIONS
from tests.gateway.test_with_the_real_scheduler import knows_the_model
from tests.polling import until, until_now
from tests.servers import needs_redis, redis_server
from tests.simulator.oracle import right_text
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import documents_of, events_of

pytestmark = needs_redis

LOST = "The rank went down before its answer was complete"
TOKENS = 8
ENDLESS = {"model": "sim", "stream": True, "ignore_eos": True, "max_tokens": 2_000}
STARTED = {
    CHAT: {**ENDLESS, "messages": [{"role": "user", "content": "Go on"}]},
    "/v1/messages": {**ENDLESS, "messages": [{"role": "user", "content": "Go on"}]},
    "/v1/responses": {"model": "sim", "stream": True, "input": "Go on", "max_output_tokens": 2_000},
}
"""Streams that are in the middle of an answer; the end of a text is far."""
ERRORS = {
    CHAT: {"error": {"message": LOST, "type": "Bad Gateway", "param": None, "code": 502}},
    "/v1/messages": {"type": "error", "error": {"type": "Bad Gateway", "message": LOST}},
    "/v1/responses": {"type": "error", "code": "502", "message": LOST, "param": None},
}


class Site(NamedTuple):
    """A gateway over two ranks."""

    redis_url: str
    gateway: ForebayProcess
    ending: RankProcess
    other: RankProcess

    async def take_in_only(self, taking: RankProcess, *, undo: bool = False) -> None:
        """What is placed from now on goes there; or again to both, with `undo`."""
        other = self.other if taking is self.ending else self.ending
        async with open_store(self.redis_url) as store:
            await drain(store, Selection(rank=f"127.0.0.1:{other.port}"), SchedulerSettings(), undo=undo)

    async def holds_nothing(self) -> bool:
        async with open_store(self.redis_url) as store:
            return (await status(store, SchedulerSettings())).reservations == 0


@pytest.fixture
def site(tmp_path: Path) -> Iterator[Site]:
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        ending, other = (stack.enter_context(running_rank("--linger-s", "600")) for _ in range(2))
        ranks = ",".join(f"127.0.0.1:{rank.port}" for rank in (ending, other))
        # Nobody is to leave because the rank stalls.
        about = ("--model", "sim", "--role", "mixed", "--ranks", ranks, "--stall-ms", "600000")
        agent = stack.enter_context(forebay_process(tmp_path, "agent", "--redis", redis.url, *about))
        gateway = stack.enter_context(
            forebay_process(tmp_path, "gateway", "--redis", redis.url, "--place-deadline-ms", "2000")
        )
        for process in (agent, gateway):
            process.wait_until_ready()
        until_now(lambda: knows_the_model(gateway), "the gateway knows the model")
        yield Site(redis.url, gateway, ending, other)


@asynccontextmanager
async def begun(client: httpx.AsyncClient, path: str) -> AsyncIterator[asyncio.Task[str]]:
    """A stream that has some of its text; all of it, once it has ended."""
    has_text = asyncio.Event()

    async def read() -> str:
        said = ""
        async with client.stream("POST", path, json=STARTED[path]) as answer:
            async for part in answer.aiter_text():
                said += part
                if said.count("data:") > 8:
                    has_text.set()
        return said

    async with asyncio.TaskGroup() as tasks:
        reading = tasks.create_task(read())
        await has_text.wait()
        yield reading


async def test_what_has_no_byte_is_answered_by_another_rank_and_a_stream_in_its_middle_ends_with_an_error(
    site: Site,
) -> None:
    about = {"model": "sim", "prompt": "Once", "max_tokens": TOKENS, "ignore_eos": True}
    async with httpx.AsyncClient(base_url=site.gateway.url, trust_env=False, timeout=60) as client:
        await site.take_in_only(site.ending)
        async with (
            begun(client, CHAT) as chat,
            begun(client, "/v1/messages") as message,
            begun(client, "/v1/responses") as response,
            asyncio.TaskGroup() as tasks,
        ):
            # Its engine stops first, as vLLM's does: what is streamed gets no word.
            site.ending.post("/sim/fault", {"kind": "freeze"})
            waiting = [
                tasks.create_task(client.post(COMPLETIONS, json=about | {"stream": stream})) for stream in (True, False)
            ]
            await until(lambda: site.ending.state()["in_flight"] == 5, "all are in the rank")
            await site.take_in_only(site.ending, undo=True)
            site.ending.process.terminate()
    stream, whole = (each.result() for each in waiting)
    right = right_text("Once", TOKENS, ignore_eos=True)
    assert "".join(event["choices"][0]["text"] for event in events_of(stream.text)) == right
    assert whole.json()["choices"][0]["text"] == right
    for path, told in ((CHAT, chat), ("/v1/messages", message), ("/v1/responses", response)):
        *events, last = documents_of(told.result())
        assert {name: value for name, value in last.items() if name != "sequence_number"} == ERRORS[path]
        assert len(events) > 4
    assert "[DONE]" not in chat.result()
    await until(site.holds_nothing, "the ledger is empty")
    assert site.ending.process.wait(30) == 0, "nobody holds a connection to it any more"
