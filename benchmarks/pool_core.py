"""How many requests a second one pool's Redis core carries: `python -m benchmarks.pool_core`.

Starts a redis-server with a pool of 32 ranks, 16 of them for prefill, and tells it all that 16 gateways and 4 agents
tell of requests at `REQUESTS_PER_S`: each prompt of 24 blocks is looked up, placed, touched, dispatched, rebound when
its prefill is done, given its first token and released, advances and releases in batches as 10 ms gather them; a
snapshot for each gateway every 250 ms, a renewal every 500 ms, a report of each node every 500 ms. The time is Redis's
own (used_cpu_user and _sys), so reading commands and writing replies are in it. Then the same again, with EVALSHA's
µs per call in commandstats, by kind; and look-ups and touches of 24 and 250 blocks.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections import Counter
from collections.abc import Iterator, Sequence
from itertools import count
from pathlib import Path
from random import Random
from typing import NamedTuple

import click
import redis
from msgspec import structs

from benchmarks.place import Size, ask_for, rank_name, register, still
from scheduler import calls
from scheduler.calls import Call
from scheduler.decision import Ask
from scheduler.keys import PoolKeys
from scheduler.store import Store, open_store
from tests.contract.world import LEASE_MS, NumberedGateway, World, sample
from tests.servers import RedisServer, redis_server

REQUESTS_PER_S = 2_000
GATEWAYS, RANKS, RANKS_PER_NODE = 16, 32, 8
REQUESTS = 2_000
BATCH = 10
"""Requests of one gateway that are told of together."""
BLOCKS, KNOWN_BLOCKS, CONTEXTS = 24, 16, 150
"""Of a prompt; of these shared with the others of one of so many contexts."""
KNOWN_MS = 60_000
SNAPSHOT_S, RENEW_S, REPORT_S = 0.25, 0.5, 0.5
DEAR_S = 1e6
"""What all but the first candidate cost more."""
ASKS = {"4 + 4": Size(prefills=4, decodes=4), "2 + 16 + 16": Size(singles=2, prefills=16, decodes=16)}


class Told(NamedTuple):
    """Calls that are one exchange, and what they are."""

    kind: str
    calls: Sequence[Call]


class Pool:
    """What its gateways and agents tell; `size` is that of all asks."""

    def __init__(self, world: World, names: Sequence[str], size: Size) -> None:
        self._world, self._names = world, names
        self._chance = Random(3)
        self._size = size
        self._gateways = [NumberedGateway(world, f"gateway{number}") for number in range(GATEWAYS)]
        self._ids = count(1)
        self._version = -1

    async def join(self) -> None:
        """All gateways are known to the pool."""
        for gateway in self._gateways:
            await gateway.join()
        snapshot = await self._world.snapshot()
        assert snapshot is not None
        self._version = snapshot.version

    def told(self) -> Iterator[Told]:
        """All that is told of `REQUESTS` requests, in turn."""
        since: Counter[str] = Counter()
        every = {"snapshot": SNAPSHOT_S / GATEWAYS, "renew": RENEW_S / GATEWAYS}
        every["report"] = REPORT_S * RANKS_PER_NODE / RANKS
        for turn in range(REQUESTS // BATCH):
            gateway = self._gateways[turn % GATEWAYS]
            yield from self._lives(gateway)
            for kind, period_s in every.items():
                since[kind] += BATCH
                while since[kind] >= period_s * REQUESTS_PER_S:
                    since[kind] -= max(1, round(period_s * REQUESTS_PER_S))
                    yield Told(kind, [self._background(kind, gateway)])

    def _lives(self, gateway: NumberedGateway) -> Iterator[Told]:
        keys, ids = self._world.keys, [next(self._ids) for _ in range(BATCH)]
        blocks = [self._blocks() for _ in ids]
        asks = [self._ask() for _ in ids]
        yield Told("look", [calls.prefix_look(each) for each in blocks])
        yield Told("place", [calls.place(keys, gateway.next_head(), *each) for each in zip(ids, asks, strict=True)])
        yield self._touched(blocks)
        records = {each: _record(1, ask) for each, ask in zip(ids, asks, strict=True)}
        yield Told("advance", [calls.advance(keys, gateway.next_head(), records)])
        rebinds = [
            calls.rebind(keys, gateway.next_head(), each, _record(2, ask), _onward(ask))
            for each, ask in zip(ids, asks, strict=True)
        ]
        yield Told("rebind", rebinds)
        yield self._touched(blocks)
        records = {each: _record(3, ask) for each, ask in zip(ids, asks, strict=True)}
        yield Told("advance", [calls.advance(keys, gateway.next_head(), records)])
        yield Told("release", [calls.release(keys, gateway.next_head(), ids)])

    def _touched(self, blocks: Sequence[Sequence[str]]) -> Told:
        """One rank will hold these prompts: at first that which prefills, later that which decodes."""
        holder = f"{self._chance.getrandbits(24):06x}={self._chance.randrange(10**6)}"
        return Told("touch", [calls.prefix_touch(each, KNOWN_MS, [holder]) for each in blocks])

    def _background(self, kind: str, gateway: NumberedGateway) -> Call:
        keys, epoch = self._world.keys, self._world.epoch
        if kind == "renew":
            return calls.renew(keys, gateway.next_head(), 0, 0, "stay")
        if kind == "report":
            first = self._chance.randrange(RANKS // RANKS_PER_NODE) * RANKS_PER_NODE
            rows = [sample(name, with_card=False) for name in self._names[first : first + RANKS_PER_NODE]]
            return calls.report(keys, epoch, LEASE_MS, "node-1/0a", LEASE_MS, rows)
        return calls.snapshot(keys, LEASE_MS, epoch, self._version)

    def _ask(self) -> Ask:
        """The first of each kind is taken, so that what is told of the request later is told of what was placed."""
        ask = ask_for(self._size, list(self._names), self._chance)
        dear = {"singles": ask.singles, "prefills": ask.prefills[1:], "decodes": ask.decodes[1:]}
        kinds = {
            kind: tuple(structs.replace(each, base_s=each.base_s + DEAR_S) for each in some)
            for kind, some in dear.items()
        }
        return structs.replace(
            ask,
            singles=kinds["singles"],
            prefills=(ask.prefills[0], *kinds["prefills"]),
            decodes=(ask.decodes[0], *kinds["decodes"]),
        )

    def _blocks(self) -> Sequence[str]:
        context = self._chance.randrange(CONTEXTS)
        shared = [context << 16 | number for number in range(KNOWN_BLOCKS)]
        own = [self._chance.getrandbits(60) for _ in range(BLOCKS - KNOWN_BLOCKS)]
        return block_keys(self._world.keys, [*shared, *own])


def _onward(ask: Ask) -> Ask:
    return Ask(prompt_tokens=ask.prompt_tokens, output_tokens=ask.output_tokens, decodes=ask.decodes, tie_break=0.5)


def _record(phase: int, ask: Ask) -> str:
    """Of the pair that was placed."""
    legs = f"p {ask.prefills[0].rank} i1 - d {ask.decodes[0].rank} i1 -"
    return f"{phase} 1000 {ask.prompt_tokens} {ask.output_tokens} {legs}"


def block_keys(keys: PoolKeys, numbers: Sequence[int]) -> Sequence[str]:
    """Keys of blocks that are known by these numbers."""
    return keys.blocks([number.to_bytes(16, "big") for number in numbers])


def used_s(client: redis.Redis) -> float:
    """CPU seconds of the server so far."""
    cpu = client.info("cpu")
    return float(cpu["used_cpu_user"]) + float(cpu["used_cpu_sys"])


async def run(store: Store, exchanges: Sequence[Told]) -> None:
    """Tells all of it."""
    for each in exchanges:
        await store.run(each.calls)


async def by_kind(store: Store, client: redis.Redis, exchanges: Sequence[Told]) -> dict[str, float]:
    """EVALSHA's microseconds by kind of call, all of each kind together."""
    spent: Counter[str] = Counter()
    for each in exchanges:
        client.config_resetstat()
        await store.run(each.calls)
        spent[each.kind] += client.info("commandstats")["cmdstat_evalsha"]["usec"]
    return dict(spent)


async def measure_pool(store: Store, client: redis.Redis, name: str, size: Size) -> None:
    """Prints what a request costs, in all and by kind."""
    client.flushall()
    world = World(store, still)
    await world.begin()
    names = [rank_name(number) for number in range(RANKS)]
    await register(world, names)
    pool = Pool(world, names, size)
    await pool.join()
    await run(store, list(pool.told()))
    exchanges = list(pool.told())
    before_s = used_s(client)
    await run(store, exchanges)
    request_us = (used_s(client) - before_s) / REQUESTS * 1e6
    print(f"{name}: {request_us:.0f} µs of Redis a request, {1e6 / request_us:.0f} requests/s a core")  # noqa: T201
    for kind, spent_us in (await by_kind(store, client, list(pool.told()))).items():
        print(f"{kind:>12} {spent_us / REQUESTS:7.1f} µs a request")  # noqa: T201


async def measure_prefixes(store: Store, client: redis.Redis) -> None:
    """Prints what a look-up and a touch cost by how many blocks they are about, all held by one rank."""
    for blocks in (24, 250):
        keys = block_keys(PoolKeys("prefixes"), range(blocks))
        touch, look = calls.prefix_touch(keys, KNOWN_MS, ["00000a=1"]), calls.prefix_look(keys)
        exchanges = [Told(kind, [call] * BATCH) for kind, call in (("touch", touch), ("look", look)) for _ in range(30)]
        for kind, spent_us in (await by_kind(store, client, exchanges)).items():
            print(f"{kind:>12} {spent_us / 30 / BATCH:7.1f} µs for {blocks} blocks")  # noqa: T201


async def measure(server: RedisServer) -> None:
    """Measures on that server."""
    with server.client() as client:
        async with open_store(server.url) as store:
            for name, size in ASKS.items():
                await measure_pool(store, client, name, size)
            await measure_prefixes(store, client)


@click.command(help=__doc__)
def main() -> None:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
