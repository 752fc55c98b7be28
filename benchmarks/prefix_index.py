"""What the prefix index costs: `python -m benchmarks.prefix_index`.

Gateway: CPU in µs to read a chat prompt of 2 to 220 KB, of that to cut it into blocks; to name its keys; and to read
who holds it, where 16 ranks hold all of it. Redis, a server of its own: µs per `prefix_look` and `prefix_touch`, by how
many blocks are looked up and how many ranks hold them (EVALSHA in commandstats between two resets); a prompt that
nobody knows ends at its first block. Memory: bytes a block takes, by how many ranks hold it (used_memory).
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

import redis

from gateway import prompt, wire
from gateway.blocks import BLOCK_BYTES, Transcript
from scheduler import calls
from scheduler.calls import Call
from scheduler.keys import PoolKeys
from scheduler.prefix_chain import chain_of
from scheduler.prefix_holders import cached_tokens, holders_of, touch_of
from scheduler.rank_view import RankView
from scheduler.store import open_store
from tests.scheduler.samples import rank
from tests.servers import RedisServer, redis_server

ROUNDS, CALLS = 20, 50
KEYS = PoolKeys("bench")
LENGTHS = (1, 10, 107)
"""Blocks; 107 are 220 KB."""
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
    for size in (2_100, 20_500, 220_000):
        text = ("all the words that were said before " * 7_000)[:size]
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
            "holders": least_us(partial(cached_tokens, replies, chain, 512.0, holders)),
        }
        told = ", ".join(f"{part} {took:.0f} µs" for part, took in parts.items())
        print(f"gateway {size // 1000:4} KB, {size // BLOCK_BYTES:3} blocks: {told}")  # noqa: T201


def chain(seed: int, length: int) -> list[bytes]:
    """Hashes of a prompt's blocks."""
    chance = Random(seed)
    return [chance.randbytes(8) for _ in range(length)]


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
                held = client.info("memory")["used_memory"]
                more = [calls.prefix_touch(keys, KNOWN_MS, words[:1]) for keys in named]
                touch = await per_call_us(server, client, more)
                look = await per_call_us(server, client, [calls.prefix_look(keys) for keys in named])
                missed = [calls.prefix_look(KEYS.blocks(chain(CALLS + seed, length))) for seed in range(CALLS)]
                miss = await per_call_us(server, client, missed)
                print(  # noqa: T201
                    f"Redis {length:3} blocks, {count:2} holders: look {look:6.1f} µs, nobody has it {miss:5.1f} µs, "
                    f"touch {touch:6.1f} µs, all {whole:6.1f} µs; {(held - empty) / length / CALLS:5.0f} bytes each"
                )


def main() -> None:
    """Measure both sides."""
    gateway()
    with tempfile.TemporaryDirectory() as folder, redis_server(Path(folder)) as server:
        asyncio.run(server_side(server))


if __name__ == "__main__":
    main()
