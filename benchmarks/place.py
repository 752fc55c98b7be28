"""What one `place` costs Redis, alone: `python -m benchmarks.place`.

Starts a redis-server, registers 32 and then 10,000 ranks that all carry load, and asks for placements as the default
policy prices them, with 4 and 16 single ranks and 4 + 4 and 16 + 16 pairs as candidates. `2 + 16 + 16, 5` is the
largest ask for one pair class that the planner makes where zones are not known: 2 decode ranks that may prefill too,
and pairs of 5 places. The time is that of EVALSHA in commandstats between two resets in which nothing but `place` was
called: parsing the ask, pricing, reserving. Prints the least and the median of the rounds in µs per call, next to what
it may take (`BUDGETS_US`). `floor` is an EVALSHA that does nothing.
"""

from __future__ import annotations

import asyncio
import statistics
import tempfile
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

import click
import msgspec
import redis

from scheduler import calls
from scheduler.decision import Ask, Candidate, LegKind
from scheduler.store import open_store
from tests.contract.world import NumberedGateway, World, sample
from tests.samples import record
from tests.servers import RedisServer, redis_server

ROUNDS = 30
CALLS = 100
PIPELINED = 20
LOADED = 5
"""Reservations on every rank beforehand."""
ALL_PRICES: dict[str, Any] = {
    "per_queued_token_s": 1 / 8_000,
    "per_request_s": 2 / 256,
    "per_kv_token_s": 1 / 400_000,
    "cap_kv_tokens": 380_000.0,
}
BUDGETS_US = {"4 + 4": 60.0, "16 + 16": 200.0}


def rank_name(number: int) -> str:
    """A name as agents give them."""
    return f"10.0.{number // 250}.{number % 250}:8000"


class Size(NamedTuple):
    """How many candidates an ask has, and in how many classes its pairs are."""

    singles: int = 0
    prefills: int = 0
    decodes: int = 0
    classes: int = 1


SIZES = {
    "4": Size(singles=4),
    "16": Size(singles=16),
    "4 + 4": Size(prefills=4, decodes=4),
    "16 + 16": Size(prefills=16, decodes=16),
    "2 + 16 + 16, 5": Size(singles=2, prefills=16, decodes=16, classes=5),
}


def ask_for(size: Size, names: list[str], chance: Random) -> Ask:
    """An ask of that size, of ranks drawn; those that may prefill too are among the decode ranks."""
    decoding = chance.sample(names, size.decodes)
    prefilling = chance.sample([name for name in names if name not in decoding], size.prefills)
    single = decoding[: size.singles] or chance.sample(names, size.singles)

    def legs(kind: LegKind, some: list[str]) -> tuple[Candidate, ...]:
        return tuple(
            Candidate(
                name, "i1", kind, str(number % size.classes), "-", chance.random(), uncached_tokens=1_000, **ALL_PRICES
            )
            for number, name in enumerate(some)
        )

    classes = [str(number) for number in range(size.classes)] if size.decodes else []
    return Ask(
        prompt_tokens=1_500,
        output_tokens=300,
        singles=tuple(msgspec.structs.replace(each, place_class="") for each in legs(LegKind.WHOLE, single)),
        prefills=legs(LegKind.PREFILL, prefilling),
        decodes=legs(LegKind.DECODE, decoding),
        transfer_s={start: {end: 0.01 * chance.random() for end in classes} for start in classes},
        tie_break=chance.random(),
    )


async def register(world: World, names: list[str]) -> None:
    """Reports all ranks, and loads each."""
    for first in range(0, len(names), 500):
        await world.report(*(sample(name) for name in names[first : first + 500]))
    loader = NumberedGateway(world, "loader")
    await loader.join()
    for first in range(0, len(names), 100):
        some = names[first : first + 100]
        ids = range(first * LOADED, (first + len(some)) * LOADED)
        await loader.advance({10**9 + each: record(1, f"m {some[each % len(some)]}", tokens=700) for each in ids})


async def one_round(world: World, gateway: NumberedGateway, client: redis.Redis, asks: list[Ask]) -> float:
    """Microseconds per place."""
    told = [calls.place(world.keys, gateway.next_head(), reservation, ask) for reservation, ask in enumerate(asks)]
    client.config_resetstat()
    for first in range(0, len(told), PIPELINED):
        replies = await world.store.run(told[first : first + PIPELINED])
        assert all(reply[0] == b"place" for reply in replies)
    took: float = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
    await gateway.release(*range(len(asks)))
    return took


def floor_us(client: redis.Redis) -> float:
    """What an empty script costs."""
    digest = client.script_load("return 1")
    client.config_resetstat()
    for _ in range(CALLS):
        client.evalsha(digest, 0)
    took: float = client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"]
    return took


async def still(_world: World, _ms: int) -> None:
    """Time passes by itself."""


async def measure(server: RedisServer) -> None:
    """Prints a line per number of ranks and shape of the ask."""
    chance = Random(2)
    with server.client() as client:
        print(f"floor {floor_us(client):35.1f}")  # noqa: T201
        async with open_store(server.url) as store:
            for ranks in (32, 10_000):
                client.flushall()
                world = World(store, still)
                await world.begin()
                names = [rank_name(number) for number in range(ranks)]
                await register(world, names)
                gateway = NumberedGateway(world)
                await gateway.join()
                for shape, size in SIZES.items():
                    asks = [ask_for(size, names, chance) for _ in range(CALLS)]
                    await one_round(world, gateway, client, asks)
                    rounds = [await one_round(world, gateway, client, asks) for _ in range(ROUNDS)]
                    budget = f"   budget {BUDGETS_US[shape]:.0f}" if shape in BUDGETS_US else ""
                    least, median = min(rounds), statistics.median(rounds)
                    print(f"{ranks:6} ranks, {shape:>14}: {least:7.1f} {median:7.1f} µs{budget}")  # noqa: T201


@click.command(help=__doc__)
def main() -> None:
    """Measure on a server of its own."""
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        asyncio.run(measure(server))


if __name__ == "__main__":
    main()
