"""The usage that a client has not asked for: what it gets is what it would have got without, wherever it is cut."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.apis import CHOICES
from gateway.edits import as_it_came
from gateway.event_stream import EventStream, Turns
from gateway.rank_http.chunks import payload_of
from gateway.stream_sink import StreamSink
from gateway.usage import Usage
from gateway.usage_reader import UsageReader
from gateway.withheld_usage import WithheldUsage
from tests.gateway.scripted_rank import USAGE, chunk
from tests.gateway.test_usage import body_of

DONE = b"data: [DONE]\n\n"
PLAIN = b'data: {"choices":[{"index":%d,"text":"%d","finish_reason":null,"token_ids":null}]}\n\n'
END = b'data: {"choices":[{"index":%d,"text":"","finish_reason":"stop","token_ids":null}]}\n\n'
STAMPED_END = END.replace(b"]}\n", b'],"system_fingerprint":"v-1"}\n')
LAST = b'data: {"choices":[],' + USAGE + b',"system_fingerprint":"v-1"}\n\n'
COMMENT = b": keep-alive\n\n"


class Poured:
    """A stream that is poured into a sink, and what its client got of it."""

    def __init__(self, answers: int = 1) -> None:
        self.usage = UsageReader()
        self.got: list[bytes] = []
        turns = Turns(lambda: None, lambda: None)
        self._stream = EventStream(as_it_came(CHOICES), turns, self.usage, withheld=WithheldUsage(answers))
        self.sink = StreamSink(self._stream, self.got.append)

    def pour(self, *parts: bytes, whole_chunks: bool = True) -> bytes:
        for part in parts:
            if whole_chunks:
                self.sink.take_chunks(chunk(part))
            else:
                self.sink.take(part)
        return self.payload + self._stream.finish()

    @property
    def payload(self) -> bytes:
        return payload_of(b"".join(self.got))


def uniform(captured: bytes) -> bytes:
    """A captured stream without what differs between two: its id and time."""
    first = captured.partition(b'"id":"')[2].partition(b'"')[0]
    created = captured.partition(b'"created":')[2].partition(b",")[0]
    return captured.replace(first, b"ID").replace(created, b"1")


@pytest.mark.parametrize("api", ["chat", "completion"])
def test_a_real_stream_with_its_usage_becomes_the_one_without(api: str) -> None:
    asked, unasked = (uniform(body_of(name)) for name in (f"{api}_stream_usage", f"{api}_stream"))
    poured = Poured()
    events = [event + b"\n\n" for event in asked.split(b"\n\n")[:-1]]
    assert poured.pour(*events) == unasked
    assert poured.usage.usage in (Usage(22, 8), Usage(12, 8))


STREAM = b"".join((PLAIN % (0, 1), PLAIN % (0, 2), END % 0, LAST, DONE))
SEEN = b"".join((PLAIN % (0, 1), PLAIN % (0, 2), STAMPED_END % 0, DONE))


@given(st.lists(st.integers(1, len(STREAM) - 1), max_size=8), st.booleans())
def test_however_a_stream_is_cut_its_client_gets_the_same(cuts: list[int], whole_chunks: bool) -> None:
    poured = Poured()
    parts = [STREAM[start:end] for start, end in itertools.pairwise(sorted({0, len(STREAM), *cuts}))]
    assert poured.pour(*parts, whole_chunks=whole_chunks) == SEEN
    assert poured.usage.usage == Usage(12, 2)


def test_ordinary_chunks_pass_as_they_came() -> None:
    poured = Poured()
    came = [chunk(PLAIN % (0, number)) for number in range(3)]
    for one in came:
        poured.sink.take_chunks(one)
    assert poured.got[1] is came[1]
    assert poured.got[2] is came[2]


def test_only_the_end_of_the_last_answer_waits_for_the_usage() -> None:
    poured = Poured(answers=2)
    for event in (PLAIN % (0, 1), END % 0, PLAIN % (1, 1), END % 1):
        poured.sink.take_chunks(chunk(event))
    assert poured.payload == PLAIN % (0, 1) + END % 0 + PLAIN % (1, 1)
    assert poured.pour(LAST, DONE) == PLAIN % (0, 1) + END % 0 + PLAIN % (1, 1) + STAMPED_END % 1 + DONE


@pytest.mark.parametrize("next_event", [DONE, COMMENT, PLAIN % (0, 2), b'data: {"error":{"message":"x"}}\n\n'])
def test_what_waits_for_a_usage_goes_first_when_something_else_comes(next_event: bytes) -> None:
    stream = PLAIN % (0, 1) + END % 0 + next_event
    assert Poured().pour(PLAIN % (0, 1), END % 0, next_event) == stream


def test_answers_may_end_in_one_event() -> None:
    both = END % 0
    both = both.replace(b"]}\n", b',{"index":1,"text":"","finish_reason":"stop"}]}\n')
    stamped = both.replace(b"]}\n", b'],"system_fingerprint":"v-1"}\n')
    assert Poured(answers=2).pour(PLAIN % (0, 1), both, LAST, DONE) == PLAIN % (0, 1) + stamped + DONE


def test_what_waits_is_not_lost_when_nothing_more_comes() -> None:
    assert Poured().pour(PLAIN % (0, 1), END % 0) == PLAIN % (0, 1) + END % 0


def test_a_rank_without_a_fingerprint_has_none_put_in() -> None:
    poured = Poured()
    last = LAST.replace(b',"system_fingerprint":"v-1"', b"")
    assert poured.pour(PLAIN % (0, 1), END % 0, last, DONE) == PLAIN % (0, 1) + END % 0 + DONE


def test_a_usage_for_which_nothing_waits_any_more_is_kept_without_a_trace() -> None:
    assert Poured().pour(PLAIN % (0, 1), END % 0, COMMENT, LAST, DONE) == PLAIN % (0, 1) + END % 0 + COMMENT + DONE
    assert Poured(answers=0).pour(PLAIN % (0, 1), END % 0, LAST, DONE) == PLAIN % (0, 1) + END % 0 + DONE


def test_what_cannot_be_read_is_passed_on() -> None:
    event = b'data: {"prompt_tokens" \xff\n\n'
    assert Poured().pour(PLAIN % (0, 1), event, DONE) == PLAIN % (0, 1) + event + DONE


def test_what_tells_a_usage_beside_something_else_is_passed_on() -> None:
    for event in (b'data: {"error":{"message":"x"},' + USAGE + b"}\n\n", b'data: {"choices":[],"prompt_tokens":3}\n\n'):
        assert Poured().pour(PLAIN % (0, 1), event, DONE) == PLAIN % (0, 1) + event + DONE


def test_a_rank_that_tells_the_usage_in_every_event_does_so_unasked() -> None:
    events = [event.replace(b"]}\n", b"]," + USAGE + b"}\n") for event in (PLAIN % (0, 1), PLAIN % (0, 2), END % 0)]
    assert Poured().pour(*events, LAST, DONE) == b"".join((*events, LAST, DONE))


def test_a_text_that_reads_like_a_usage_is_passed_on() -> None:
    event = b'data: {"choices":[{"text":"\\"usage\\": {\\"prompt_tokens\\"","finish_reason":null}]}\n\n'
    assert Poured().pour(event, DONE) == event + DONE


def test_an_event_that_holds_too_much_to_be_decoded_tells_no_usage() -> None:
    event = LAST.replace(b"[]", b"[" + b"[]," * (1 << 16) + b"[]]")
    assert Poured().pour(PLAIN % (0, 1), event, LAST, DONE) == PLAIN % (0, 1) + event + DONE
