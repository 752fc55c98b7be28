"""A gateway over simulated prefill and decode ranks that count whatever is done wrong with KV: nothing is.

The ranks are real processes; the fixtures end only if no misuse was seen and no KV is left that nobody fetches.
"""

import asyncio
import json
from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from scheduler.messages import Role
from simulator.misuse import Kind
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.running import CHAT, COMPLETIONS, Served, eventually, nothing_is_held, post, serving
from tests.gateway.strict_ranks import is_busy, text_of, transferred_tokens
from tests.simulator.oracle import right_chat_text, right_text
from tests.simulator.rank_process import RankProcess, running_rank
from tests.sse import events_of

CLIENTS = 60
OPTIONS = ("--strict", "--speed", "20", "--block-size-tokens", "32", "--enable-prompt-tokens-details")


class Ranks(NamedTuple):
    """Two of each role."""

    prefills: list[RankProcess]
    decodes: list[RankProcess]

    def pool(self, **about: Any) -> FakePool:
        """A pool of them."""
        cards = [card(rank.url, role=Role.PREFILL, block_size=32) for rank in self.prefills]
        return FakePool(*cards, *(card(rank.url, role=Role.DECODE, block_size=32) for rank in self.decodes), **about)

    def are_idle(self) -> bool:
        """Whether no rank has a request, or KV that is kept for anybody."""
        return not any(is_busy(rank) for rank in (*self.prefills, *self.decodes))

    def fetched_tokens(self) -> float:
        """Prompt tokens that the decode ranks took from the prefill ranks."""
        return transferred_tokens(self.decodes)


@contextmanager
def running(*options: str, misuse: Collection[Kind] = ()) -> Iterator[Ranks]:
    """Two ranks of each role, with which nothing was done wrong but perhaps this when the block ends."""
    with ExitStack() as stack:
        prefills, decodes = (
            [stack.enter_context(running_rank("--role", role, *OPTIONS, *options, misuse=misuse)) for _ in range(2)]
            for role in ("prefill", "decode")
        )
        yield Ranks(prefills, decodes)


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with running() as running_ranks:
        yield running_ranks


@pytest.fixture(scope="module")
def troubled() -> Iterator[Ranks]:
    """Ranks in tests where KV is left to the end of its lease, for there is nobody who could free it."""
    with running("--speed", "4", "--kv-lease-ms", "4000", misuse={"abandoned_kv"}) as running_ranks:
        yield running_ranks


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [3, 32, 33, 500, 1800])
async def test_a_completion_through_a_pair_is_the_models_own(ranks: Ranks, tokens: int, stream: bool) -> None:
    prompt = (f"{tokens} rivers run through it and " * tokens)[: tokens * 4]
    async with serving(FakePools(ranks.pool())) as served:
        before = ranks.fetched_tokens()
        for _ in range(2):
            response = await served.complete(prompt=prompt, max_tokens=40, ignore_eos=True, stream=stream)
            text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
            assert text == right_text(prompt, 40, ignore_eos=True)
        assert ranks.fetched_tokens() > before
        await eventually(ranks.are_idle)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_through_a_pair_is_the_models_own(ranks: Ranks, stream: bool) -> None:
    messages = [{"role": "user", "content": "Tell me of the river " * 30}]
    body = {"model": "sim", "messages": messages, "max_completion_tokens": 40, "ignore_eos": True, "min_tokens": 2}
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.client.post(CHAT, json=body | {"stream": stream})
        text = text_of(response.text) if stream else response.json()["choices"][0]["message"]["content"]
        assert text == right_chat_text(messages, 40, ignore_eos=True)


@pytest.mark.parametrize("fields", [{"n": 2}, {"prompt_logprobs": 1}, {"prompt": ["a", "b"]}, {"temperature": -1}])
async def test_what_is_not_for_a_pair_is_answered_all_the_same(ranks: Ranks, fields: dict[str, Any]) -> None:
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.complete(**fields)
    assert response.status_code == (400 if "temperature" in fields else 200)


async def test_a_request_that_only_the_decode_rank_refuses_leaves_no_kv(ranks: Ranks) -> None:
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.complete(max_tokens=10_000_000)
        await eventually(ranks.are_idle)
    assert response.status_code == 400


@pytest.mark.parametrize("params", ["null", "missing_key", "other_shape", "not_json", "error_body", "endless"])
async def test_whatever_a_prefill_rank_answers_the_client_has_its_text(troubled: Ranks, params: str) -> None:
    pool = troubled.pool(takes_turns=False)
    troubled.prefills[0].post("/sim/fault", {"kind": "prefill_params", "params": params, "count": 1})
    async with serving(FakePools(pool)) as served:
        response = await served.complete(prompt="Once upon", ignore_eos=True)
        assert response.json()["choices"][0]["text"] == right_text("Once upon", 8, ignore_eos=True)
    assert len(pool.asked) == 2


@pytest.mark.parametrize("stream", [False, True])
async def test_kv_that_does_not_arrive_takes_a_whole_new_pair(troubled: Ranks, stream: bool) -> None:
    pool = troubled.pool(takes_turns=False)
    troubled.decodes[0].post("/sim/fault", {"kind": "lose_kv", "count": 1})
    async with serving(FakePools(pool)) as served:
        response = await served.complete(prompt="Once more", ignore_eos=True, stream=stream)
        text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
        assert text == right_text("Once more", 8, ignore_eos=True)
    assert len(pool.asked) == 2


async def test_a_stream_shows_what_the_prefill_rank_had_cached(ranks: Ranks) -> None:
    async with serving(FakePools(ranks.pool(takes_turns=False))) as served:
        for _ in range(2):
            response = await served.complete(prompt="seven " * 60, stream=True, stream_options={"include_usage": True})
        usage = events_of(response.text)[-1]["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == 64


async def hang_up(served: Served, random: Random) -> None:
    """Close a connection at a random moment of either leg, or between them."""
    fields = {
        "prompt": "x" * random.randrange(1, 40_000),
        "max_tokens": random.randrange(1, 400),
        "stream": random.random() < 0.6,
    }
    await send_and_hang_up(served.port, post(COMPLETIONS, json.dumps(fields).encode()), random, within_s=0.6)


@pytest.mark.parametrize("seed", [1, 2])
async def test_of_clients_that_hang_up_at_any_point_of_both_legs_nothing_remains(troubled: Ranks, seed: int) -> None:
    """KV of a prefill that ends at the very moment when its client leaves is held to the end of its lease: its params
    reach nobody. No other is.
    """
    pool = troubled.pool()
    pool.rebind_s = 0.05
    few_at_a_time = anyio.CapacityLimiter(6)

    async def hang_up_in_turn(number: int) -> None:
        async with few_at_a_time:
            await hang_up(served, Random(seed * 1000 + number))

    async with serving(FakePools(pool)) as served:
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(hang_up_in_turn(number))
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(troubled.are_idle)
        assert set(pool.releases().values()) == {1}
        assert {"prefill_done", "first_token"} <= {word for _, word in pool.history}


async def test_a_client_that_hangs_up_between_the_legs_leaves_no_kv(ranks: Ranks) -> None:
    pool = ranks.pool()
    pool.rebind_s = 1000.0
    async with serving(FakePools(pool)) as served:
        for number in range(1, 11):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(post(COMPLETIONS, b'{"prompt":"Once upon a time","stream":true}'))
            await eventually(lambda asked=number: "prefill_done" in pool.words(asked))  # type: ignore[misc]
            writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
        assert ranks.are_idle()
