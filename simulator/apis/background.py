"""A response that is made without anybody waiting for it, and those who follow its stream all the same."""

from __future__ import annotations

from simulator.exchange import Exchange, Request


class Background:
    """Stands in for the connection of a client that never leaves, and keeps the events of a stream.

    `exchange` is what the answer is written to.
    """

    paused = False

    def __init__(self, request: Request) -> None:
        alone = Request(request.method, b"/v1/responses", {}, b"")
        alone.http_11 = False
        self.exchange = Exchange(self, alone)
        self._events: list[bytes] = []
        self._has_head = False
        self._over = False
        self._followers: list[Exchange] = []

    @property
    def has_stream(self) -> bool:
        """Whether there are events to follow."""
        return bool(self._events)

    def follow(self, exchange: Exchange, first: int) -> None:
        """Send the events from that number on, as they come."""
        exchange.start_stream()
        for event in self._events[first:]:
            exchange.send(exchange.frame(event))
        if self._over:
            exchange.end_stream(b"")
        else:
            self._followers.append(exchange)

    def end(self) -> None:
        """Stop making it."""
        self.exchange.drop()

    def write(self, data: bytes) -> None:
        """Keep events; the head of the answer is nobody's."""
        if not self._has_head:
            self._has_head = True
            return
        events = [event + b"\n\n" for event in data.split(b"\n\n")[:-1]]
        self._events += events
        for follower in self._followers:
            follower.send(b"".join(map(follower.frame, events)))

    def abort(self) -> None:
        """The response was cancelled: its followers hear no more."""
        self._over = True
        for follower in self._followers:
            follower.drop()

    def next_exchange(self, *, keep_alive: bool) -> None:
        """The response is complete."""
        del keep_alive
        self._over = True
        for follower in self._followers:
            follower.end_stream(b"")

    def date(self) -> str:
        """A date nobody reads."""
        return ""
