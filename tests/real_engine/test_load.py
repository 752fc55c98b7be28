"""What the agent publishes is what the engine counts; what the engine no longer needs, it frees."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

import httpx
import pytest

from scheduler.rows import SeenRank
from tests.polling import until
from tests.real_engine.asking import PATHS, asked, text_of_words
from tests.real_engine.conftest import Told
from tests.real_engine.engine import ANSWER_S, MAX_NUM_SEQS, Engine
from tests.real_engine.stack import Stack

STREAMS = 20
KV_TOKENS = 65_536
PATIENCE_S = 60.0

eventually = partial(until, within_s=PATIENCE_S)


@asynccontextmanager
async def asking(*targets: tuple[str, dict[str, Any]]) -> AsyncIterator[None]:
    """Requests that wait for their answers, until the block ends: then their connections close."""
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(timeout=ANSWER_S, limits=limits, trust_env=False) as client,
        asyncio.TaskGroup() as group,
    ):
        clients = [group.create_task(client.post(url, json=body), name=url) for url, body in targets]
        yield
        for each in clients:
            each.cancel()


def long_request(path: str, engine: Engine, seed: int) -> dict[str, Any]:
    """A request of many seconds."""
    return asked(path, engine.model, text_of_words(20, seed), max_tokens=3600)


async def _published(stack: Stack, engine: Engine) -> SeenRank:
    seen = await stack.published(engine)
    assert seen is not None
    return seen


async def _gauges(engine: Engine) -> dict[str, float]:
    return await asyncio.to_thread(engine.gauges)


async def test_the_agent_publishes_the_engines_own_numbers_under_load(stack: Stack, plain: Engine, told: Told) -> None:
    path = PATHS[1]
    async with asking(*((plain.url + path, long_request(path, plain, seed)) for seed in range(STREAMS))):

        async def has_all() -> bool:
            page = await _gauges(plain)
            return (page["num_requests_running"], page["num_requests_waiting"]) == (
                MAX_NUM_SEQS,
                STREAMS - MAX_NUM_SEQS,
            )

        await eventually(has_all, f"{MAX_NUM_SEQS} of {STREAMS} are running")
        with plain.held():  # else some may end while two pages are compared

            async def is_told() -> bool:
                seen = await _published(stack, plain)
                return (seen.running, seen.foreign_requests) == (MAX_NUM_SEQS, STREAMS)

            await eventually(is_told, f"{MAX_NUM_SEQS} running of {STREAMS} are published")
            kv_tokens = round((await _gauges(plain))["kv_cache_usage_perc"] * KV_TOKENS)

            async def is_told_its_kv() -> bool:
                return (await _published(stack, plain)).foreign_kv_tokens == kv_tokens

            await eventually(is_told_its_kv, f"{kv_tokens} tokens of KV are published")
            seen = await _published(stack, plain)
        # While it stood still it was said to be stalled, and no gateway would place on it.
        await asyncio.to_thread(stack.wait_for, plain, "up")
    told(f"running {seen.running}, all requests {seen.foreign_requests}: equal to the engine's page")
    told(f"KV tokens {seen.foreign_kv_tokens}: equal to the engine's page")
    await _until_idle(stack, plain)


async def test_what_gateways_placed_is_counted_once(stack: Stack, plain: Engine, told: Told) -> None:
    targets = [
        (stack.gateways[seed % 2] + PATHS[seed % 2], long_request(PATHS[seed % 2], plain, seed + 100))
        for seed in range(STREAMS)
    ]
    async with asking(*targets):

        async def is_told() -> bool:
            status = await asyncio.to_thread(stack.status)
            (rank,) = [rank for rank in status.ranks if rank.rank == plain.rank]
            seen = await _published(stack, plain)
            return (seen.running, seen.foreign_requests, rank.reservations, rank.requests) == (
                MAX_NUM_SEQS,
                0,
                STREAMS,
                STREAMS,
            )

        await eventually(is_told, "all streams are reservations, and none is counted a second time")
        page = await _gauges(plain)
        told(f"{STREAMS} reservations; engine: {page['num_requests_running']:.0f} running, "
             f"{page['num_requests_waiting']:.0f} waiting")  # fmt: skip
    await _until_idle(stack, plain)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("streamed", [False, True])
async def test_a_client_that_hangs_up_frees_the_engines_request(
    stack: Stack, plain: Engine, path: str, *, streamed: bool
) -> None:
    async with asking((stack.gateways[0] + path, long_request(path, plain, seed=7) | {"stream": streamed})):

        async def runs() -> bool:
            return (await _gauges(plain))["num_requests_running"] == 1

        await eventually(runs, "the engine works on it")
    await _until_idle(stack, plain)


async def _until_idle(stack: Stack, engine: Engine) -> None:
    async def is_idle() -> bool:
        page = await _gauges(engine)
        return page["num_requests_running"] + page["num_requests_waiting"] + page["kv_cache_usage_perc"] == 0

    await eventually(is_idle, "the engine has nothing left")

    async def is_free() -> bool:
        status = await asyncio.to_thread(stack.status)
        return (status.reservations, await asyncio.to_thread(lambda: engine.load)) == (0, 0)

    await eventually(is_free, "no reservation is left, nor a request in the engine's server")
