"""Invariant 9: which rank was given a prompt every gateway finds, as deep as it goes and for as long as it holds."""

from __future__ import annotations

from collections.abc import Sequence

import pytest

from scheduler import calls
from scheduler.keys import PoolKeys
from simulator.redis_commands import SortedSet
from simulator.store import VirtualStore
from tests.invariants.mutation import script_text

KEYS = PoolKeys("sim")
KNOWN_MS = 60_000


class Index:
    """The prefix index of a pool; blocks are numbers, and a chain is a range of them."""

    def __init__(self) -> None:
        self.store = VirtualStore(text_of=script_text)

    def touch(self, blocks: Sequence[int], *holders: str) -> None:
        assert self.store.call(calls.prefix_touch(self._keys(blocks), KNOWN_MS, holders)) == [b"ok"]

    def look(self, blocks: Sequence[int]) -> list[str]:
        return [holders.decode() for holders in self.store.call(calls.prefix_look(self._keys(blocks)))]

    def believed(self, *tags: str, more: Sequence[int] = ()) -> list[int]:
        """The sums of each life after `more` was added to them; two of each."""
        keys = KEYS.believed(tags)
        sums: list[int] = self.store.call(calls.prefix_believed(keys, KNOWN_MS, more or (0, 0) * len(tags)))
        return sums

    def _keys(self, blocks: Sequence[int]) -> tuple[str, ...]:
        return KEYS.blocks([b"\0" + bytes([block]) for block in blocks])


@pytest.fixture
def index() -> Index:
    return Index()


def test_nobody_holds_what_nobody_was_given(index: Index) -> None:
    assert index.look(range(3)) == []


def test_who_was_given_a_prompt_holds_all_of_it(index: Index) -> None:
    index.touch(range(3), "aa=1")
    assert index.look(range(3)) == ["aa=1", "", ""]
    assert index.look(range(5)) == ["aa=1", "", ""]
    assert index.look(range(1)) == ["aa=1"]


def test_prompts_that_part_are_held_as_deep_as_they_go(index: Index) -> None:
    index.touch([0, 1, 2], "aa=1")
    index.touch([0, 1, 7], "bb=2")
    assert index.look([0, 1, 2]) == ["bb=2 aa=1", "", "aa=1"]
    assert index.look([0, 1, 7]) == ["bb=2 aa=1", "", "bb=2"]


def test_a_hole_ends_what_is_known(index: Index) -> None:
    index.touch([0, 2], "aa=1")
    assert index.look([0, 1, 2]) == ["aa=1"]


def test_what_nobody_of_ours_wrote_ends_what_is_known_until_it_is_written_anew(index: Index) -> None:
    index.touch(range(3), "aa=1")
    index.store.data[KEYS.blocks([b"\0\1"])[0].encode()] = b"dd=4 " * 1_000
    assert index.look(range(3)) == ["aa=1"]
    index.touch(range(3), "bb=2")
    assert index.look(range(3)) == ["bb=2 aa=1", "bb=2", "bb=2 aa=1"]


def test_a_rank_stands_there_once_with_its_last_word(index: Index) -> None:
    index.touch([0], "aa=1")
    index.touch([0], "bb=2")
    index.touch([0], "aa=3")
    assert index.look([0]) == ["aa=3 bb=2"]


def test_both_ranks_of_a_pair_hold_it(index: Index) -> None:
    index.touch([0], "cc=9")
    index.touch([0], "aa=1", "bb=2")
    assert index.look([0]) == ["aa=1 bb=2 cc=9"]


def test_of_many_ranks_the_last_64_are_known(index: Index) -> None:
    for number in range(70):
        index.touch([0], f"{number:08x}=5")
    (holders,) = index.look([0])
    assert holders.split() == [f"{number:08x}=5" for number in range(69, 5, -1)]


def test_what_nobody_asks_for_is_forgotten(index: Index) -> None:
    index.touch([0, 1], "aa=1")
    index.store.now_ms += KNOWN_MS - 1
    index.touch([0], "aa=2")
    assert index.look([0, 1]) == ["aa=2", "aa=1"]
    index.store.now_ms += 1
    assert index.look([0, 1]) == ["aa=2"]


def test_what_is_no_holder_goes_when_a_rank_is_written_down(index: Index) -> None:
    (key,) = KEYS.blocks([b"\0\0"])
    index.store.data[key.encode()] = b"junk aa=x bb=7"
    index.touch([0], "aa=1")
    assert index.look([0]) == ["aa=1 bb=7"]


def test_what_gateways_believed_of_a_life_adds_up(index: Index) -> None:
    assert index.believed("aa", "bb") == [0, 0, 0, 0]
    assert index.believed("aa", "bb", more=(1, 2, 3, 4)) == [1, 2, 3, 4]
    assert index.believed("bb", more=(10, 20)) == [13, 24]
    assert index.believed("aa", "cc", "bb") == [1, 2, 0, 0, 13, 24]


def test_sums_are_exact_up_to_where_numbers_are(index: Index) -> None:
    large = (1 << 53) - 1
    assert index.believed("aa", more=(large, 0)) == [large, 0]
    assert index.believed("aa") == [large, 0]


def test_sums_are_forgotten_of_a_life_that_nobody_tells_of(index: Index) -> None:
    index.believed("aa", more=(1, 2))
    index.store.now_ms += KNOWN_MS - 1
    assert index.believed("aa") == [1, 2]
    index.store.now_ms += KNOWN_MS
    assert index.believed("aa") == [0, 0]


def test_sums_whose_key_somebody_took_for_something_else_begin_anew(index: Index) -> None:
    for key, value in zip(KEYS.believed(["aa", "bb"]), (SortedSet(), b"3 4"), strict=True):
        index.store.data[key.encode()] = value
    assert index.believed("aa", "bb", more=(1, 2, 3, 4)) == [1, 2, 6, 8]
    assert index.believed("aa", "bb") == [1, 2, 6, 8]


@pytest.mark.parametrize("junk", [b"junk", b"5", b"1 2 3", b"9" * 400 + b" 1", b"-1 5", b"1 2x"])
def test_what_is_no_sum_begins_anew(index: Index, junk: bytes) -> None:
    (key,) = KEYS.believed(["aa"])
    index.store.data[key.encode()] = junk
    assert index.believed("aa", more=(7, 8)) == [7, 8]
