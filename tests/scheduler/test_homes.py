"""Where responses are kept, in a real Redis."""

from collections.abc import AsyncIterator

import pytest

from scheduler.errors import StoreRejectedError
from scheduler.homes import Home, Homes
from scheduler.keys import PoolKeys, response_home
from scheduler.store import Store, open_store
from tests.servers import RedisServer


@pytest.fixture
async def store(redis_process: RedisServer) -> AsyncIterator[Store]:
    async with open_store(redis_process.url) as store:
        yield store


HOME = Home("model/of:mine", "10.0.0.1:8000", "17")


async def test_a_home_that_was_kept_is_found_and_expires(store: Store) -> None:
    homes = Homes(store)
    await homes.keep("resp_1", HOME, ttl_s=60)
    assert await homes.find("resp_1") == HOME
    assert await homes.find("resp_2") is None
    assert 0 < int(await store.command("PTTL", response_home("resp_1"))) <= 60_000


async def test_the_last_home_of_a_response_counts(store: Store) -> None:
    homes = Homes(store)
    await homes.keep("resp_1", HOME, ttl_s=60)
    await homes.keep("resp_1", Home("m", "b", "2"), ttl_s=60)
    assert await homes.find("resp_1") == Home("m", "b", "2")


async def test_what_nobody_here_wrote_is_an_error(store: Store) -> None:
    await store.command("SET", response_home("resp_1"), "junk")
    with pytest.raises(StoreRejectedError, match="nobody here wrote"):
        await Homes(store).find("resp_1")


@pytest.mark.parametrize(
    ("count", "is_drained"), [(None, False), ("0", False), ("1", True), ("2", False), ("7", True), ("junk", False)]
)
async def test_a_rank_is_drained_that_was_drained_once_more_than_undrained(
    store: Store, count: str | None, is_drained: bool
) -> None:
    if count is not None:
        await store.command("HSET", PoolKeys(HOME.pool).drain, HOME.rank, count)
    assert await Homes(store).is_drained(HOME) is is_drained


def test_an_id_of_any_length_has_a_short_key_of_its_own() -> None:
    keys = {response_home(response) for response in ("", "a", "\u00e9", "x" * 500, "{a}")}
    assert len(keys) == 5
    assert {len(key) for key in keys} == {len("forebay:1:response:") + 32}
