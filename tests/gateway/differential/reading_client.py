"""A client that blocks, and reads answers by a library of its own."""

import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import NamedTuple, Self

import h11

TIMEOUT_S = 20.0


class Answer(NamedTuple):
    """What came; a status of 0 is no answer at all."""

    status: int
    content_type: bytes
    body: bytes
    is_complete: bool


NO_ANSWER = Answer(0, b"", b"", is_complete=False)


class ReadingClient:
    """One connection."""

    def __init__(self, port: int) -> None:
        self._socket = socket.create_connection(("127.0.0.1", port), TIMEOUT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._left = b""
        self._has_ended = False

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()

    def send(self, parts: Sequence[bytes]) -> None:
        for part in parts:
            try:
                self._socket.sendall(part)
            except ConnectionError:
                return  # answered and closed already

    def answer(self, method: str) -> Answer:
        """The next answer, to a request of this method."""
        parser = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
        parser.send(h11.Request(method=method, target="/", headers=[("host", "g")]))
        parser.send(h11.EndOfMessage())
        found = NO_ANSWER
        with self._feeding(parser) as events:
            for event in events:
                match event:
                    case h11.Response():
                        headers = dict(event.headers.raw_items())
                        lower = {name.lower(): value for name, value in headers.items()}
                        found = Answer(event.status_code, lower.get(b"content-type", b""), b"", is_complete=False)
                    case h11.Data():
                        found = found._replace(body=found.body + event.data)
                    case h11.EndOfMessage():
                        return found._replace(is_complete=True)
        return found

    @contextmanager
    def _feeding(self, parser: h11.Connection) -> Iterator[Iterator[h11.Event]]:
        if self._left:
            parser.receive_data(self._left)
        if self._has_ended:
            parser.receive_data(b"")
        yield self._events(parser)
        self._left, self._has_ended = parser.trailing_data

    def _events(self, parser: h11.Connection) -> Iterator[h11.Event]:
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError:
                return  # broken off
            if event is h11.NEED_DATA:
                try:
                    parser.receive_data(self._socket.recv(65_536))
                except ConnectionError:
                    return
            elif isinstance(event, h11.Event) and not isinstance(event, h11.ConnectionClosed):
                yield event
            else:
                return
