"""The KV blocks: held, shared, freed, found again, evicted oldest first."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.kv_cache import KvCache


def taken(cache: KvCache, count: int) -> list[int]:
    blocks = cache.take([], count)
    assert blocks is not None
    return blocks


def test_too_many_blocks_are_refused_and_nothing_changes() -> None:
    cache = KvCache(4)
    taken(cache, 3)
    assert cache.take([], 2) is None
    assert cache.num_free == 1


def test_usage_is_the_share_held() -> None:
    cache = KvCache(4)
    taken(cache, 3)
    assert cache.usage == pytest.approx(0.75)


def test_a_freed_block_is_found_by_its_key_until_it_is_reused() -> None:
    cache = KvCache(2)
    [block] = taken(cache, 1)
    cache.publish(block, key=7)
    cache.release([block])
    assert cache.match([7], most=1) == [block]
    taken(cache, 2)
    assert cache.match([7], most=1) == []


def test_a_match_ends_at_the_first_block_that_is_missing() -> None:
    cache = KvCache(4)
    for block, key in zip(taken(cache, 3), (1, 2, 4), strict=True):
        cache.publish(block, key)
    assert len(cache.match([1, 2, 3, 4], most=4)) == 2
    assert len(cache.match([1, 2], most=1)) == 1


def test_the_end_of_a_prompt_is_evicted_before_its_beginning() -> None:
    cache = KvCache(3)
    blocks = taken(cache, 3)
    for block, key in zip(blocks, (1, 2, 3), strict=True):
        cache.publish(block, key)
    cache.release(blocks)
    taken(cache, 1)
    assert cache.match([1, 2, 3], most=3) == blocks[:2]


def test_a_block_used_again_outlives_one_that_was_not() -> None:
    cache = KvCache(2)
    first, second = taken(cache, 2)
    cache.publish(first, 1)
    cache.publish(second, 2)
    cache.release([first])
    cache.release([second])
    assert cache.take([first], 0) == [first]
    cache.release([first])
    taken(cache, 1)
    assert cache.match([1], 1) == [first]
    assert cache.match([2], 1) == []


def test_a_shared_block_is_free_only_when_nobody_holds_it() -> None:
    cache = KvCache(2)
    [block] = taken(cache, 1)
    cache.publish(block, 1)
    cache.take([block], 0)
    cache.release([block])
    assert cache.num_free == 1
    cache.release([block])
    assert cache.num_free == 2


def test_the_first_of_two_blocks_with_one_key_is_the_one_found() -> None:
    cache = KvCache(2)
    first, second = taken(cache, 2)
    cache.publish(first, 1)
    cache.publish(second, 1)
    assert cache.match([1], 1) == [first]


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 3)), max_size=60))
def test_held_and_free_blocks_add_up(actions: list[tuple[int, int]]) -> None:
    cache, held = KvCache(8), list[list[int]]()
    for size, which in actions:
        if size and (blocks := cache.take([], size)) is not None:
            held.append(blocks)
        elif held:
            cache.release(held.pop(which % len(held)))
        assert cache.num_free + sum(map(len, held)) == 8
        assert len({block for blocks in held for block in blocks}) == sum(map(len, held))
