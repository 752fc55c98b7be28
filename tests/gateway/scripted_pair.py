"""A prefill and a decode rank that do to the letter what a test says, and what they say when nothing is wrong."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from scheduler.messages import Role
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import Served, eventually, nothing_is_held, serving
from tests.gateway.scripted_rank import (
    EVENTS,
    NO_MORE,
    STREAM_HEAD,
    Exchange,
    Script,
    ScriptedRank,
    chunk,
    completes,
    scripted_rank,
    some_turns,
)

PARAMS: dict[str, Any] = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[117, 118, 119]],
    "remote_engine_id": "a89bdb21-9f91-4198-8296-4f23061bab8f",
    "remote_request_id": "cmpl-pdreq-0-0-8d724fd8",
    "remote_host": "127.0.0.1",
    "remote_port": 5601,
    "tp_size": 1,
    "remote_num_tokens": 66,
    "remote_blocks_expiry_time": None,
    "transfer_mode": "pull",
    "remote_prefill_cached_tokens": 32,
}
"""As captured from vLLM 0.32.0."""
RECOMPUTED = b'{"choices":[{"index":0,"text":"hi","finish_reason":"stop","stop_reason":"recomputed"}]}'
"""What a decode rank answers when it has lost the KV."""


def prefill_answer(params: Any = PARAMS, **fields: Any) -> bytes:
    """The body of a prefill rank's answer."""
    answer = {
        "id": "cmpl-pdreq-0",
        "object": "text_completion",
        "choices": [{"index": 0, "text": "\u0017", "finish_reason": "length"}],
        "usage": {"prompt_tokens": 66, "total_tokens": 67, "completion_tokens": 1, "prompt_tokens_details": None},
        "kv_transfer_params": params,
    }
    return json.dumps(answer | fields).encode()


def answers(body: bytes, status: str = "200 OK") -> Script:
    """A script that answers each request with one JSON body."""

    async def script(exchange: Exchange) -> None:
        await exchange.answer(status, body, "content-type: application/json")

    return script


prefills = answers(prefill_answer())


class Pair(NamedTuple):
    """A gateway over two prefill and two decode ranks, of which it takes the first ones unless it is to avoid them."""

    served: Served
    pool: FakePool
    prefill: ScriptedRank
    prefill2: ScriptedRank
    decode: ScriptedRank
    decode2: ScriptedRank

    def names(self) -> list[str]:
        """The ranks that were asked, in order of their names: P, P2, D, D2."""
        ranks = {"P": self.prefill, "P2": self.prefill2, "D": self.decode, "D2": self.decode2}
        return [name for name, rank in ranks.items() for _ in rank.requests]

    def retried(self) -> list[frozenset[str]]:
        """What each further placement was to avoid."""
        return self.pool.avoided[1:]

    def nothing_is_held(self) -> bool:
        """Of all that was asked."""
        return nothing_is_held(self.served, self.pool)


@asynccontextmanager
async def scripted_pair(
    prefill: Script = prefills,
    decode: Script = completes,
    *,
    block_size: int = 32,
    connector: str = "nixl",
    prefill2: Script = prefills,
    **options: Any,
) -> AsyncIterator[Pair]:
    """Serve two prefill and two decode ranks, of which the first ones follow these scripts."""
    about: Any = {"block_size": block_size, "connector": connector}
    async with (
        scripted_rank(prefill) as p,
        scripted_rank(prefill2) as p2,
        scripted_rank(decode) as d,
        scripted_rank(completes) as d2,
    ):
        pool = FakePool(
            card(p.url, rank="P", role=Role.PREFILL, **about),
            card(p2.url, rank="P2", role=Role.PREFILL, **about),
            card(d.url, rank="D", role=Role.DECODE, **about),
            card(d2.url, rank="D2", role=Role.DECODE, **about),
            takes_turns=False,
        )
        async with serving(FakePools(pool), **options) as served:
            yield Pair(served, pool, p, p2, d, d2)


def sent(rank: ScriptedRank, number: int = -1) -> dict[str, Any]:
    """The body of a request that a rank got."""
    body: dict[str, Any] = json.loads(rank.requests[number].body)
    return body


def breaks_off_after(begun: asyncio.Event) -> Script:
    """Says nothing until then, and dies."""

    async def script(exchange: Exchange) -> None:
        await begun.wait()
        exchange.abort()

    return script


def streams_on_after(holds: Callable[[], bool]) -> Script:
    """Streams one event, and the others some turns after that holds: time enough for whoever is to be broken off."""

    async def script(exchange: Exchange) -> None:
        await exchange.send(STREAM_HEAD, chunk(EVENTS[0]))
        await eventually(holds)
        await some_turns(20)
        await exchange.send(*map(chunk, EVENTS[1:]), NO_MORE)

    return script
