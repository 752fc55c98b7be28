"""What is read of a stream beside its relay."""

from gateway.taps import PaceTap, UsageTap
from gateway.usage import Usage
from tests.gateway.scripted_rank import EVENTS


def test_the_last_usage_that_a_stream_reports_counts() -> None:
    tap = UsageTap()
    for event in (b'data: {"choices":[],"usage": {"prompt_tokens":3,"completion_tokens":1}}\n\n', *EVENTS):
        tap.see(event)
    assert tap.usage == Usage(12, 2)


def test_a_usage_that_is_null_is_none() -> None:
    tap = UsageTap()
    tap.see(b'data: {"choices":[],"usage":null}\n\n')
    assert tap.usage is None


def test_each_gap_between_events_is_counted_once() -> None:
    tap = PaceTap((0.0, 3600.0))
    for _ in range(4):
        tap.see(b"data: x\n\n")
    assert sum(tap.counts) == 3
    assert tap.counts[2] == 0
    assert tap.total_s >= 0
