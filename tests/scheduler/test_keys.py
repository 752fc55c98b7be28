"""The keys of a pool."""

from __future__ import annotations

import re

import pytest

from scheduler.keys import SCHEMA, PoolKeys


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
