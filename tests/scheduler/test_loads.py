"""What a rank's rows amount to at a pool time."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.loads import Loads, loads_at
from scheduler.rows import BookLoad
from tests.scheduler.samples import seen


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
