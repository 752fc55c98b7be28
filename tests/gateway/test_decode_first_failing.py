"""A leg of a pair fails whose decode rank goes first, or its client leaves: before and after the decode rank's call."""

import asyncio
from typing import Any

import anyio
import pytest

from gateway.metaserver import LINGER_S
from tests.gateway.running import COMPLETIONS, DEADLINE_S, eventually, post
from tests.gateway.scripted_decode_first import CALL, Calls, DecodeFirst, call, decode_first, prefilled
from tests.gateway.scripted_pair import answers, breaks_off_after, prefill_answer, sent, streams_on_after
from tests.gateway.scripted_rank import (
    EVENTS,
    Exchange,
    Script,
    breaks_off,
    completes,
    stalls,
    streams,
)

ASK = b'{"model":"sim","prompt":"Once","stream":true}'


def refuses(status: str) -> Script:
    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, b'{"error":{"message":"no"}}', "content-type: application/json")

    return script


async def leaves_when(pair: DecodeFirst, holds: Any) -> None:
    """Ask, and hang up once something holds."""
    _, writer = await asyncio.open_connection("127.0.0.1", pair.served.port)
    writer.write(post(COMPLETIONS, ASK))
    await eventually(holds)
    writer.close()
    await writer.wait_closed()


FAILING: dict[str, Script] = {
    "dies": breaks_off,
    "refuses": refuses("400 Bad Request"),
    "fails": refuses("500 Error"),
    "sends elsewhere": refuses("302 Found"),
    "gives up": answers(prefill_answer(None, choices=[{"index": 0, "text": "", "finish_reason": "abort"}])),
}


@pytest.mark.parametrize("prefill", FAILING.values(), ids=list(FAILING))
@pytest.mark.parametrize("stream", [False, True])
async def test_a_prefill_that_fails_closes_the_decode_leg_and_takes_a_new_pair(prefill: Script, stream: bool) -> None:
    calls = Calls(then=streams if stream else completes)
    async with decode_first(calls.script, prefill) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete(stream=stream))
        await eventually(lambda: len(pair.decode.requests) == 2)
        calls.may_decode.set()
        assert (await client).status_code == 200
        await pair.ends()
    assert pair.names() == ["P", "P2", "D", "D"]
    assert pair.pool.avoided[1:] == [frozenset({"P"})]
    assert len(set(calls.urls)) == 2
    assert (("P", False) in pair.pool.heard_of) == (prefill is not FAILING["refuses"])


async def test_a_decode_rank_that_fails_cancels_the_prefill_and_takes_a_new_pair() -> None:
    calls, second = Calls(then=breaks_off), Calls()
    second.may_decode.set()
    async with decode_first(calls.script, stalls, decode2=second.script) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete())
        await eventually(lambda: len(pair.prefill.requests) == 1)
        calls.may_decode.set()
        assert (await client).status_code == 200
        await pair.ends()
        await eventually(lambda: pair.prefill.open_connections == 0)
    assert pair.names() == ["P", "P2", "D", "D2"]
    assert pair.pool.avoided[1:] == [frozenset({"P", "D"})]


async def test_a_decode_rank_that_fails_before_it_calls_leaves_the_prefill_rank_alone() -> None:
    async with decode_first(breaks_off) as pair:
        assert (await pair.served.complete()).status_code == 200
        await pair.ends()
    assert pair.names() == ["D", "D2"]
    assert pair.pool.avoided[1:] == [frozenset({"D"})]


async def test_once_the_client_has_something_a_prefill_that_fails_is_no_matter() -> None:
    begun = asyncio.Event()
    goes_on = streams_on_after(lambda: ("P", False) in pair.pool.heard_of)
    calls = Calls(then=goes_on)
    calls.may_decode.set()
    async with decode_first(calls.script, breaks_off_after(begun)) as pair:
        body = {"model": "sim", "prompt": "Once", "stream": True}
        async with pair.served.client.stream("POST", COMPLETIONS, json=body) as response:
            parts = response.aiter_bytes()
            answer = await anext(parts)
            begun.set()
            answer += b"".join([part async for part in parts])
        await pair.ends()
    assert answer == b"".join(EVENTS)
    assert pair.names() == ["P", "D"]


async def test_no_prefill_rank_is_sent_to_a_host_for_kv_that_is_not_allowed() -> None:
    calls = Calls(CALL | {"remote_host": "10.9.9.9"})
    async with decode_first(calls.script, allow_ranks=("127.0.0.0/8",)) as pair:
        assert (await pair.served.complete()).status_code == 200
        await pair.ends()
    assert pair.names() == ["D", "D2"]
    assert pair.pool.avoided[1:] == [frozenset({"D"})]


async def test_a_client_that_leaves_before_the_call_leaves_nothing_but_a_call_that_may_still_come() -> None:
    """The decode rank may have allocated at that moment; its blocks are freed when they are filled, and never else."""
    async with decode_first(stalls) as pair:
        await leaves_when(pair, lambda: len(pair.decode.requests) == 1)
        await pair.ends()
        await eventually(lambda: pair.decode.open_connections == 0)
        assert pair.pool.words() == ["decode_waits", "released"]
        assert pair.names() == ["D"]
        assert await call(sent(pair.decode)["kv_transfer_params"]["metaserver"]) == 200
        await eventually(lambda: len(pair.prefill.requests) == 1)
        await pair.ends()
    assert pair.pool.words() == ["decode_waits", "released"]


async def test_a_call_that_comes_long_after_its_client_has_left_is_for_nobody(monkeypatch: pytest.MonkeyPatch) -> None:
    assert LINGER_S < DEADLINE_S
    monkeypatch.setattr("gateway.metaserver.LINGER_S", 0.0)
    async with decode_first(stalls) as pair:
        await leaves_when(pair, lambda: len(pair.decode.requests) == 1)
        await pair.ends()
        url = sent(pair.decode)["kv_transfer_params"]["metaserver"]
        await eventually(lambda: not pair.served.gateway.metaserver.knows(url.rpartition("/")[2]))
        assert await call(url) == 404
    assert pair.names() == ["D"]


async def test_a_client_that_leaves_after_the_call_closes_the_decode_leg_and_the_prefill_is_let_end() -> None:
    """Its end is what frees the decode rank's blocks."""
    left = anyio.Event()

    async def prefills_late(exchange: Exchange) -> None:
        await left.wait()
        await prefilled(exchange)

    calls = Calls(then=stalls)
    calls.may_decode.set()
    async with decode_first(calls.script, prefills_late) as pair:
        await leaves_when(pair, lambda: len(pair.prefill.requests) == 1)
        await eventually(lambda: not pair.pool.live and pair.decode.open_connections == 0)
        assert pair.prefill.open_connections == 1
        left.set()
        await pair.ends()
        assert ("P", True) in pair.pool.heard_of
    assert pair.pool.words() == ["decode_waits", "dispatched", "released"]


async def test_a_prefill_that_takes_too_long_is_one_that_fails() -> None:
    calls = Calls()
    async with decode_first(calls.script, stalls, prefill_ms=1_000) as pair, asyncio.TaskGroup() as clients:
        client = clients.create_task(pair.served.complete())
        await eventually(lambda: len(pair.decode.requests) == 2)
        calls.may_decode.set()
        assert (await client).status_code == 200
        await pair.ends()
    assert ("P", False) in pair.pool.heard_of
