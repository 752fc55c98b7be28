"""Requests in two legs over connectors beside NIXL whose prefill goes first: what each rank is sent, and what fails."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest

from tests.gateway.mooncake_offers import OFFER
from tests.gateway.running import CHAT, eventually
from tests.gateway.scripted_pair import PARAMS, RECOMPUTED, Pair, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
    EVENTS,
    Exchange,
    Script,
    breaks_off,
    completes,
    stalls,
    streams,
)
from tests.gateway.test_leaving_pairs import freed, leaves_when, refuses_what_frees
from tests.kv_params import ASK_TO_KEEP

NOTHING_OFFERED = answers(prefill_answer(None))
PREFILLS: dict[str, Script] = {
    "nixl": answers(prefill_answer()),
    "mooncake_pull": answers(prefill_answer(OFFER)),
    "pull": answers(prefill_answer(OFFER)),
    "store": NOTHING_OFFERED,
}
HANDED = {"nixl": PARAMS, "mooncake_pull": OFFER, "pull": OFFER}
every_connector = pytest.mark.parametrize("connector", PREFILLS)
every_other = pytest.mark.parametrize("connector", ["mooncake_pull", "pull"])


@asynccontextmanager
async def pair_by(
    connector: str, decode: Script = completes, *, prefill: Script | None = None, **options: Any
) -> AsyncIterator[Pair]:
    """Ranks of this connector, which answer as theirs do unless a script for the first prefill rank is given."""
    own = PREFILLS[connector]
    async with scripted_pair(prefill or own, decode, prefill2=own, connector=connector, **options) as pair:
        yield pair


@every_other
async def test_a_prefill_rank_is_asked_for_exactly_one_token_and_its_params_reach_the_decode_rank(
    connector: str,
) -> None:
    async with pair_by(connector) as pair:
        response = await pair.served.complete(max_tokens=50, min_tokens=5, temperature=0)
    assert response.content == COMPLETION
    assert sent(pair.prefill) == {
        "model": "sim",
        "prompt": "Once upon a time",
        "temperature": 0,
        "max_tokens": 1,
        "min_tokens": 1,
        "stream": False,
        "kv_transfer_params": ASK_TO_KEEP,
    }
    decoded = sent(pair.decode)
    assert (decoded["max_tokens"], decoded["min_tokens"], decoded["kv_transfer_params"]) == (50, 5, OFFER)
    assert json.dumps(OFFER).encode() in pair.decode.requests[0].body


ELSEWHERE: dict[str, Any] = {
    "nixl": PARAMS | {"remote_host": "10.9.9.9"},
    "mooncake_pull": OFFER | {"remote_host": "10.9.9.9"},
    "a worker of mooncake_pull": OFFER | {"remote_multi_nodes_meta_mapping": {"0": {"host": "10.9.9.9"}}},
    "pull": OFFER | {"remote_host": "kv.example"},
}


@pytest.mark.parametrize("name", ELSEWHERE)
async def test_no_decode_rank_is_sent_to_a_host_for_kv_that_is_not_allowed(
    name: str, caplog: pytest.LogCaptureFixture
) -> None:
    prefill, connector = answers(prefill_answer(ELSEWHERE[name])), name.rsplit(maxsplit=1)[-1]
    async with pair_by(connector, prefill=prefill, allow_ranks=("127.0.0.0/8", "10.0.0.1")) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert sent(pair.decode)["kv_transfer_params"] == HANDED[connector]
    assert any(record.getMessage().startswith("P names ") for record in caplog.records)


async def test_a_chat_and_given_tokens_are_prefilled_for_exactly_one_token() -> None:
    async with pair_by("mooncake_pull") as pair:
        messages = [{"role": "user", "content": "Hello"}]
        await pair.served.client.post(CHAT, json={"model": "sim", "messages": messages, "max_completion_tokens": 9})
        asked = {"model": "sim", "token_ids": [1, 2], "sampling_params": {"max_tokens": 9, "min_tokens": 2}}
        await pair.served.client.post("/inference/v1/generate", json=asked)
        await pair.served.client.post("/v1/responses", json={"model": "sim", "input": "Hello", "store": False})
    chat, given, response = (sent(pair.prefill, number) for number in range(3))
    assert (chat["max_tokens"], chat["max_completion_tokens"], chat["min_tokens"]) == (1, 1, 1)
    assert given["sampling_params"] == {"max_tokens": 1, "min_tokens": 1}
    assert "min_tokens" not in {**response, **given}


async def test_pull_serves_ranks_of_nixl_too() -> None:
    async with pair_by("pull", prefill=PREFILLS["nixl"]) as pair:
        await pair.served.complete()
    assert sent(pair.decode)["kv_transfer_params"] == PARAMS


@every_other
async def test_params_that_would_harm_fail_their_prefill_rank(connector: str) -> None:
    bad = answers(prefill_answer(OFFER | {"remote_multi_nodes_meta_mapping": {"0": "10.0.0.1"}}))
    async with pair_by(connector, prefill=bad) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert sent(pair.decode)["kv_transfer_params"] == OFFER


@every_other
async def test_where_a_prefill_ended_otherwise_and_offers_nothing_the_decode_rank_serves_alone(connector: str) -> None:
    async with pair_by(connector, prefill=NOTHING_OFFERED) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert "kv_transfer_params" not in sent(pair.decode)


async def test_over_a_store_neither_leg_names_any_kv() -> None:
    async with pair_by("store", streams) as pair:
        response = await pair.served.complete(
            max_tokens=50, stream=True, kv_transfer_params={"do_remote_prefill": True, "remote_host": "evil"}
        )
        assert response.content == b"".join(EVENTS)
        assert pair.pool.words() == ["dispatched", "prefill_done", "first_token", "released"]
    asked = {"model": "sim", "prompt": "Once upon a time"}
    assert sent(pair.prefill) == asked | {"max_tokens": 1, "stream": False}
    assert sent(pair.decode) == asked | {"max_tokens": 50, "stream": True, "stream_options": {"include_usage": True}}
    ids = {rank.requests[0].header("x-request-id") for rank in (pair.prefill, pair.decode)}
    assert len(ids) == 1


async def test_what_a_store_did_not_hold_is_told_as_the_prefill_rank_had_it_cached() -> None:
    usage = {"prompt_tokens": 66, "prompt_tokens_details": {"cached_tokens": 16}}
    told = {"prompt_tokens": 66, "completion_tokens": 2, "prompt_tokens_details": {"cached_tokens": 64}}
    found = json.dumps(json.loads(COMPLETION) | {"usage": told}).encode()
    async with pair_by("store", answers(found), prefill=answers(prefill_answer(None, usage=usage))) as pair:
        response = await pair.served.complete()
    assert response.json()["usage"]["prompt_tokens_details"] == {"cached_tokens": 16}


@every_connector
async def test_a_prefill_rank_that_fails_is_replaced(connector: str) -> None:
    for failing in (breaks_off, answers(b"{}", "500 Internal Server Error")):
        async with pair_by(connector, prefill=failing) as pair:
            response = await pair.served.complete()
            await eventually(pair.nothing_is_held)
        assert response.content == COMPLETION
        assert pair.names() == ["P", "P2", "D"]


@every_connector
@pytest.mark.parametrize("script", [breaks_off, answers(RECOMPUTED)], ids=["breaks off", "recomputed"])
async def test_a_decode_rank_that_fails_or_gives_the_request_up_takes_a_whole_new_pair(
    connector: str, script: Script
) -> None:
    async with pair_by(connector, script) as pair:
        response = await pair.served.complete()
        await eventually(pair.nothing_is_held)
    assert response.content == COMPLETION
    assert [name[0] for name in pair.names()] == ["P", "P", "D", "D"]
    assert sent(pair.decode2).get("kv_transfer_params") == HANDED.get(connector)


@every_connector
async def test_a_client_that_leaves_during_the_prefill_ends_it(connector: str) -> None:
    async with pair_by(connector, refuses_what_frees, prefill=stalls) as pair:
        await leaves_when(pair, lambda: pair.prefill.requests)
        await eventually(lambda: pair.nothing_is_held() and pair.prefill.open_connections == 0)
    assert pair.names() == ["P"]


@every_other
async def test_kv_that_nobody_will_fetch_is_freed_by_a_refused_request_that_offers_it(connector: str) -> None:
    async with pair_by(connector, refuses_what_frees) as pair:
        pair.pool.rebind_s = 1000.0
        await leaves_when(pair, lambda: "prefill_done" in pair.pool.words())
        await eventually(lambda: freed(pair, 1) and pair.nothing_is_held())
    asked = sent(pair.decode)
    assert asked["kv_transfer_params"] == OFFER
    assert asked["model"] != "sim"


async def test_over_a_store_there_is_nothing_to_free() -> None:
    asked = []

    async def remembers(exchange: Exchange) -> None:
        asked.append(exchange.request.body)
        await completes(exchange)

    async with pair_by("store", remembers) as pair:
        pair.pool.rebind_s = 1000.0
        await leaves_when(pair, lambda: "prefill_done" in pair.pool.words())
        await eventually(pair.nothing_is_held)
        page = (await pair.served.client.get("/metrics")).text
        pair.pool.rebind_s = 0
        await pair.served.complete()
    assert len(asked) == 1
    assert "forebay_gateway_freed_prefills_total{" not in page
