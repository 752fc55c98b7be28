"""The gaps between a stream's events, as /metrics shows them."""

import asyncio

import pytest
from prometheus_client.parser import text_string_to_metric_families

from gateway.pace import Gaps
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, serving
from tests.gateway.scripted_rank import EVENTS, NO_MORE, STREAM_HEAD, Exchange, chunk, scripted_rank


def test_a_gap_is_counted_under_the_first_bound_that_holds_it() -> None:
    gaps = Gaps()
    for gap_s in (0.005, 0.006, 11.0):
        gaps.add(gap_s)
    assert (gaps.counts[0], gaps.counts[1], gaps.counts[-1]) == (1, 1, 1)
    assert gaps.total_s == 11.011


@pytest.mark.parametrize(("pace", "gaps"), [(True, len(EVENTS) - 1), (False, None)])
async def test_the_pace_of_streams_is_counted_where_it_is_asked_for(pace: bool, gaps: int | None) -> None:
    wanted = asyncio.Event()

    async def streams_one_by_one(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD)
        for event in EVENTS:
            await exchange.send(chunk(event))
            await wanted.wait()
            wanted.clear()
        await exchange.send(NO_MORE)

    async with (
        scripted_rank(streams_one_by_one) as rank,
        serving(FakePools(FakePool(card(rank.url))), pace=pace) as served,
    ):
        body = {"prompt": "x", "stream": True, "stream_options": {"include_usage": True}}
        async with served.client.stream("POST", COMPLETIONS, json=body) as answer:
            async for _ in answer.aiter_bytes():
                wanted.set()
        assert gaps_of((await served.client.get("/metrics")).text) == gaps


def gaps_of(page: str) -> float | None:
    """How many gaps the page counts."""
    samples = [sample for family in text_string_to_metric_families(page) for sample in family.samples]
    return next((each.value for each in samples if each.name == "forebay_gateway_inter_token_seconds_count"), None)
