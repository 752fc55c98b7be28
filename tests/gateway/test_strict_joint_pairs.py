"""A gateway over simulated ranks whose legs start at once, which count whatever is done wrong: nothing is."""

import asyncio
import json
from collections.abc import Iterator
from random import Random
from typing import Any

import anyio
import pytest

from tests.gateway.fake_pools import FakePools
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.joint_ranks import JointRanks
from tests.gateway.running import CHAT, COMPLETIONS, eventually, nothing_is_held, post, serving
from tests.gateway.strict_ranks import text_of
from tests.simulator.joint_ranks import CONNECTORS, decode_rank, prefill_rank
from tests.simulator.oracle import right_chat_text, right_text
from tests.sse import events_of

LEASES = ("--kv-lease-ms", "2000", "--kv-wait-ms", "2000")


@pytest.fixture(scope="module", params=CONNECTORS)
def ranks(request: pytest.FixtureRequest) -> Iterator[JointRanks]:
    """One of each role; KV that nobody comes for, since its client has left, ends with its lease."""
    with (
        prefill_rank(request.param, *LEASES, misuse={"abandoned_kv"}) as prefill,
        decode_rank(request.param, *LEASES) as decode,
    ):
        yield JointRanks(request.param, [prefill], [decode])


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [3, 32, 33, 1800])
async def test_a_completion_through_a_pair_is_the_models_own(ranks: JointRanks, tokens: int, stream: bool) -> None:
    prompt = (f"{tokens} rivers run through it and " * tokens)[: tokens * 4]
    pool = ranks.pool()
    async with serving(FakePools(pool)) as served:
        before = ranks.fetched_tokens()
        for _ in range(2):
            response = await served.complete(prompt=prompt, max_tokens=40, ignore_eos=True, stream=stream)
            text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
            assert text == right_text(prompt, 40, ignore_eos=True)
        assert ranks.fetched_tokens() > before
        assert {"dispatched", "first_token", "released"} <= {word for _, word in pool.history}
        await eventually(ranks.are_idle)


@pytest.mark.parametrize("stream", [False, True])
async def test_a_chat_through_a_pair_is_the_models_own(ranks: JointRanks, stream: bool) -> None:
    messages = [{"role": "user", "content": "Tell me of the river " * 30}]
    body = {"model": "sim", "messages": messages, "max_completion_tokens": 40, "ignore_eos": True, "min_tokens": 2}
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.client.post(CHAT, json=body | {"stream": stream})
        text = text_of(response.text) if stream else response.json()["choices"][0]["message"]["content"]
        assert text == right_chat_text(messages, 40, ignore_eos=True)


@pytest.mark.parametrize("fields", [{"temperature": -1}, {"max_tokens": 10_000_000}])
async def test_what_both_ranks_refuse_is_refused_once(ranks: JointRanks, fields: dict[str, Any]) -> None:
    pool = ranks.pool()
    async with serving(FakePools(pool)) as served:
        response = await served.complete(**fields)
        await eventually(lambda: nothing_is_held(served, pool))
    assert response.status_code == 400
    assert len(pool.asked) == 1


async def test_a_stream_shows_what_the_prefill_rank_had_cached(ranks: JointRanks) -> None:
    async with serving(FakePools(ranks.pool(takes_turns=False))) as served:
        for _ in range(2):
            options = {"include_usage": True}
            response = await served.complete(prompt="seven " * 60, max_tokens=30, stream=True, stream_options=options)
        usage = events_of(response.text)[-1]["usage"]
        assert usage["prompt_tokens_details"]["cached_tokens"] == 64


async def test_no_answer_has_what_steers_ranks(ranks: JointRanks) -> None:
    async with serving(FakePools(ranks.pool())) as served:
        response = await served.complete(kv_transfer_params={"do_remote_prefill": True}, bootstrap_room=7)
        assert response.status_code == 200
        assert response.json().get("kv_transfer_params") is None


async def test_of_clients_that_hang_up_at_any_point_of_both_legs_nothing_remains(ranks: JointRanks) -> None:
    pool = ranks.pool()
    few_at_a_time = anyio.CapacityLimiter(6)

    async def hang_up(number: int) -> None:
        random = Random(number)
        fields = {
            "prompt": "x" * random.randrange(1, 40_000),
            "max_tokens": random.randrange(1, 400),
            "stream": random.random() < 0.6,
        }
        async with few_at_a_time:
            await send_and_hang_up(served.port, post(COMPLETIONS, json.dumps(fields).encode()), random, within_s=0.3)

    async with serving(FakePools(pool)) as served:
        async with asyncio.TaskGroup() as clients:
            for number in range(40):
                clients.create_task(hang_up(number))
        await eventually(lambda: nothing_is_held(served, pool))
        assert set(pool.releases().values()) == {1}
        await eventually(ranks.are_idle)
