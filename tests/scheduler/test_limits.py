"""Limits as a gateway asks for them: with a store, with one that is slow, and with none."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager

import pytest

from scheduler.calls import Call, Reply, Word
from scheduler.errors import StoreUnavailableError
from scheduler.keys import limit
from scheduler.limit_rule import SPAN, Limits, Verdict
from scheduler.limits import SharedLimits
from scheduler.settings import SchedulerSettings
from simulator.store import VirtualStore
from tests.polling import until

ADMITTED, REQUESTS, TOKENS, AT_ONCE = Verdict
NAME = "team"


class FaultyStore:
    """A store that fails while `lost`, and answers only when `open` is set; what it was sent it does in any case. While
    it `breaks` it says nothing of that.
    """

    def __init__(self) -> None:
        self.store = VirtualStore()
        self.lost = self.breaks = False
        self.open = asyncio.Event()
        self.open.set()
        self.exchanges = 0
        self.gateways: list[bytes] = []

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        if not calls:
            return []  # nothing is sent, as by RedisStore
        self.exchanges += 1
        if self.lost:
            raise StoreUnavailableError("gone")
        replies = await self.store.run(calls)
        await self.open.wait()
        if self.breaks:
            raise StoreUnavailableError("closed before it has answered")
        return replies

    async def command(self, *words: Word) -> Reply:
        if self.lost:
            raise StoreUnavailableError("gone")
        return self.gateways if words[0] == "ZRANGEBYSCORE" else await self.store.command(*words)

    async def used(self) -> list[float]:
        row: bytes = await self.store.command("GET", limit(NAME)) or b"0 0 0 0"
        return [int(level) / SPAN for level in row.split()[2:4]]


@asynccontextmanager
async def asking(
    store: FaultyStore, gateway: str = "a@h:1", *, deadline_ms: int = 30_000
) -> AsyncIterator[SharedLimits]:
    settings = SchedulerSettings(place_deadline_ms=deadline_ms, probe_ms=20, renew_ms=20)
    limits = SharedLimits(store, gateway=gateway, settings=settings, pools=lambda: ["sim"])
    async with asyncio.TaskGroup() as tasks:
        task = tasks.create_task(limits.run())
        yield limits
        task.cancel()


async def test_what_is_asked_at_once_goes_in_one_exchange() -> None:
    store, wanted = FaultyStore(), Limits(requests_per_minute=5)
    async with asking(store) as limits:
        answers = await asyncio.gather(*(limits.ask(NAME, wanted, 0) for _ in range(8)))
    assert [answer.verdict for answer in answers] == [ADMITTED] * 5 + [REQUESTS] * 3
    assert store.exchanges <= 2  # and a last one that says that nothing runs any more


async def test_two_gateways_share_what_runs_at_once() -> None:
    store, wanted = FaultyStore(), Limits(requests_at_once=1)
    async with asking(store) as one, asking(store, "b@h:1") as other:
        assert (await one.ask(NAME, wanted, 0)).verdict is ADMITTED
        assert (await other.ask(NAME, wanted, 0)).verdict is AT_ONCE
        one.ended(NAME, 0, 0)

        async def is_let_in() -> bool:
            return (await other.ask(NAME, wanted, 0)).verdict is ADMITTED

        await until(is_let_in, "the other's turn comes")


async def test_a_client_that_leaves_while_it_is_asked_for_costs_nothing() -> None:
    store, wanted = FaultyStore(), Limits(requests_per_minute=5, tokens_per_minute=100, requests_at_once=1)
    async with asking(store) as limits:
        store.open.clear()
        leaver = asyncio.ensure_future(limits.ask(NAME, wanted, 50))  # noqa: TID251  # it is cancelled here
        await until(lambda: store.exchanges > 0, "it is asked")
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        store.open.set()
        await until(lambda: given_back(store), "it is given back")

        async def is_let_in() -> bool:
            return (await limits.ask(NAME, wanted, 50)).verdict is ADMITTED

        await until(is_let_in, "nothing runs")


async def given_back(store: FaultyStore) -> bool:
    used = await store.used()
    return used[1] == 0 and used[0] <= 0


async def test_who_is_not_answered_in_time_is_let_in_by_the_share_and_charged_once() -> None:
    store, wanted = FaultyStore(), Limits(requests_per_minute=5, tokens_per_minute=100)
    async with asking(store, deadline_ms=10) as limits:
        store.open.clear()
        answer = await limits.ask(NAME, wanted, 60)
        assert answer.verdict is ADMITTED
        assert limits.counters["limits_alone"] == limits.counters["limit_misses"] == 1
        store.open.set()
        await until(lambda: is_used(store, 1, 60), "both have been told")
        limits.ended(NAME, 60, 10)
        await until(lambda: is_used(store, 1, 10), "what it has used is told")


async def is_used(store: FaultyStore, requests: int, tokens: int) -> bool:
    return await store.used() == [requests, tokens]


async def test_without_the_store_each_gateway_lets_in_its_share_and_tells_of_it_later() -> None:
    store, wanted = FaultyStore(), Limits(requests_per_minute=10)
    store.gateways = [b"a@h:1.1", b"b@h:1.1", b"b@h:1.2"]
    async with asking(store) as limits:
        await until(lambda: limits.gateways == 2, "they are counted")
        store.lost = True
        answers = [await limits.ask(NAME, wanted, 0) for _ in range(8)]
        assert [answer.verdict for answer in answers] == [ADMITTED] * 5 + [REQUESTS] * 3
        assert answers[-1].limits.requests_per_minute == 5
        exchanges = store.exchanges
        await until(lambda: store.exchanges > exchanges, "the store is tried again")
        store.lost = False

        async def is_told() -> bool:
            return 4 < (await store.used())[0] <= 5

        await until(is_told, "the store has heard")


async def test_who_waits_behind_an_exchange_that_fails_is_answered_at_once() -> None:
    store, wanted = FaultyStore(), Limits(requests_per_minute=10)
    async with asking(store) as limits, asyncio.TaskGroup() as tasks:
        store.open.clear()
        first = tasks.create_task(limits.ask(NAME, wanted, 0))
        await until(lambda: store.exchanges > 0, "it is asked")
        behind = tasks.create_task(limits.ask(NAME, wanted, 0))
        await asyncio.sleep(0)
        store.breaks = True
        store.open.set()
        assert [(await each).verdict for each in (first, behind)] == [ADMITTED] * 2
        assert limits.counters["limits_alone"] == 2


async def test_a_store_that_was_frozen_does_nothing_twice() -> None:
    store, wanted = FaultyStore(), Limits(tokens_per_minute=1_000)
    async with asking(store, deadline_ms=10) as limits:
        assert (await limits.ask(NAME, wanted, 500)).verdict is ADMITTED
        store.open.clear()
        for _ in range(4):
            await limits.ask(NAME, wanted, 1)
        limits.ended(NAME, 500, 100)
        store.open.set()

        async def is_told() -> bool:  # of the 4 let in alone some may have drained
            return 100 <= (await store.used())[1] <= 104

        await until(is_told, "what was used is told")


async def test_gateways_that_leave_run_nothing() -> None:
    store, wanted = FaultyStore(), Limits(requests_at_once=1)
    async with asking(store) as limits:
        assert (await limits.ask(NAME, wanted, 0)).verdict is ADMITTED
    async with asking(store, "b@h:1") as limits:
        assert (await limits.ask(NAME, wanted, 0)).verdict is ADMITTED


async def test_a_store_that_nobody_has_anything_to_ask_is_not_taken_for_one_that_answers() -> None:
    store, wanted = FaultyStore(), Limits(tokens_per_minute=1_000_000)
    async with asking(store) as limits:
        store.lost = True
        await limits.ask(NAME, wanted, 1)
        limits.ended(NAME, 1, 1)
        await asyncio.sleep(0.1)
        limits._forget()  # it has drained
        await asyncio.sleep(0.1)
        exchanges = store.exchanges
        assert (await limits.ask(NAME, wanted, 1)).verdict is ADMITTED
        assert store.exchanges == exchanges, "it is let in at once"
        store.lost = False

        async def is_shared() -> bool:
            before = limits.counters["limits_alone"]
            await limits.ask(NAME, wanted, 1)
            return limits.counters["limits_alone"] == before

        await until(is_shared, "the store is asked again")


async def test_a_client_that_leaves_holds_no_place_of_a_key_that_has_no_other_limit() -> None:
    store, wanted = FaultyStore(), Limits(requests_at_once=1)
    async with asking(store) as limits, asking(store, "b@h:1") as other:
        store.open.clear()
        leaver = asyncio.ensure_future(limits.ask(NAME, wanted, 0))  # noqa: TID251  # it is cancelled here
        await until(lambda: store.exchanges > 0, "it is asked")
        leaver.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaver
        store.open.set()
        frozen_ms = store.store.now_ms

        async def is_let_in() -> bool:
            return (await other.ask(NAME, wanted, 0)).verdict is ADMITTED

        await until(is_let_in, "nothing runs")
        assert store.store.now_ms == frozen_ms, "not since a lease has ended"


async def test_an_account_forgotten_at_the_wrong_moment_is_there_when_its_request_ends() -> None:
    class Forgetting(FaultyStore):
        """Its asker hears of the loss after the accounts were looked through."""

        async def run(self, calls: Sequence[Call]) -> list[Reply]:
            asyncio.get_running_loop().call_soon(limits._forget)
            return await super().run(calls)

    store = Forgetting()
    async with asking(store) as limits:
        store.lost = True
        assert (await limits.ask(NAME, Limits(requests_per_minute=5), 0)).verdict is ADMITTED
        limits.ended(NAME, 0, 0)


async def test_who_asked_before_a_keys_limits_were_changed_is_answered_by_those_it_asked_for() -> None:
    store, before, after = FaultyStore(), Limits(requests_per_minute=5), Limits(tokens_per_minute=100)
    async with asking(store) as limits, asyncio.TaskGroup() as tasks:
        store.open.clear()
        first = tasks.create_task(limits.ask(NAME, before, 7))
        await until(lambda: store.exchanges > 0, "it is asked")
        second = tasks.create_task(limits.ask(NAME, after, 7))
        await asyncio.sleep(0)
        store.open.set()
        assert ((await first).limits, (await second).limits) == (before, after)
