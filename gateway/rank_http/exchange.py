"""One request on a connection, and its answer as it comes.

A chunk of a poured answer that is like those before goes from the connection straight to the sink, its `lane`; any
other through `received` and the body's `feed`. No task wakes and no timer is set. One timer looks now and then how long
nothing has come.
"""

from __future__ import annotations

import asyncio
from time import monotonic
from typing import TYPE_CHECKING

from gateway.errors import GatewayError, RankFailedError, RankTimeoutError
from gateway.rank_http.body import Body, body_of
from gateway.rank_http.chunks import Chunked
from gateway.rank_http.deadlines import Deadlines
from gateway.rank_http.head import Head, HeadReader
from gateway.rank_http.sink import Sink
from gateway.rank_http.unread import MAX_BYTES, Unread
from gateway.reply import ClientGoneError

if TYPE_CHECKING:
    from gateway.rank_http.connection import Connection

EXPECTED = (GatewayError, ClientGoneError)
"""What sinks and bodies raise in the ordinary course; anything else is a fault for the loop to report."""

LOOKS = 4
"""How often within a rank's patience it is noticed that the lane has taken something: it gets a quarter more."""

BROKEN_OFF = "The rank broke off before its answer was complete"


class Exchange:
    """See the module. `asked_since_s` is when the last of the request came that is here; `waits_for_client`: of what is
    yet to come, so the rank need not answer.
    """

    waits_for_client = False

    def __init__(self, connection: Connection, method: str, deadlines: Deadlines, began_s: float) -> None:
        self._connection = connection
        self._method = method
        self._deadlines = deadlines
        self.asked_since_s = began_s
        self._loop = asyncio.get_running_loop()
        self._reader = HeadReader()
        self._head: Head | None = None
        self._body: Body | None = None
        self._unread = Unread()
        self._sink: Sink = self._unread
        self._is_held_up = self._is_paused = self._has_begun = self._is_complete = False
        self._error: Exception | None = None
        self._waiter: asyncio.Future[None] | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._awaited_since_s: float | None = None
        self._look()

    @property
    def awaited_since_s(self) -> float | None:
        """Since when the rank's next bytes are waited for, None while nobody does; now, if the lane has taken some."""
        if self._connection.lane_has_taken:
            self._connection.lane_has_taken = False
            self._came()
        return self._awaited_since_s

    @property
    def leaves_connection(self) -> bool:
        """Whether the answer is complete and its rank keeps the connection."""
        return self._is_complete and self._head is not None and self._head.keeps_alive

    async def head(self) -> Head:
        """The answer's head. Raises RankFailedError, RankTimeoutError, and what the request's body failed of."""
        while self._head is None:
            await self._wait()
        return self._head

    async def read(self) -> bytes:
        """The next bytes of the body, b"" at its end. Raises as `head`."""
        while not (self._unread.size or self._is_complete):
            self._awaited_since_s = monotonic()
            try:
                await self._wait()
            finally:
                self._awaited_since_s = None
        data = self._unread.empty()
        self._take_up()
        return data

    async def pour(self, sink: Sink) -> None:
        """Give all that is to come to a sink; returns at the end. Raises as `head`, and what the sink raises."""
        if self._unread.size:
            sink.take(self._unread.empty())
        self._sink = sink
        self._open_lane()
        if not self._is_paused:
            self._awaited_since_s = monotonic()
        self._take_up()
        try:
            while not self._is_complete:
                await self._wait()
        finally:
            self._awaited_since_s = None
            self._sink = self._unread
            self._open_lane()

    def pause(self) -> None:
        """Take no more from the connection, as long as the answer goes on."""
        if self._timer is not None:
            self._is_paused = True
            self._awaited_since_s = None
            self._connection.pause_reading()

    def resume(self) -> None:
        """Go on."""
        # Once the answer is over, the connection may be another's.
        if self._timer is not None and self._is_paused:
            self._is_paused = False
            if self._sink is not self._unread:
                self._awaited_since_s = monotonic()
            if not self._is_held_up:
                self._connection.resume_reading()

    def received(self, data: bytes) -> None:
        """Bytes have come."""
        self._came()
        try:
            if self._body is None:
                self._feed_head(data)
            else:
                if not self._has_begun:
                    self._begin()
                if self._body.feed(data, self._sink):
                    self._complete()
        except EXPECTED as error:
            self.fail(error)
        if self._sink is self._unread:
            self._show()
        else:
            self._open_lane()

    def ended(self) -> None:
        """The rank has closed its side."""
        if self._body is not None and self._error is None and self._body.close():
            self._complete()

    def lost(self, error: Exception | None) -> None:
        """The connection is gone. An error that is none of the network's is a fault in the sink, as the loop saw it."""
        self.fail(RankFailedError(BROKEN_OFF) if error is None or isinstance(error, OSError) else error)

    def fail(self, error: Exception) -> None:
        """End the exchange with an error, for whoever waits; the first one counts, and none after the end."""
        if self._is_complete or self._error is not None:
            return
        self._error = error
        self._connection.abort()
        self.close()
        self._wake()

    def close(self) -> None:
        """The exchange is over, or nobody wants it any longer: what comes now is none of its bytes."""
        self._connection.exchange = None
        self._connection.lane = None
        self._connection.lane_has_taken = False
        self._stop_timer()

    def _came(self) -> None:
        """There was a sign of life: the wait begins anew."""
        if self._awaited_since_s is not None:
            self._awaited_since_s = monotonic()

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _feed_head(self, data: bytes) -> None:
        head = self._reader.feed(data)
        if head is None:
            return
        self._body = body_of(self._method, head.status, head.headers, is_http_1_0=head.is_http_1_0)
        self._head = head
        rest = self._reader.rest
        if rest:
            self._begin()
        if self._body.feed(rest, self._sink):
            self._complete()
        self._wake()

    def _begin(self) -> None:
        """The body's first byte is here: from now on it is pauses that are timed."""
        self._has_begun = True
        self._look()

    def _open_lane(self) -> None:
        """Let whole chunks pass, unless something else is due, or the answer is over."""
        is_open = isinstance(self._body, Chunked) and self._body.is_between and self._connection.exchange is self
        self._connection.lane = self._sink if is_open else None

    def _show(self) -> None:
        """Something may have come for a reader."""
        if self._unread.size:
            self._wake()
            if self._unread.size > MAX_BYTES:
                self._is_held_up = True
                self._connection.pause_reading()

    def _take_up(self) -> None:
        """What was unread is read."""
        if self._is_held_up:
            self._is_held_up = False
            if not self._is_paused:
                self._connection.resume_reading()

    def _complete(self) -> None:
        self._is_complete = True
        self.close()
        self._wake()

    def _look(self) -> None:
        """Whether the rank has been silent for too long; if not, look again when it may have been."""
        self._stop_timer()
        since_s = self.awaited_since_s if self._has_begun else self.asked_since_s
        if self.waits_for_client and self._head is None:
            since_s = None  # it need not say anything yet
        patience_s = self._deadlines.idle_s if self._has_begun else self._deadlines.first_byte_s
        left_s = patience_s if since_s is None else since_s + patience_s - monotonic()
        if left_s > 0:
            self._timer = self._loop.call_later(min(left_s, patience_s / LOOKS), self._look)
        elif self._head is None:
            self.fail(RankTimeoutError(f"The rank did not answer within {patience_s:g} s"))
        else:
            self.fail(RankTimeoutError(f"The rank sent nothing for {patience_s:g} s"))

    async def _wait(self) -> None:
        """Until something has come of what is waited for. Raises the error that the exchange has ended with."""
        if self._error is not None:
            raise self._error
        self._waiter = self._loop.create_future()
        try:
            await self._waiter
        finally:
            self._waiter = None

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
