"""A gateway over simulated ranks of the other connectors whose prefill goes first, which count what is done wrong.

The ranks are real processes; the fixtures end only if no misuse was seen and no KV is left that nobody fetches.
"""

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from random import Random
from typing import Any, NamedTuple

import anyio
import pytest

from scheduler.messages import Role
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import CHAT, COMPLETIONS, eventually, nothing_is_held, post, serving
from tests.gateway.strict_ranks import text_of
from tests.gateway.test_strict_pairs import Ranks, hang_up, running
from tests.simulator.oracle import right_text


class Site(NamedTuple):
    """Two ranks of each role, and the connector that their agents register."""

    ranks: Ranks
    connector: str

    def pool(self, **about: Any) -> FakePool:
        """A pool of them."""
        cards = [
            card(rank.url, role=role, block_size=32, connector=self.connector)
            for role, ranks in ((Role.PREFILL, self.ranks.prefills), (Role.DECODE, self.ranks.decodes))
            for rank in ranks
        ]
        return FakePool(*cards, **about)


@pytest.fixture(scope="module")
def fleets(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Ranks]]:
    """Ranks whose model ends half of its answers at the first token, if it is let."""
    ascend = ("--kv-connector", "mooncake_pull", "--mean-output-tokens", "2")
    store = ("--kv-connector", "store", "--kv-store", str(tmp_path_factory.mktemp("kv")))
    with ExitStack() as stack:
        yield {
            # A prefill that ends at the very moment when its client leaves is held to the end of its time.
            "mooncake_pull": stack.enter_context(running(*ascend, "--kv-lease-ms", "4000", misuse={"abandoned_kv"})),
            "store": stack.enter_context(running(*store)),
        }


@pytest.fixture(params=["pull", "store"])
def site(request: pytest.FixtureRequest, fleets: dict[str, Ranks]) -> Site:
    return Site(fleets["store" if request.param == "store" else "mooncake_pull"], request.param)


@pytest.mark.parametrize("tokens", [3, 33, 1800])
async def test_a_completion_through_a_pair_is_the_models_own(site: Site, tokens: int) -> None:
    prompt = (f"{tokens} rivers run by {site.connector} and " * tokens)[: tokens * 4]
    async with serving(FakePools(site.pool())) as served:
        before = site.ranks.fetched_tokens()
        for stream in (False, True):
            response = await served.complete(prompt=prompt, max_tokens=40, ignore_eos=True, stream=stream)
            text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
            assert text == right_text(prompt, 40, ignore_eos=True)
        assert site.ranks.fetched_tokens() > before or tokens < 32
        await eventually(site.ranks.are_idle)


async def test_a_chat_that_the_model_would_end_at_once_is_fetched_all_the_same(site: Site) -> None:
    async with serving(FakePools(site.pool())) as served:
        for number in range(8):
            messages = [{"role": "user", "content": f"{number} tales by {site.connector} " * 30}]
            before = site.ranks.fetched_tokens()
            response = await served.client.post(CHAT, json={"model": "sim", "messages": messages})
            assert response.status_code == 200
            assert site.ranks.fetched_tokens() > before


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("/inference/v1/generate", {"token_ids": list(range(100, 300)), "sampling_params": {"max_tokens": 5}}),
        ("/v1/responses", {"input": "Tell me of the river " * 30, "store": False}),
        ("/v1/messages", {"messages": [{"role": "user", "content": "Tell me of the sea " * 30}], "max_tokens": 5}),
    ],
)
async def test_other_apis_go_through_a_pair_as_well(site: Site, path: str, fields: dict[str, Any]) -> None:
    pool = site.pool()
    async with serving(FakePools(pool)) as served:
        response = await served.client.post(path, json={"model": "sim", **fields})
        await eventually(site.ranks.are_idle)
    assert response.status_code == 200
    assert pool.asked[0].pairable
    assert "prefill_done" in pool.words() or path != "/inference/v1/generate"


async def test_a_request_that_only_the_decode_rank_refuses_leaves_no_kv(site: Site) -> None:
    async with serving(FakePools(site.pool())) as served:
        response = await served.complete(max_tokens=10_000_000)
        await eventually(site.ranks.are_idle)
    assert response.status_code == 400


async def test_a_client_that_hangs_up_between_the_legs_leaves_no_kv(site: Site) -> None:
    pool = site.pool()
    pool.rebind_s = 1000.0
    async with serving(FakePools(pool)) as served:
        for number in range(1, 6):
            _, writer = await asyncio.open_connection("127.0.0.1", served.port)
            writer.write(post(COMPLETIONS, b'{"prompt":"Once upon a time","stream":true}'))
            await eventually(lambda asked=number: "prefill_done" in pool.words(asked))  # type: ignore[misc]
            writer.close()
        await eventually(lambda: nothing_is_held(served, pool))
        assert site.ranks.are_idle()


async def test_of_clients_that_hang_up_at_any_point_of_both_legs_nothing_remains(site: Site) -> None:
    pool = site.pool()
    pool.rebind_s = 0.05
    few_at_a_time = anyio.CapacityLimiter(6)

    async def hang_up_in_turn(number: int) -> None:
        async with few_at_a_time:
            await hang_up(served, Random(number))

    async with serving(FakePools(pool)) as served:
        async with asyncio.TaskGroup() as clients:
            for number in range(30):
                clients.create_task(hang_up_in_turn(number))
        await eventually(lambda: nothing_is_held(served, pool))
        await eventually(site.ranks.are_idle)
        assert set(pool.releases().values()) == {1}


@pytest.mark.parametrize("connector", ["mooncake_pull", "pull"])
@pytest.mark.parametrize("params", ["null", "missing_key", "other_shape"])
async def test_whatever_a_prefill_rank_answers_the_client_has_its_text(
    fleets: dict[str, Ranks], connector: str, params: str
) -> None:
    site = Site(fleets["mooncake_pull"], connector)
    pool = site.pool(takes_turns=False)
    site.ranks.prefills[0].post("/sim/fault", {"kind": "prefill_params", "params": params, "count": 1})
    async with serving(FakePools(pool)) as served:
        response = await served.complete(prompt="Once upon", ignore_eos=True)
        assert response.json()["choices"][0]["text"] == right_text("Once upon", 8, ignore_eos=True)
    assert len(pool.asked) == 2


async def test_kv_that_does_not_arrive_takes_a_whole_new_pair(fleets: dict[str, Ranks]) -> None:
    site = Site(fleets["mooncake_pull"], "mooncake_pull")
    pool = site.pool(takes_turns=False)
    site.ranks.decodes[0].post("/sim/fault", {"kind": "lose_kv", "count": 1})
    async with serving(FakePools(pool)) as served:
        response = await served.complete(prompt="Once more", ignore_eos=True)
        assert response.json()["choices"][0]["text"] == right_text("Once more", 8, ignore_eos=True)
    assert len(pool.asked) == 2
