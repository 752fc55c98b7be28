"""Two prefill and two decode ranks whose legs start at once, and which do to the letter what a test says."""

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from scheduler.messages import KvAddress, Role
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import serving
from tests.gateway.scripted_pair import Pair, answers
from tests.gateway.scripted_rank import Exchange, Script, completes, scripted_rank, stalls

ENDED: dict[str, Any] = {
    "id": "cmpl-1",
    "choices": [{"index": 0, "text": "h", "finish_reason": "length"}],
    "usage": {"prompt_tokens": 66, "prompt_tokens_details": {"cached_tokens": 32}},
}
prefilled = answers(json.dumps(ENDED).encode())
KV = KvAddress(engine_id="e-1", host="127.0.0.1", port=5600, bootstrap_url="http://127.0.0.1:8998")


def ended(**fields: Any) -> Script:
    """A prefill rank's answer with other fields."""
    return answers(json.dumps(ENDED | fields).encode())


def stalls_at_first(then: Script = completes) -> Script:
    """A decode rank that waits for KV of the first request, and not of those that follow."""
    asked = 0

    async def script(exchange: Exchange) -> None:
        nonlocal asked
        asked += 1
        await (stalls if asked == 1 else then)(exchange)

    return script


@asynccontextmanager
async def scripted_joint(
    prefill: Script = prefilled, decode: Script = completes, *, connector: str = "mooncake", **options: Any
) -> AsyncIterator[Pair]:
    """Serve two of each role, of which the first ones follow these scripts."""
    async with (
        scripted_rank(prefill) as p,
        scripted_rank(prefilled) as p2,
        scripted_rank(decode) as d,
        scripted_rank(completes) as d2,
    ):
        pool = FakePool(
            card(p.url, rank="P", role=Role.PREFILL, connector=connector, kv=KV),
            card(p2.url, rank="P2", role=Role.PREFILL, connector=connector, kv=KV),
            card(d.url, rank="D", role=Role.DECODE, connector=connector),
            card(d2.url, rank="D2", role=Role.DECODE, connector=connector),
            takes_turns=False,
        )
        async with serving(FakePools(pool), **options) as served:
            yield Pair(served, pool, p, p2, d, d2)
