"""The keys of a pool."""

from __future__ import annotations

import re

import pytest

from scheduler.keys import PREFIX_SHARDS, SCHEMA, PoolKeys


@pytest.mark.parametrize(
    "pool", ["m", "meta-llama/Llama-3.1-8B", "a {b} c", "}{", "modèle", "a:b", "100%", "a\nb", "{}", ""]
)
def test_all_keys_of_a_pool_are_in_one_slot(pool: str) -> None:
    keys = PoolKeys(pool)
    every = {*keys.of_the_epoch(), keys.drain, *keys.book(keys.live("g@host:1.1"))}
    tags = {re.match(rf"forebay:{SCHEMA}:\{{([^{{}}]*)\}}:[a-z]+", key) for key in every}
    assert None not in tags
    assert len({tag[1] for tag in tags if tag}) == 1


def test_pools_do_not_share_keys() -> None:
    names = ["a", "a ", "a%20", "a/b", "a%2Fb", "{a}", "ä", "a:b"]
    assert len({PoolKeys(name).head for name in names}) == len(names)


def test_gateways_do_not_share_live_sets() -> None:
    keys = PoolKeys("m")
    assert keys.live("g.1") != keys.live("g.2")


def test_prompts_that_begin_alike_have_their_blocks_in_one_slot_beside_the_ledgers() -> None:
    keys = PoolKeys("m/a")
    one, other = keys.blocks([b"a" * 8, b"b" * 8]), keys.blocks([b"a" * 8, b"c" * 8])
    assert one[0] == other[0]
    assert len({*one, *other}) == 3
    tags = {key[key.index("{") : key.index("}") + 1] for key in (*one, *other)}
    assert len(tags) == 1
    assert not any(key.startswith(keys.head.removesuffix("head")) for key in one)


def test_a_pools_blocks_are_spread_over_slots() -> None:
    assert len({PoolKeys("m").blocks([bytes([first])])[0].partition("}")[0] for first in range(256)}) == PREFIX_SHARDS
