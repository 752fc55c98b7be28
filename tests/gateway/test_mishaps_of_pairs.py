"""The same mishaps on either leg of a pair, in whichever order its connector starts them, over strict simulated ranks.

Whatever happens, the client has the model's own text or an error in its shape, every reservation is given back once,
no rank is asked any more, and the ranks have seen nothing done wrong with KV.
"""

import asyncio
import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager
from itertools import product
from random import Random
from typing import Any, NamedTuple

import anyio
import httpx
import pytest

from scheduler.messages import KvAddress, RankCard, Role
from tests.gateway.fake_pools import NOWHERE, FakePool, FakePools, card
from tests.gateway.hanging_up import send_and_hang_up
from tests.gateway.running import COMPLETIONS, Served, checked_error, eventually, nothing_is_held, post, serving
from tests.gateway.strict_ranks import text_of
from tests.gateway.troubled_leg import Mishap, TroubledLeg, troubled_leg
from tests.simulator.joint_ranks import prefill_rank
from tests.simulator.oracle import right_text
from tests.simulator.rank_process import RankProcess, running_rank

KINDS = ("nixl", "mooncake", "mooncake_layerwise")
"""One connector for each order of the legs."""

OPTIONS = ("--strict", "--speed", "20", "--block-size-tokens", "32", "--kv-lease-ms", "4000")
SHORT_MS, LONG_MS = 500, 30_000
"""How long a prefill may take: the shorter one where ranks are silent, of whom nothing else is heard."""
CLIENTS = 40


class Ranks(NamedTuple):
    """Two of each role, and where the prefill ranks are met."""

    connector: str
    prefills: list[RankProcess]
    decodes: list[RankProcess]
    addresses: list[KvAddress | None]

    def nobody_is_served(self) -> bool:
        """Whether no request is left at any rank."""
        return all(rank.state()["in_flight"] == 0 for rank in (*self.prefills, *self.decodes))


class Pairs(NamedTuple):
    """A gateway over these ranks, each of whose legs may suffer something."""

    ranks: Ranks
    served: Served
    pool: FakePool
    prefills: list[TroubledLeg]
    decodes: list[TroubledLeg]

    async def are_let_go(self) -> None:
        """Wait until nothing is held of all that was asked."""
        legs = (*self.prefills, *self.decodes)
        await eventually(lambda: nothing_is_held(self.served, self.pool))
        assert set(self.pool.releases().values()) == {1}
        assert len(self.pool.releases()) == len(self.pool.placed)
        for reservation in self.pool.placed:
            assert self.pool.words(reservation)[-1] == "released"
        await eventually(lambda: not any(leg.open_requests for leg in legs))
        await eventually(self.ranks.nobody_is_served)


@pytest.fixture(scope="module", params=KINDS)
def ranks(request: pytest.FixtureRequest) -> Iterator[Ranks]:
    """KV of which nobody hears, since its answer was lost, ends with its lease; what decode ranks of the layerwise
    connector have called for is not asked for where that request was lost.
    """
    connector: str = request.param
    about: Any = {"misuse": {"abandoned_kv", "never_asked"}}
    options = ("--kv-connector", connector, *OPTIONS)
    with ExitStack() as stack:
        prefills: list[RankProcess] = []
        addresses: list[KvAddress | None] = []
        for _ in range(2):
            if connector == "mooncake":
                met = stack.enter_context(prefill_rank(connector, "--kv-lease-ms", "4000", **about))
                prefills.append(met.rank)
                addresses.append(met.kv)
            else:
                prefills.append(stack.enter_context(running_rank("--role", "prefill", *options, **about)))
                addresses.append(None)
        decodes = [stack.enter_context(running_rank("--role", "decode", *options, **about)) for _ in range(2)]
        yield Ranks(connector, prefills, decodes, addresses)


@asynccontextmanager
async def serving_pairs(ranks: Ranks, *, within_ms: int = LONG_MS, gone: str = "") -> AsyncIterator[Pairs]:
    """Serve them; where one is `gone`, nobody listens at the first rank of that role."""
    patience = {"prefill_ms": within_ms, "first_byte_ms": 2 * within_ms, "idle_ms": 2 * within_ms}
    async with AsyncExitStack() as stack:
        prefills = [await stack.enter_async_context(troubled_leg(rank.port)) for rank in ranks.prefills]
        decodes = [await stack.enter_async_context(troubled_leg(rank.port)) for rank in ranks.decodes]

        def carded(leg: TroubledLeg, role: Role, number: int, kv: KvAddress | None = None) -> RankCard:
            url = NOWHERE.endpoint if gone == role and not number else leg.url
            name = f"{role[0].upper()}{number}"
            return card(url, rank=name, role=role, block_size=32, connector=ranks.connector, kv=kv)

        pool = FakePool(
            *(
                carded(leg, Role.PREFILL, n, kv)
                for n, (leg, kv) in enumerate(zip(prefills, ranks.addresses, strict=True))
            ),
            *(carded(leg, Role.DECODE, n) for n, leg in enumerate(decodes)),
            takes_turns=False,
        )
        async with serving(FakePools(pool), life="a", **patience) as served:
            yield Pairs(ranks, served, pool, prefills, decodes)


def checked(response: httpx.Response, prompt: str, tokens: int, *, stream: bool) -> bool:
    """Whether the answer is the model's own; else it is an error in its shape."""
    if response.status_code != 200:
        checked_error(response.status_code, response.content)
        return False
    if stream and 'data: {"error"' in response.text:
        return False
    text = text_of(response.text) if stream else response.json()["choices"][0]["text"]
    assert text == right_text(prompt, tokens, ignore_eos=True)
    return True


@pytest.mark.parametrize("leg", ["prefill", "decode"])
async def test_what_befalls_a_leg_once_costs_no_client_its_answer(ranks: Ranks, leg: str) -> None:
    others = [mishap for mishap in Mishap if mishap is not Mishap.SILENT]
    placed = 0
    for mishaps, within_ms in ((others, LONG_MS), ([Mishap.SILENT], SHORT_MS)):
        async with serving_pairs(ranks, within_ms=within_ms) as pairs:
            for mishap, stream in product(mishaps, (False, True)):
                await suffers(pairs, leg, mishap, stream=stream)
            placed += len(pairs.pool.placed)
    assert placed > 2 * len(Mishap) + 8


async def suffers(pairs: Pairs, leg: str, mishap: Mishap, *, stream: bool) -> None:
    """One request whose leg does."""
    troubled = pairs.prefills[0] if leg == "prefill" else pairs.decodes[0]
    troubled.suffer(mishap)
    prompt = f"{leg} {mishap} {stream} and further on " * 5
    response = await pairs.served.complete(prompt=prompt, max_tokens=20, ignore_eos=True, stream=stream)
    was_answered = checked(response, prompt, 20, stream=stream)
    had_begun = stream and leg == "decode" and mishap in (Mishap.RESET_IN_BODY, Mishap.RESET_AT_WORK)
    assert was_answered or had_begun or mishap is Mishap.REFUSED, (mishap, stream, response.text)
    await pairs.are_let_go()
    assert troubled.draw() is Mishap.NONE


@pytest.mark.parametrize("gone", ["prefill", "decode"])
async def test_a_rank_that_is_gone_costs_no_client_its_answer(ranks: Ranks, gone: str) -> None:
    async with serving_pairs(ranks, gone=gone) as pairs:
        response = await pairs.served.complete(prompt="Gone again", max_tokens=20, ignore_eos=True)
        assert checked(response, "Gone again", 20, stream=False)
        await pairs.are_let_go()
        assert set(pairs.pool.shunned) == {f"{gone[0].upper()}0"}


async def test_of_mishaps_on_any_leg_under_clients_that_may_leave_nothing_remains(ranks: Ranks) -> None:
    draw = Random(1)
    few_at_a_time = anyio.CapacityLimiter(6)

    def mishap() -> Mishap:
        return draw.choice(list(Mishap)) if draw.random() < 0.5 else Mishap.NONE

    async def ask(number: int) -> None:
        random = Random(number)
        stream = random.random() < 0.5
        prompt, tokens = f"{number} " * random.randrange(1, 400), random.randrange(1, 40)
        fields: dict[str, Any] = {"prompt": prompt, "max_tokens": tokens, "ignore_eos": True, "stream": stream}
        async with few_at_a_time:
            if random.random() < 0.5:
                raw = post(COMPLETIONS, json.dumps(fields).encode())
                await send_and_hang_up(pairs.served.port, raw, random, within_s=0.3)
            else:
                checked(await pairs.served.complete(**fields), prompt, tokens, stream=stream)

    async with serving_pairs(ranks, within_ms=SHORT_MS) as pairs:
        for leg in (*pairs.prefills, *pairs.decodes):
            leg.draw = mishap
        async with asyncio.TaskGroup() as clients:
            for number in range(CLIENTS):
                clients.create_task(ask(number))
        await pairs.are_let_go()
