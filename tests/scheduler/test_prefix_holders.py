"""What ranks still hold of a prompt."""

from __future__ import annotations

import pytest

from scheduler.prefix_chain import chain_of
from scheduler.prefix_holders import (
    held,
    holders_of,
    tag_of,
    touch_of,
)
from scheduler.rank_view import RankView
from scheduler.rows import BookLoad
from tests.scheduler.samples import rank

CAPACITY = 1_000
CHAIN = chain_of([bytes([block]) for block in range(4)])


def at(
    odometer: int | None, name: str = "a", incarnation: str = "i1", queued_tokens: int = 0, span: int | None = None
) -> RankView:
    heard = {"computed_tokens": odometer, "cache_span_tokens": span}
    book = BookLoad(queued_tokens=queued_tokens)
    return rank(name, book, heard=heard, kv_capacity_tokens=CAPACITY, incarnation=incarnation)


def cached(replies: list[str], *ranks: RankView, block_tokens: float = 100.0) -> dict[str, int]:
    return held([each.encode() for each in replies], CHAIN, block_tokens, holders_of(ranks)).tokens


def test_a_prompt_is_held_as_deep_as_it_was_used() -> None:
    a, b = at(0), at(0, "b")
    both = f"{tag_of(a)}=0 {tag_of(b)}=0"
    assert cached([both, "", f"{tag_of(b)}=0", ""], a, b) == {"a": 200, "b": 400}
    assert cached([], a, b) == {}


@pytest.mark.parametrize(("odometer", "tokens"), [(0, 100), (CAPACITY, 100), (CAPACITY + 1, None)])
def test_it_is_held_until_the_rank_has_computed_more_than_its_cache_holds(odometer: float, tokens: int | None) -> None:
    then, now = at(50), at(50 + int(odometer))
    assert cached([f"{tag_of(then)}=50"], now).get("a") == tokens


@pytest.mark.parametrize(("span", "tokens"), [(31, 100), (30, 100), (29, None), (0, None)])
def test_an_agent_says_for_how_long_it_is_held(span: int, tokens: int | None) -> None:
    assert cached([f"{tag_of(at(0))}=50"], at(80, span=span)).get("a") == tokens


def test_a_rank_that_holds_nothing_does_not_hold_what_waits_there() -> None:
    assert cached([f"{tag_of(at(0))}=500"], at(80, span=0)) == {}


def test_the_age_is_what_was_computed_since_the_deepest_block_was_used() -> None:
    a, b = at(80), at(80, "b")
    replies = [f"{tag_of(a)}=70 {tag_of(b)}=75", "", f"{tag_of(a)}=50"]
    found = held([each.encode() for each in replies], CHAIN, 100.0, holders_of([a, b]))
    assert found == ({"a": 300, "b": 200}, {"a": 30, "b": 5})


def test_what_was_used_again_is_held_though_what_came_behind_it_is_not() -> None:
    a = at(5_000)
    assert cached([f"{tag_of(a)}=4900", "", f"{tag_of(a)}=10"], a) == {"a": 200}


def test_a_new_life_holds_nothing() -> None:
    assert cached([f"{tag_of(at(0))}=0"], at(0, incarnation="i2")) == {}


def test_a_rank_without_an_odometer_is_not_believed_to_hold_anything() -> None:
    assert cached([f"{tag_of(at(0))}=0"], at(None)) == {}
    assert touch_of(at(None), 10) is None


def test_a_word_of_a_placement_stands_at_the_odometer_that_the_prompt_will_see() -> None:
    assert touch_of(at(100, queued_tokens=30), 4) == f"{tag_of(at(0))}=134"


@pytest.mark.parametrize(
    "word", ["", "=", "zz=1", "x", "{tag}=", "{tag}=x", "{tag}=-1", "{tag}=1e9", "{tag}=" + "9" * 17]
)
def test_words_that_cannot_be_read_are_left_out(word: str) -> None:
    assert cached([word.format(tag=tag_of(at(0)))], at(0)) == {}


def test_bytes_that_are_no_text_are_left_out() -> None:
    assert held([b"\xff\xfe=1 \x00"], CHAIN, 100.0, holders_of([at(0)])).tokens == {}
