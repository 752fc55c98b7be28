"""What of a stream's events is passed on, and what is learned of the stream on the way. Pure.

Most parts of a stream are whole events with nothing to look into; to know that is all they cost.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple, Protocol

from gateway.dialects.dialect import Opening
from gateway.edits import Edits
from gateway.errors import RankFailedError
from gateway.event_editor import EventEditor
from gateway.opening import opening_of
from gateway.transfer_params import may_hold_params
from gateway.usage_reader import UsageReader
from gateway.withheld_usage import WithheldUsage

NOT_BEGUN = "The rank ended its stream before it had begun"


class Tap(Protocol):
    """Reads a stream beside the relay; it can neither change nor hold it."""

    def see(self, events: bytes, *, in_chunks: bool) -> None:
        """Whole events, as the client gets them, and as soon; `in_chunks` with the framing of theirs between them
        (`rank_http.chunks.payload_of` takes it away).
        """


class Turns(NamedTuple):
    """What is called when a stream has its first token, when it says that it is over, and with what it says before its
    first token.
    """

    on_first_token: Callable[[], None]
    on_done: Callable[[], None]
    on_beginning: Callable[[bytes], None] | None = None


class EventStream:
    """One stream from a rank: give it the parts as they come, and pass on what it gives back. Its `taps` see it."""

    def __init__(
        self,
        edits: Edits,
        turns: Turns,
        usage: UsageReader,
        taps: Sequence[Tap] = (),
        *,
        withheld: WithheldUsage | None = None,
        bears_error: bool = True,
    ) -> None:
        """`bears_error`: to begin with an error is the rank's right, and the client's to hear."""
        self._editor = EventEditor(edits)
        self._dialect = edits.dialect
        self._turns = turns
        self._usage = usage
        self._withheld = withheld or WithheldUsage(0, is_over=True)
        self.taps = taps
        self._bears_error = bears_error
        self.has_begun = False
        self.last = b""
        """The events that were passed on last."""

    def passes(self, events: bytes) -> bool:
        """Whether these whole events, perhaps with one chunk's framing around them, may be passed on without `feed`."""
        if not self.has_begun or self._editor.holds or self._dialect.tells(events) or may_hold_params(events):
            return False
        if self._withheld.concerns(events):
            return False
        self.last = events
        return True

    def show(self, events: bytes, *, in_chunks: bool) -> None:
        """Let the taps see what `passes`."""
        for tap in self.taps:
            tap.see(events, in_chunks=in_chunks)

    def feed(self, part: bytes) -> bytes:
        """What to pass on now that `part` has come; then call `raise_error`. Raises RankFailedError."""
        return self._seen(self._editor.feed(part))

    def finish(self) -> bytes:
        """What is left to pass on when the rank has sent everything. Raises RankFailedError, RecomputedError."""
        left = self._seen(self._editor.finish()) + self.release()
        self.raise_error()
        if not self.has_begun:
            raise RankFailedError(NOT_BEGUN)
        return left

    def release(self) -> bytes:
        """What is held back of what has come, to pass it on when nothing more will come."""
        return self._withheld.release()

    def raise_error(self) -> None:
        """Raise the RankFailedError or RecomputedError for which the stream may not go on, if there is one."""
        if self._editor.error is not None:
            raise self._editor.error

    def _seen(self, events: bytes) -> bytes:
        if not events:
            return events
        if not self.has_begun:
            if self._turns.on_beginning is not None:
                self._turns.on_beginning(events)
            self._look_whether_it_begins(events)
        if self._dialect.ends(events):
            self._turns.on_done()
        self._usage.see(events)
        if passed := self._withheld.take(events):
            self.last = passed
            self.show(passed, in_chunks=False)
        return passed

    def _look_whether_it_begins(self, events: bytes) -> None:
        match opening_of(events, self._dialect):
            case Opening.SILENT:
                return
            case Opening.ENDED:
                raise RankFailedError(NOT_BEGUN)
            case Opening.ERROR if not self._bears_error:
                raise RankFailedError("The rank began its stream with an error")
            case Opening.ERROR:
                pass
            case Opening.GOOD:
                self._turns.on_first_token()
        self.has_begun = True
