"""When an answer is asked for again."""

import pytest

from forebay.model_server.retrying import LONGEST_S, LONGEST_WAIT_ASKED_S, asked_wait_s, wait_s


def test_pauses_are_any_time_up_to_a_bound_that_doubles() -> None:
    assert [wait_s(retry, 1.0) for retry in (1, 2, 3)] == [0.5, 1.0, 2.0]
    assert wait_s(3, 0.5) == 1.0
    assert wait_s(3, 0.0) == 0.0
    assert wait_s(1_000, 1.0) == LONGEST_S


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        (None, None),
        ("3", 3.0),
        (" 0 ", 0.0),
        ("999999999", LONGEST_WAIT_ASKED_S),
        ("-1", None),
        ("1.5", None),
        ("Wed, 21 Oct 2026 07:28:00 GMT", None),
    ],
)
def test_a_pause_is_asked_for_in_whole_seconds(header: str | None, seconds: float | None) -> None:
    assert asked_wait_s(header) == seconds
