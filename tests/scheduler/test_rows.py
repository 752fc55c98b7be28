"""Rows of the ledger, read field by field or not at all."""

from __future__ import annotations

import pytest

from scheduler.messages import RankState, Source
from scheduler.rows import BookLoad, SeenRank, newest_foreign, parse_book, parse_seen

ROW = "i1 up 0 500 3 -70 1234.5 node/1 501 9 2 400:3"


def test_a_load_row_is_read_field_by_field() -> None:
    assert parse_book("1 2 3 4 5 6 7 8") == BookLoad(1, 2, 3, 4, 5, 6, 7, 8)


def test_no_load_row_is_no_load() -> None:
    assert parse_book("") == BookLoad()


@pytest.mark.parametrize("row", ["1 2", "1 2 3 4 5 6 7 8 9", "1 2 3 4 5 6 7 x", " ", "1  2 3 4 5 6 7 8"])
def test_another_row_is_no_load_row(row: str) -> None:
    with pytest.raises(ValueError):
        parse_book(row)


def test_a_seen_row_is_read_field_by_field() -> None:
    assert parse_seen(ROW) == SeenRank(
        incarnation="i1",
        state=RankState.UP,
        drained=False,
        sampled_ms=500,
        foreign_requests=3,
        foreign_kv_tokens=-70,
        prefill_tokens_per_s=1234.5,
        owner="node/1",
        heard_ms=501,
        running=2,
    )


@pytest.mark.parametrize(
    ("row", "tokens"),
    [(ROW, None), (ROW + "@77", 77), (ROW.replace("400:3", "@0"), 0), (ROW.removesuffix(" 400:3"), None)],
)
def test_the_odometer_stands_behind_what_an_older_release_reads(row: str, tokens: int | None) -> None:
    assert parse_seen(row).computed_tokens == tokens


@pytest.mark.parametrize(
    ("row", "source"),
    [
        (ROW, Source.PAGE),
        (ROW.replace("400:3", "push;400:3,500:4"), Source.PUSH),
        (ROW.replace("400:3", "push;400:3@77"), Source.PUSH),
        (ROW.removesuffix(" 400:3"), Source.PAGE),
    ],
)
def test_the_mark_of_a_pushed_sample_stands_before_the_recent_foreign_requests(row: str, source: Source) -> None:
    assert parse_seen(row).source is source


def test_the_newest_of_the_recent_foreign_requests_is_found_behind_the_mark() -> None:
    assert newest_foreign(ROW.replace("400:3", "push;400:5")) == 5
    assert newest_foreign(ROW.replace("400:3", "push;400:3,500:4@77")) == 4


def test_what_is_believed_of_the_prefix_cache_stands_behind_the_odometer() -> None:
    seen = parse_seen(ROW + "@77/5/600/40")
    assert (seen.computed_tokens, seen.cache_span_tokens, seen.believed_tokens, seen.found_tokens) == (77, 5, 600, 40)
    assert parse_seen(ROW + "@77").cache_span_tokens is None


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(ROW, "", id="nothing"),
        pytest.param("400:3", "400:3@x", id="a word for an odometer"),
        pytest.param("400:3", "400:3@", id="no odometer where one is promised"),
        pytest.param("400:3", "400:3@7/x", id="a word for a span"),
        pytest.param("400:3", "400:3@7/5/600/40/1", id="more than is known of a prefix cache"),
        pytest.param("up", "asleep", id="an unknown state"),
        pytest.param("500", "soon", id="a word for a time"),
        pytest.param("1234.5", "0", id="no rate"),
        pytest.param("1234.5", "-1", id="a negative rate"),
        pytest.param("1234.5", "nan", id="a rate that is no number"),
        pytest.param("1234.5", "1e-320", id="a rate that makes any cost infinite"),
        pytest.param("1234.5", "1e999", id="an infinite rate"),
        pytest.param(" 3 ", " 3.5 ", id="half a request"),
        pytest.param(ROW, "i1 up 0 500", id="cut short"),
    ],
)
def test_another_row_is_no_seen_row(old: str, new: str) -> None:
    with pytest.raises(ValueError):
        parse_seen(ROW.replace(old, new))
