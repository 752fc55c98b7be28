"""What usage is read of an answer beside its relay."""

from gateway.usage import Usage
from gateway.usage_reader import UsageReader
from tests.gateway.scripted_rank import COMPLETION, WITH_USAGE


def test_the_last_usage_that_a_stream_reports_counts() -> None:
    reader = UsageReader()
    for event in (b'data: {"choices":[],"usage": {"prompt_tokens":3,"completion_tokens":1}}\n\n', *WITH_USAGE):
        reader.see(event)
    assert reader.usage == Usage(12, 2)


def test_a_usage_that_is_null_is_none() -> None:
    reader = UsageReader()
    reader.see(b'data: {"choices":[],"usage":null}\n\n')
    assert reader.usage is None


def test_the_usage_of_an_answer_that_is_not_streamed_is_read_too() -> None:
    reader = UsageReader()
    reader.see_whole(COMPLETION)
    assert reader.usage == Usage(12, 1)
