"""A server with the stat logger in it tells its agent of each step, and is not asked for its page meanwhile."""

from __future__ import annotations

import asyncio
import time

from scheduler.admin import RankStatus
from scheduler.messages import RankState, Source
from tests.polling import until_now
from tests.real_engine.asking import PATHS
from tests.real_engine.conftest import Told
from tests.real_engine.engine import MAX_NUM_SEQS, Engine
from tests.real_engine.stack import LOOK_S, READY_S, Stack
from tests.real_engine.test_load import asking, long_request

WATCHED_S = 5.0
USUAL_AGE_MS = 1_000
FRESH_MS = 2_000
"""A sample counts whole up to here. On few cores three engines, two gateways and the rest wait for each other."""


def _rank(stack: Stack, engine: Engine) -> RankStatus:
    return next(rank for rank in stack.status().ranks if rank.rank == engine.rank)


def _watch(stack: Stack, engine: Engine) -> list[RankStatus]:
    seen, end_s = [], time.monotonic() + WATCHED_S
    while time.monotonic() < end_s:
        seen.append(_rank(stack, engine))
        time.sleep(LOOK_S)
    return seen


def _pages_read(engine: Engine) -> int:
    return engine.log.read_text(errors="replace").count("GET /metrics")


async def test_a_busy_server_pushes_and_its_load_is_fresh(stack: Stack, plain: Engine, told: Told) -> None:
    path = PATHS[1]
    async with asking(*((plain.url + path, long_request(path, plain, seed)) for seed in range(MAX_NUM_SEQS))):
        await asyncio.to_thread(
            until_now,
            lambda: _rank(stack, plain).source is Source.PUSH and _rank(stack, plain).requests >= MAX_NUM_SEQS,
            "the busy server is known by its pushes",
            within_s=READY_S,
        )
        before = _pages_read(plain)
        seen = await asyncio.to_thread(_watch, stack, plain)
        pages = _pages_read(plain) - before
    ages_ms = sorted(rank.report_age_ms for rank in seen)
    sources = sorted({rank.source.value for rank in seen})
    told(
        f"{len(seen)} statuses in {WATCHED_S:g} s under {MAX_NUM_SEQS} streams: source {', '.join(sources)}, "
        f"age p50 {ages_ms[len(ages_ms) // 2]} ms, at most {ages_ms[-1]} ms; {pages} pages were read meanwhile"
    )
    assert sources == ["push"]
    assert ages_ms[len(ages_ms) // 2] < USUAL_AGE_MS
    assert ages_ms[-1] < FRESH_MS
    assert {rank.state for rank in seen} == {RankState.UP}


def test_an_idle_server_pushes_nothing_and_does_not_look_stale(stack: Stack, plain: Engine, told: Told) -> None:
    until_now(lambda: plain.running == 0, "nothing runs", within_s=READY_S, pause_s=LOOK_S)
    until_now(lambda: _rank(stack, plain).requests == 0, "nothing is published", within_s=READY_S, pause_s=LOOK_S)
    seen = _watch(stack, plain)
    ages_ms = sorted(rank.report_age_ms for rank in seen)
    told(f"idle: source {', '.join(sorted({rank.source.value for rank in seen}))}, age at most {ages_ms[-1]} ms")
    assert {rank.source for rank in seen} == {Source.PUSH}
    assert ages_ms[-1] < FRESH_MS
    assert {rank.state for rank in seen} == {RankState.UP}


async def test_a_server_that_hangs_with_requests_in_it_is_found_stalled(
    stack: Stack, plain: Engine, told: Told
) -> None:
    path = PATHS[1]
    async with asking(*((plain.url + path, long_request(path, plain, seed)) for seed in range(MAX_NUM_SEQS))):
        await asyncio.to_thread(
            until_now, lambda: plain.running == MAX_NUM_SEQS, "all run", within_s=READY_S, pause_s=LOOK_S
        )
        await asyncio.to_thread(
            until_now, lambda: _rank(stack, plain).requests >= MAX_NUM_SEQS, "all are told", within_s=READY_S
        )
        from_s = time.monotonic()
        with plain.held():
            await asyncio.to_thread(stack.wait_for, plain, "stalled")
            told(f"stopped under {MAX_NUM_SEQS} streams: stalled after {time.monotonic() - from_s:.1f} s")
        await asyncio.to_thread(stack.wait_for, plain, "up")
        await asyncio.to_thread(
            until_now, lambda: _rank(stack, plain).source is Source.PUSH, "it pushes again", within_s=READY_S
        )
