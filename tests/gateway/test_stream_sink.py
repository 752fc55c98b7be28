"""What of a stream goes to the client as it came, and what is looked into first, wherever the rank cuts its chunks."""

from itertools import pairwise

import pytest

from gateway.dialects.apis import CHOICES
from gateway.edits import as_it_came
from gateway.errors import RankFailedError
from gateway.event_stream import EventStream, Turns
from gateway.rank_http.chunks import payload_of
from gateway.stream_sink import StreamSink
from gateway.usage import Usage
from gateway.usage_reader import UsageReader
from tests.gateway.scripted_rank import ABORTED_EVENT, EVENTS, USAGE_EVENT, chunk

PARAMS = b'data: {"choices":[{"text":"h"}],"kv_transfer_params":{"remote_host":"10.0.0.1"}}\n\n'


class Poured:
    """A stream that has begun, what was written of it, and how often it has said that it is over."""

    def __init__(self) -> None:
        self.written = b""
        self.said_done = 0
        self.usage = UsageReader()
        self.sink = StreamSink(
            EventStream(as_it_came(CHOICES), Turns(lambda: None, self._done), self.usage), self._write
        )
        self.sink.take_chunks(chunk(EVENTS[0]))
        self.written = b""

    def _write(self, chunks: bytes) -> None:
        self.written += chunks

    def _done(self) -> None:
        self.said_done += 1


def cut(event: bytes, *at: int) -> bytes:
    """An event in several chunks that come at once."""
    return b"".join(chunk(event[begin:end]) for begin, end in pairwise((0, *at, len(event))))


def everywhere(event: bytes) -> range:
    return range(1, len(event))


def test_whole_events_pass_with_the_framing_they_came_in() -> None:
    poured = Poured()
    wire = b"".join(map(chunk, EVENTS[:2])) + cut(EVENTS[0], 9)
    poured.sink.take_chunks(wire)
    assert poured.written == wire


def test_transfer_params_do_not_pass_wherever_their_event_is_cut() -> None:
    for at in everywhere(PARAMS):
        poured = Poured()
        poured.sink.take_chunks(cut(PARAMS, at))
        assert b"10.0.0.1" not in payload_of(poured.written), at
        assert b'"kv_transfer_params":null' in payload_of(poured.written)


def test_a_stream_that_its_rank_aborts_fails_wherever_its_event_is_cut() -> None:
    for at in everywhere(ABORTED_EVENT):
        with pytest.raises(RankFailedError):
            Poured().sink.take_chunks(cut(ABORTED_EVENT, at))


def test_a_stream_is_over_wherever_its_last_event_is_cut() -> None:
    for at in everywhere(EVENTS[-1]):
        poured = Poured()
        poured.sink.take_chunks(cut(EVENTS[-1], at))
        assert (payload_of(poured.written), poured.said_done) == (EVENTS[-1], 1), at


def test_a_streams_usage_is_found_wherever_its_event_is_cut() -> None:
    for at in everywhere(USAGE_EVENT):
        poured = Poured()
        poured.sink.take_chunks(cut(USAGE_EVENT, at))
        assert poured.usage.usage == Usage(prompt_tokens=12, completion_tokens=2), at
