"""What of a stream is passed on, and when it counts as begun and as over."""

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.dialects.apis import CHOICES
from gateway.dialects.dialect import Dialect
from gateway.edits import as_it_came
from gateway.errors import RankFailedError
from gateway.event_stream import EventStream, Turns
from gateway.rank_http.chunks import payload_of
from gateway.stream_sink import MAX_LIKENESSES, StreamSink
from gateway.usage_reader import UsageReader
from tests.gateway.scripted_rank import ABORTED_EVENT, EVENTS, USAGE_EVENT, WITH_USAGE, chunk

DONE = EVENTS[-1]
COMMENT = b": keep-alive\n\n"
ERROR = b'data: {"error":{"message":"x","code":500}}\n\n'
SAYS_DONE = b'data: {"choices":[{"text":"data: [DONE]"}]}\n\n'


class Kept:
    """A tap that keeps what it sees."""

    def __init__(self) -> None:
        self.seen: list[bytes] = []

    def see(self, events: bytes, *, in_chunks: bool) -> None:
        self.seen.append(payload_of(events) if in_chunks else events)


class Watched:
    """A stream, with what it called and what it was seen to pass on."""

    def __init__(self, *, bears_error: bool = True, tapped: bool = False, dialect: Dialect = CHOICES) -> None:
        self.turns: list[str] = []
        self.tap = Kept()
        turns = Turns(lambda: self.turns.append("first token"), lambda: self.turns.append("done"))
        taps = [self.tap] if tapped else ()
        self.stream = EventStream(as_it_came(dialect), turns, UsageReader(), taps, bears_error=bears_error)
        self.written: list[bytes] = []
        self.sink = StreamSink(self.stream, self.written.append)

    def come(self, chunks: bytes) -> None:
        """Whole chunks, as a connection has them taken between two others."""
        if not self.sink.take_alike(chunks):
            self.sink.take_chunks(chunks)


def test_a_stream_begins_with_its_first_token_and_is_over_with_done() -> None:
    watched = Watched()
    assert watched.stream.feed(COMMENT) == COMMENT
    assert watched.turns == []
    assert watched.stream.feed(EVENTS[0]) == EVENTS[0]
    assert watched.turns == ["first token"]
    assert watched.stream.feed(DONE) == DONE
    assert watched.turns == ["first token", "done"]
    assert watched.stream.finish() == b""


def test_a_text_that_reads_like_the_end_is_none() -> None:
    watched = Watched()
    watched.stream.feed(SAYS_DONE)
    assert watched.turns == ["first token"]


def test_an_event_is_passed_on_when_it_is_whole() -> None:
    stream = Watched().stream
    assert [stream.feed(part) for part in (EVENTS[0][:10], EVENTS[0][10:-1], b"\n")] == [b"", b"", EVENTS[0]]


@pytest.mark.parametrize("bears_error", [True, False])
def test_to_begin_with_an_error_is_the_ranks_right_unless_another_can_be_asked(bears_error: bool) -> None:
    stream = Watched(bears_error=bears_error).stream
    if bears_error:
        assert stream.feed(ERROR) == ERROR
    else:
        with pytest.raises(RankFailedError, match="began its stream with an error"):
            stream.feed(ERROR)


@pytest.mark.parametrize("events", [b"", COMMENT, USAGE_EVENT])
def test_a_stream_that_ends_unbegun_has_failed(events: bytes) -> None:
    stream = Watched().stream
    stream.feed(events)
    with pytest.raises(RankFailedError, match="before it had begun"):
        stream.finish()


def test_what_came_before_an_abort_is_passed_on() -> None:
    watched = Watched()
    assert watched.stream.feed(EVENTS[0] + ABORTED_EVENT) == EVENTS[0]
    with pytest.raises(RankFailedError, match="aborted"):
        watched.stream.raise_error()


def test_chunks_of_plain_events_are_written_as_they_came() -> None:
    watched = Watched()
    watched.sink.take_chunks(chunk(EVENTS[0]))
    both = chunk(EVENTS[0]) + chunk(EVENTS[1])
    watched.sink.take_chunks(both)
    assert watched.written[1] is both


def test_what_is_like_an_event_before_is_written_at_a_glance_and_shown_to_taps() -> None:
    watched = Watched(tapped=True)
    watched.come(chunk(EVENTS[0]))
    watched.come(chunk(EVENTS[0]))
    other = chunk(EVENTS[0].replace(b'"h"', b'"[DONE]"'))
    assert watched.sink.take_alike(other)
    assert watched.written[-1] is other
    assert watched.turns == ["first token"]
    assert [b"".join(watched.written)] == [b"".join(map(chunk, watched.tap.seen))]


def test_a_tap_sees_the_events_of_several_chunks_that_came_at_once() -> None:
    watched = Watched(tapped=True)
    watched.come(chunk(EVENTS[0]))
    watched.come(chunk(EVENTS[0]) + chunk(EVENTS[1]))
    assert watched.tap.seen == [EVENTS[0], EVENTS[0] + EVENTS[1]]


def test_what_was_passed_on_last_is_known_though_it_passed_as_it_came() -> None:
    watched = Watched()
    for event in EVENTS[:2]:
        watched.come(chunk(event))
        assert event in watched.stream.last


def test_several_chunks_at_once_are_no_pattern_for_the_next() -> None:
    watched = Watched()
    for _ in range(2):
        watched.come(chunk(EVENTS[0]))
    watched.come(chunk(EVENTS[1]) * 2)
    assert watched.sink.take_alike(chunk(EVENTS[0]))


def test_a_stream_of_unlike_events_is_given_up_as_one() -> None:
    watched = Watched()
    unlike = [EVENTS[0].replace(b"cmpl-1", b"cmpl-%d" % number) for number in range(MAX_LIKENESSES + 2)]
    for event in unlike:
        watched.come(chunk(event))
    assert [event for event in unlike if watched.sink.take_alike(chunk(event))] == [unlike[-2]]


def test_inside_of_an_event_nothing_is_written_at_a_glance() -> None:
    watched = Watched()
    for _ in range(2):
        watched.come(chunk(EVENTS[0]))
    watched.sink.take_chunks(chunk(EVENTS[1][:20]))
    assert not watched.sink.take_alike(chunk(EVENTS[0]))


def test_nothing_but_plain_events_is_written_unseen() -> None:
    watched = Watched()
    watched.sink.take_chunks(chunk(EVENTS[0]))
    with pytest.raises(RankFailedError, match="aborted"):
        watched.sink.take_chunks(chunk(EVENTS[0]) + chunk(ABORTED_EVENT))
    assert watched.written == [chunk(EVENTS[0])] * 2


@given(st.lists(st.integers(1, 600), max_size=8), st.booleans())
def test_however_a_stream_is_cut_the_client_and_the_taps_get_all_of_it(cuts: list[int], whole_chunks: bool) -> None:
    watched = Watched(tapped=True)
    body = b"".join((COMMENT, EVENTS[0], EVENTS[0], *WITH_USAGE, SAYS_DONE, SAYS_DONE, DONE))
    places = sorted({0, len(body), *(cut for cut in cuts if cut < len(body))})
    for start, end in itertools.pairwise(places):
        part = body[start:end]
        if whole_chunks:
            watched.come(chunk(part))
        else:
            watched.sink.take(part)
    assert b"".join(watched.tap.seen) == body
    assert payload_of(b"".join(watched.written)) == body
    assert watched.turns[0] == "first token"
