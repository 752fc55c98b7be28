"""The API keys in Redis, as gateways read them."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime

from scheduler.api_key_store import AT_ONCE, ApiKeyStore
from scheduler.api_keys import ApiKey, encode
from scheduler.calls import Call, Reply
from simulator.store import VirtualStore

COUNT = 10 * AT_ONCE


class StoreOfKeys(VirtualStore):
    """A store that answers any reader with these rows."""

    async def run(self, calls: Sequence[Call]) -> list[Reply]:
        created = datetime(2026, 11, 22, tzinfo=UTC)
        keys = [ApiKey(name=f"team-{number}", sha256=f"{number:064x}", created=created) for number in range(COUNT)]
        return [[b"version", *(cell for key in keys for cell in (key.name.encode(), encode(key)))]]


async def test_thousands_of_keys_are_read_while_requests_go_on() -> None:
    turns = 0

    async def other_requests() -> None:
        nonlocal turns
        while True:
            await asyncio.sleep(0)
            turns += 1

    async with asyncio.TaskGroup() as tasks:
        others = tasks.create_task(other_requests())
        read = await ApiKeyStore(StoreOfKeys()).read()
        others.cancel()
    assert read is not None
    assert len(read.keys) == COUNT
    assert turns >= COUNT // AT_ONCE
