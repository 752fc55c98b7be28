"""What usage is read of a stream beside its relay."""

from gateway.usage import Usage
from gateway.usage_tap import UsageTap
from tests.gateway.scripted_rank import EVENTS, chunk


def test_the_last_usage_that_a_stream_reports_counts() -> None:
    tap = UsageTap()
    for event in (b'data: {"choices":[],"usage": {"prompt_tokens":3,"completion_tokens":1}}\n\n', *EVENTS):
        tap.see(event, in_chunks=False)
    assert tap.usage == Usage(12, 2)


def test_a_usage_that_is_null_is_none() -> None:
    tap = UsageTap()
    tap.see(b'data: {"choices":[],"usage":null}\n\n', in_chunks=False)
    assert tap.usage is None


def test_chunk_framing_between_events_hides_no_usage() -> None:
    tap = UsageTap()
    tap.see(chunk(EVENTS[1]) + chunk(EVENTS[2]), in_chunks=True)
    assert tap.usage == Usage(12, 2)
