"""A gateway over simulated ranks whose decode ranks call for their prefills, and count whatever is done wrong."""

import asyncio
from collections.abc import Iterator
from typing import Any

import pytest

from tests.gateway.decode_first import DecodeFirstRanks, running_decode_first
from tests.gateway.fake_pools import FakePools
from tests.gateway.running import CHAT, eventually, nothing_is_held, serving
from tests.gateway.strict_ranks import text_of
from tests.simulator.oracle import right_chat_text, right_text
from tests.sse import events_of

MANY = 200


@pytest.fixture(scope="module")
def ranks() -> Iterator[DecodeFirstRanks]:
    with running_decode_first() as running:
        yield running


@pytest.fixture(scope="module")
def troubled() -> Iterator[DecodeFirstRanks]:
    """Ranks in tests where KV does not come: their decode ranks have lost the blocks that it was for."""
    with running_decode_first() as running:
        yield running


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [3, 32, 33, 500, 1800])
async def test_a_completion_is_the_models_own(ranks: DecodeFirstRanks, tokens: int, stream: bool) -> None:
    prompt = (f"{tokens} rivers run through it and " * tokens)[: tokens * 4]
    async with serving(FakePools(ranks.pool()), life="a") as served:
        before = ranks.pushed_tokens()
        for _ in range(2):
            response = await served.complete(prompt=prompt, max_tokens=40, ignore_eos=True, stream=stream)
            text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
            assert text == right_text(prompt, 40, ignore_eos=True)
        assert ranks.pushed_tokens() > before
        await eventually(ranks.are_idle)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_is_the_models_own(ranks: DecodeFirstRanks, stream: bool) -> None:
    messages = [{"role": "user", "content": "Tell me of the river " * 30}]
    body = {"model": "sim", "messages": messages, "max_completion_tokens": 40, "ignore_eos": True, "min_tokens": 2}
    async with serving(FakePools(ranks.pool()), life="a") as served:
        response = await served.client.post(CHAT, json=body | {"stream": stream})
        text = text_of(response.text) if stream else response.json()["choices"][0]["message"]["content"]
        assert text == right_chat_text(messages, 40, ignore_eos=True)


async def test_a_stream_shows_what_the_prefill_rank_had_cached(ranks: DecodeFirstRanks) -> None:
    async with serving(FakePools(ranks.pool(takes_turns=False)), life="a") as served:
        for _ in range(2):
            response = await served.complete(prompt="seven " * 60, stream=True, stream_options={"include_usage": True})
        usage = events_of(response.text)[-1]["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == 64


async def test_more_requests_than_a_decode_rank_has_threads_do_not_wait_for_each_other(ranks: DecodeFirstRanks) -> None:
    pool = ranks.pool(takes_turns=False)

    async def ask(number: int) -> None:
        prompt = f"Story {number}: " + "once upon a time " * 20
        response = await served.complete(prompt=prompt, max_tokens=4, ignore_eos=True)
        assert response.json()["choices"][0]["text"] == right_text(prompt, 4, ignore_eos=True)

    async with serving(FakePools(pool), life="a") as served, asyncio.TaskGroup() as clients:
        for number in range(MANY):
            clients.create_task(ask(number))
    assert len(pool.asked) == MANY


@pytest.mark.parametrize("fields", [{"n": 2}, {"prompt": ["a", "b"]}, {"temperature": -1}, {"max_tokens": 10_000_000}])
async def test_what_is_not_for_a_pair_is_answered_all_the_same(ranks: DecodeFirstRanks, fields: dict[str, Any]) -> None:
    pool = ranks.pool()
    async with serving(FakePools(pool), life="a") as served:
        response = await served.complete(**fields)
        await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == (400 if "temperature" in fields or "max_tokens" in fields else 200)
    await eventually(ranks.are_idle)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_prefill_that_fails_leaves_nobody_waiting(troubled: DecodeFirstRanks, stream: bool) -> None:
    pool = troubled.pool(takes_turns=False)
    troubled.prefills[0].post("/sim/fault", {"kind": "error", "count": 1})
    async with serving(FakePools(pool), life="a") as served:
        response = await served.complete(prompt="Once more", ignore_eos=True, stream=stream)
        text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
        assert text == right_text("Once more", 8, ignore_eos=True)
        assert len(pool.asked) == 2
        await eventually(lambda: nothing_is_held(served, pool))
    await eventually(lambda: all(rank.state()["in_flight"] == 0 for rank in troubled.decodes))


async def test_kv_that_never_comes_is_waited_for_no_longer_than_a_rank_may_be_silent(
    troubled: DecodeFirstRanks,
) -> None:
    pool = troubled.pool(takes_turns=False)
    troubled.prefills[0].post("/sim/fault", {"kind": "lose_kv", "count": 1})
    async with serving(FakePools(pool), life="a", idle_ms=1_000) as served:
        response = await served.complete(prompt="Once again", ignore_eos=True, stream=True)
        assert text_of(response.text) == right_text("Once again", 8, ignore_eos=True)
    assert pool.avoided[1] == {pool.placed[1][0].card.rank, pool.placed[1][1].card.rank}
