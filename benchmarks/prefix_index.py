"""What the prefix index costs: `python -m benchmarks.prefix_index`.

Gateway: CPU in µs to read a chat prompt of 2 to 880 KB, of that to cut it into blocks; to name its keys; and to read
who holds it, where 16 ranks hold all of it. Redis, a server of its own: µs per `prefix_look` and `prefix_touch`, by how
many blocks the prompt has and how many ranks hold them (EVALSHA in commandstats between two resets); a prompt that
nobody knows ends at its first block. Memory: bytes a known block takes, by how many ranks hold it (used_memory).
Look-up: what a request waits for it (median), naming, round trip and reading included, 16 ranks holding all or nobody
any of it; beside it an exchange of one key, which is what a round trip takes.
"""

from __future__ import annotations

import asyncio
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from random import Random
from statistics import median

import click
import redis
import uvloop

from gateway import prompt, wire
from gateway.blocks import BLOCK_BYTES, Transcript
from scheduler import calls
from scheduler.calls import Call
from scheduler.decision import RequestShape
from scheduler.keys import PoolKeys
from scheduler.prefix_chain import chain_of
from scheduler.prefix_holders import held, holders_of, touch_of
from scheduler.prefix_index import PrefixIndex
from scheduler.rank_view import RankView
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from scheduler.view import PoolView
from tests.scheduler.samples import rank, view
from tests.servers import RedisServer, redis_server

ROUNDS, CALLS = 20, 50
KEYS = PoolKeys("bench")
LENGTHS = (1, 10, 24, 107, 430)
"""Blocks; 107 are 220 KB."""
LOOK_UPS = 300
HOLDERS = (1, 16, 64)
KNOWN_MS = 3_600_000


def least_us(work: Callable[[], object]) -> float:
    """CPU time of one run, the least of the rounds."""
    rounds = []
    for _ in range(ROUNDS):
        started = time.process_time()
        for _ in range(CALLS):
            work()
        rounds.append((time.process_time() - started) / CALLS * 1e6)
    return min(rounds)


def ranks(count: int) -> list[RankView]:
    """Ranks that have computed something."""
    return [rank(f"10.0.0.{number}:8000", heard={"computed_tokens": 1_000_000 + number}) for number in range(count)]


def words_of(count: int) -> list[str]:
    """How so many ranks are written down."""
    return [word for each in ranks(count) if (word := touch_of(each, 0))]


def name(blocks: Sequence[bytes]) -> Sequence[str]:
    """The keys of a prompt's blocks."""
    return KEYS.blocks(chain_of(blocks).hashes)


def gateway() -> None:
    """Prints a line per prompt."""
    holders = holders_of(ranks(16))
    reply = " ".join(words_of(16)).encode()
    for length in LENGTHS:
        size = length * BLOCK_BYTES + 100
        text = ("all the words that were said before " * 30_000)[:size]
        fields = wire.read(json.dumps({"messages": [{"role": "user", "content": text}]}).encode()).fields
        said = text.encode()

        def cut(said: bytes = said) -> tuple[bytes, ...]:
            transcript = Transcript()
            transcript.mark(b"user")
            transcript.say(said)
            return transcript.blocks()

        blocks = cut()
        chain = chain_of(blocks)
        replies = [reply, *[b""] * (len(chain.ends) - 1)]
        parts = {
            "read": least_us(partial(prompt.read, wire.Api.CHAT, fields)),
            "of it blocks": least_us(cut),
            "name": least_us(partial(name, blocks)),
            "holders": least_us(partial(held, replies, chain, 512.0, holders)),
        }
        told = ", ".join(f"{part} {took:.0f} µs" for part, took in parts.items())
        print(f"gateway {size // 1000:4} KB, {size // BLOCK_BYTES:3} blocks: {told}")  # noqa: T201


def chain(seed: int, length: int) -> list[bytes]:
    """Hashes of a prompt's known blocks."""
    return list(chain_of(prompt_of(seed, length)).hashes)


def prompt_of(seed: int, length: int) -> tuple[bytes, ...]:
    """Hashes of all blocks of a prompt."""
    chance = Random(seed)
    return tuple(chance.randbytes(8) for _ in range(length))


async def per_call_us(server: RedisServer, client: redis.Redis, told: list[Call]) -> float:
    """Microseconds of Redis per call."""
    rounds = []
    async with open_store(server.url) as store:
        await store.run(told[:1])
        for _ in range(ROUNDS):
            client.config_resetstat()
            for first in range(0, len(told), 10):
                await store.run(told[first : first + 10])
            rounds.append(client.info("commandstats")["cmdstat_evalsha"]["usec_per_call"])
    return float(min(rounds))


async def server_side(server: RedisServer) -> None:
    """Prints a line per number of blocks and holders."""
    with server.client() as client:
        for length in LENGTHS:
            for count in HOLDERS:
                client.flushall()
                words = words_of(count)
                named = [KEYS.blocks(chain(seed, length)) for seed in range(CALLS)]
                empty = client.info("memory")["used_memory"]
                whole = await per_call_us(server, client, [calls.prefix_touch(keys, KNOWN_MS, words) for keys in named])
                full = client.info("memory")["used_memory"]
                more = [calls.prefix_touch(keys, KNOWN_MS, words[:1]) for keys in named]
                touch = await per_call_us(server, client, more)
                look = await per_call_us(server, client, [calls.prefix_look(keys) for keys in named])
                missed = [calls.prefix_look(KEYS.blocks(chain(CALLS + seed, length))) for seed in range(CALLS)]
                miss = await per_call_us(server, client, missed)
                size = (full - empty) / len(named[0]) / CALLS
                print(  # noqa: T201
                    f"Redis {length:3} blocks, {len(named[0]):2} known, {count:2} holders: look {look:6.1f} µs, "
                    f"nobody has it {miss:5.1f} µs, touch {touch:6.1f} µs, all {whole:6.1f} µs; {size:5.0f} bytes each"
                )


async def look_ups(server: RedisServer) -> None:
    """Prints a line per number of blocks."""
    pool = view(*ranks(16))
    async with open_store(server.url) as store, asyncio.TaskGroup() as tasks:
        index = PrefixIndex(store, KEYS, SchedulerSettings(place_deadline_ms=1_000))
        running = tasks.create_task(index.run(), name="index")
        for length in LENGTHS:
            shapes = [
                RequestShape(prompt_tokens=512, output_tokens=1, prompt_key="", blocks=prompt_of(seed, length))
                for seed in range(LOOK_UPS)
            ]
            unknown = await median_us(index, shapes, pool)
            told = [calls.prefix_touch(name(shape.blocks), KNOWN_MS, words_of(16)) for shape in shapes]
            for first in range(0, len(told), 10):
                await store.run(told[first : first + 10])
            known = await median_us(index, shapes, pool)
            trip = await exchange_us(store)
            print(  # noqa: T201
                f"look-up {length:3} blocks: 16 ranks have it {known:5.0f} µs, nobody {unknown:5.0f} µs, "
                f"an exchange {trip:5.0f} µs"
            )
        running.cancel()


async def exchange_us(store: Store) -> float:
    """How long a call takes that asks for one key."""
    took = []
    for seed in range(LOOK_UPS):
        call = calls.prefix_look(KEYS.blocks(chain(seed, 1)))
        started = time.perf_counter()
        await store.run([call])
        took.append(time.perf_counter() - started)
    return median(took) * 1e6


async def median_us(index: PrefixIndex, shapes: Sequence[RequestShape], pool: PoolView) -> float:
    """How long a look-up takes, one at a time."""
    took = []
    for shape in shapes:
        started = time.perf_counter()
        await index.look_up(shape, pool)
        took.append(time.perf_counter() - started)
    return median(took) * 1e6


@click.command(help=__doc__)
def main() -> None:
    """Measure both sides."""
    gateway()
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        asyncio.run(server_side(server))
        uvloop.run(look_ups(server))


if __name__ == "__main__":
    main()
