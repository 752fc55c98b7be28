"""Rows of the ledger, and what they amount to at a pool time."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.loads import BookLoad, Loads, SeenRank, loads_at, parse_book, parse_seen
from scheduler.messages import RankState
from tests.scheduler.samples import seen

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
        running=2,
    )


@pytest.mark.parametrize(
    ("old", "new"),
    [
        pytest.param(ROW, "", id="nothing"),
        pytest.param("up", "asleep", id="an unknown state"),
        pytest.param("500", "soon", id="a word for a time"),
        pytest.param("1234.5", "0", id="no rate"),
        pytest.param("1234.5", "-1", id="a negative rate"),
        pytest.param("1234.5", "nan", id="a rate that is no number"),
        pytest.param(" 3 ", " 3.5 ", id="half a request"),
        pytest.param(ROW, "i1 up 0 500", id="cut short"),
    ],
)
def test_another_row_is_no_seen_row(old: str, new: str) -> None:
    with pytest.raises(ValueError):
        parse_seen(ROW.replace(old, new))


@pytest.mark.parametrize(
    ("book", "heard", "now_ms", "expected"),
    [
        pytest.param({}, {}, 0, (0, 0, 0), id="an idle rank"),
        pytest.param({"queued_tokens": 900, "prompts": 1}, {}, 400, (500, 0, 0), id="progress of the running prompt"),
        pytest.param({"queued_tokens": 900, "prompts": 3}, {}, 400, (600, 0, 0), id="no more than a mean prompt"),
        pytest.param({"queued_tokens": 900, "prompts": 1}, {}, 9_000, (0, 0, 0), id="never less than nothing"),
        pytest.param(
            {"queued_tokens": 900, "prompts": 1, "progress_since_ms": 500}, {}, 300, (900, 0, 0), id="not begun yet"
        ),
        pytest.param({"requests": 2}, {"foreign_requests": 4}, 2_000, (0, 6, 0), id="foreign, still fresh"),
        pytest.param({"requests": 2}, {"foreign_requests": 4}, 6_000, (0, 4, 0), id="foreign, half faded"),
        pytest.param({"requests": 2}, {"foreign_requests": 4}, 10_000, (0, 2, 0), id="foreign, forgotten"),
        pytest.param(
            {"unseen_kv_tokens": 1, "engine_kv_tokens": 20, "growth_tokens": 300},
            {"foreign_kv_tokens": 4_000},
            0,
            (0, 0, 4_321),
            id="all kinds of KV",
        ),
        pytest.param({"engine_kv_tokens": 20}, {"foreign_kv_tokens": -50}, 0, (0, 0, 0), id="shared blocks"),
    ],
)
def test_loads_are(book: dict[str, int], heard: dict[str, Any], now_ms: float, expected: tuple[float, ...]) -> None:
    assert loads_at(BookLoad(**book), seen(**heard), now_ms) == Loads(*expected)
