"""A decode rank that calls for its prefill as a test says, and a prefill rank that does to the letter what it says."""

from __future__ import annotations

import json
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

import anyio
import httpx

from scheduler.messages import Role
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import Served, eventually, nothing_is_held, serving
from tests.gateway.scripted_pair import answers, prefill_answer
from tests.gateway.scripted_rank import Exchange, Script, ScriptedRank, completes, scripted_rank

CONNECTOR = "mooncake_layerwise"
LIFE = f"a{os.getpid()}"
"""The gateway's, by which other processes of this host find it: tests of theirs run beside."""
CALL: dict[str, Any] = {
    "token_ids": [],
    "request_id": "cmpl-pdreq-0",
    "do_remote_prefill": False,
    "do_remote_decode": True,
    "remote_block_ids": [[4, 5, 6]],
    "remote_block_size": [32],
    "remote_engine_id": "a89bdb21-9f91-4198-8296-4f23061bab8f",
    "remote_host": "127.0.0.1",
    "remote_port": 5601,
    "remote_tp_size": 1,
    "remote_pcp_size": 1,
    "remote_dcp_size": 1,
    "remote_cached_tokens": 32,
}
"""As vllm-ascend writes it (mooncake_layerwise_connector.py at 182b75ea84)."""

prefilled = answers(prefill_answer(None))


class Calls:
    """What a decode rank has POSTed to the URL of its request, and what it was answered. It decodes once it `may`."""

    def __init__(self, *bodies: Any, then: Script = completes) -> None:
        self.bodies = bodies or (CALL,)
        self.urls: list[str] = []
        self.statuses: list[int] = []
        self.may_decode = anyio.Event()
        self._then = then

    async def script(self, exchange: Exchange) -> None:
        """Calls and answers as a decode rank that gets its KV; one that was sent no URL computes by itself."""
        params = json.loads(exchange.request.body).get("kv_transfer_params")
        if params is None:
            await completes(exchange)
            return
        self.urls.append(params["metaserver"])
        for body in self.bodies:
            self.statuses.append(await call(params["metaserver"], body))
        await self.may_decode.wait()
        await self._then(exchange)


async def call(url: str, body: Any = CALL, **headers: str) -> int:
    """The status that a call gets."""
    content = body if isinstance(body, bytes) else json.dumps(body).encode()
    async with httpx.AsyncClient(trust_env=False, timeout=30) as client:
        return (await client.post(url, content=content, headers=headers)).status_code


class DecodeFirst(NamedTuple):
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

    async def ends(self) -> None:
        """Wait until nothing is held of all that was asked."""
        await eventually(lambda: nothing_is_held(self.served, self.pool))

    async def heard(self) -> dict[str, float]:
        """How many calls have become what."""
        page = (await self.served.client.get("/metrics")).text
        name = 'forebay_gateway_metaserver_calls_total{heard="'
        lines = (line.removeprefix(name) for line in page.splitlines() if line.startswith(name))
        return {what: float(count) for what, _, count in (line.partition('"} ') for line in lines)}


@asynccontextmanager
async def decode_first(
    decode: Script, prefill: Script = prefilled, *, decode2: Script = completes, **options: Any
) -> AsyncIterator[DecodeFirst]:
    """Serve them; the first ones follow these scripts."""
    async with (
        scripted_rank(prefill) as p,
        scripted_rank(prefilled) as p2,
        scripted_rank(decode) as d,
        scripted_rank(decode2) as d2,
    ):
        pool = FakePool(
            card(p.url, rank="P", role=Role.PREFILL, connector=CONNECTOR),
            card(p2.url, rank="P2", role=Role.PREFILL, connector=CONNECTOR),
            card(d.url, rank="D", role=Role.DECODE, connector=CONNECTOR),
            card(d2.url, rank="D2", role=Role.DECODE, connector=CONNECTOR),
            takes_turns=False,
        )
        async with serving(FakePools(pool), life=LIFE, **options) as served:
            yield DecodeFirst(served, pool, p, p2, d, d2)
