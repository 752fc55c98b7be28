"""API keys in every store."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import msgspec
import pytest

from scheduler.api_key_store import ApiKeyStore, Keys
from scheduler.api_keys import ApiKey, digest_of
from scheduler.errors import ApiKeyNameError, BadApiKeyError
from scheduler.keys import API_KEYS
from tests.contract.world import World


def key(name: str, **fields: Any) -> ApiKey:
    created = datetime(2026, 11, 22, tzinfo=UTC)
    return ApiKey(name=name, sha256=digest_of(name.encode()).hex(), created=created, **fields)


@pytest.fixture
def keys(world: World) -> ApiKeyStore:
    return ApiKeyStore(world.store)


async def read(keys: ApiKeyStore, known: bytes = b"") -> Keys:
    found = await keys.read(known)
    assert found is not None
    return found


async def test_a_store_without_keys_has_no_version(keys: ApiKeyStore) -> None:
    assert await keys.read() == Keys(b"", (), {})


async def test_keys_are_read_once_for_each_change(keys: ApiKeyStore) -> None:
    await keys.add(key("b", tokens_per_minute=5))
    await keys.add(key("a"))
    first = await read(keys)
    assert first.keys == (key("a"), key("b", tokens_per_minute=5))
    assert await keys.read(first.version) is None
    await keys.remove("a")
    second = await read(keys, first.version)
    assert second.keys == (key("b", tokens_per_minute=5),)
    await keys.remove("b")
    last = await read(keys, second.version)
    assert last == Keys(last.version, (), {})
    assert len({first.version, second.version, last.version, b""}) == 4


async def test_a_store_that_began_anew_says_so(keys: ApiKeyStore, world: World) -> None:
    await keys.add(key("a"))
    version = (await read(keys)).version
    await world.store.command("DEL", API_KEYS)
    await world.store.command("DEL", API_KEYS.replace("rows", "version"))
    assert await keys.read(version) == Keys(b"", (), {})


async def test_a_name_is_taken_once(keys: ApiKeyStore) -> None:
    await keys.add(key("a"))
    with pytest.raises(ApiKeyNameError, match="there is a key called 'a'"):
        await keys.add(key("a", requests_at_once=1))
    assert (await read(keys)).keys == (key("a"),)


async def test_a_key_is_changed_where_nobody_else_has_changed_it(keys: ApiKeyStore) -> None:
    await keys.add(key("a"))
    found, row = await keys.find("a")
    changed = msgspec.structs.replace(found, requests_at_once=2)
    await keys.change(changed, row)
    assert (await read(keys)).keys == (changed,)
    with pytest.raises(ApiKeyNameError, match="by somebody else"):
        await keys.change(found, row)


async def test_a_key_that_was_revoked_does_not_come_back_with_a_change(keys: ApiKeyStore) -> None:
    await keys.add(key("a"))
    found, row = await keys.find("a")
    await keys.remove("a")
    with pytest.raises(ApiKeyNameError):
        await keys.change(found, row)
    assert (await read(keys)).keys == ()


async def test_an_unknown_name_is_an_error(keys: ApiKeyStore) -> None:
    for refused in (keys.remove("nobody"), keys.find("nobody")):
        with pytest.raises(ApiKeyNameError, match="'nobody'"):
            await refused


async def test_what_is_no_key_lets_nobody_in_and_leaves_the_others(keys: ApiKeyStore, world: World) -> None:
    await keys.add(key("good"))
    row = msgspec.json.encode(key("good"))
    for name, content in (("junk", b"\xff{"), ("other", row), ("odd", row[:-1] + b',"limit_nobody_knows":1}')):
        await world.store.command("HSET", API_KEYS, name, content)
    found = await read(keys)
    assert found.keys == (key("good"),)
    assert found.bad.keys() == {"junk", "other", "odd"}
    with pytest.raises(BadApiKeyError):
        await keys.find("junk")
    await keys.remove("junk")
    assert (await read(keys)).bad.keys() == {"other", "odd"}
