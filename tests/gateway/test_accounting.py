"""What is counted of the tokens that requests use, whoever asks for it and however they end."""

import json
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import CHAT, COMPLETIONS, Served, eventually, serving
from tests.gateway.scripted_pair import prefills, scripted_pair, sent
from tests.gateway.scripted_rank import EVENTS, WITH_USAGE, scripted_rank, streams

GENERATE = "/inference/v1/generate"
ASK = {"prompt": "x", "messages": [], "token_ids": [1, 2], "sampling_params": {"max_tokens": 5}}


async def counted(served: Served, name: str = "forebay_gateway_tokens") -> dict[str, float]:
    """The tokens on the metrics page, by kind."""
    page = (await served.client.get("/metrics")).text
    samples = [one for family in text_string_to_metric_families(page) for one in family.samples]
    return {one.labels.get("kind", ""): one.value for one in samples if one.name == f"{name}_total"}


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT, GENERATE, "/invocations"])
@pytest.mark.parametrize("options", [None, {}, {"include_usage": False}, {"continuous_usage_stats": True}])
async def test_a_stream_is_accounted_for_though_its_client_does_not_ask(path: str, options: Any) -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.client.post(path, json=ASK | {"stream": True, "stream_options": options})
        assert await counted(served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(EVENTS)
    assert json.loads(rank.requests[0].body)["stream_options"] == {"include_usage": True}


async def test_the_usage_that_a_client_asks_for_reaches_it() -> None:
    options = {"include_usage": True, "continuous_usage_stats": False}
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        response = await served.complete(stream=True, stream_options=options)
        assert await counted(served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(WITH_USAGE)
    assert json.loads(rank.requests[0].body)["stream_options"] == options


async def test_a_stream_of_a_pair_is_accounted_for_and_only_its_decode_rank_is_asked() -> None:
    async with scripted_pair(prefills, streams) as pair:
        response = await pair.served.complete(stream=True)
        assert await counted(pair.served) == {"prompt": 12, "completion": 2}
    assert response.content == b"".join(EVENTS)
    assert "stream_options" not in sent(pair.prefill)
    assert sent(pair.decode)["stream_options"] == {"include_usage": True}


async def test_what_is_asked_of_no_stream_reaches_the_rank_as_it_came() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        for path, body in ((COMPLETIONS, {"prompt": "x"}), ("/v1/embeddings", {"input": "x", "stream": True})):
            await served.client.post(path, json=body)
            assert json.loads(rank.requests[-1].body) == body


async def test_what_a_stream_used_teaches_the_estimate() -> None:
    async with scripted_rank(streams) as rank, serving(FakePools(pool := FakePool(card(rank.url)))) as served:
        for _ in range(200):
            await served.complete(prompt="x" * 120, stream=True)
        await eventually(lambda: not pool.live)
    assert pool.asked[0].prompt_tokens == 30
    assert 12 <= pool.asked[-1].prompt_tokens <= 13
