"""Edits a stream of server-sent events as its bytes come. Pure."""

from __future__ import annotations

from gateway import sse
from gateway.edits import Edits, edited
from gateway.errors import RankFailedError, RecomputedError
from gateway.transfer_params import may_hold_params


class EventEditor:
    """Takes the parts of one stream and gives whole events. `error` is set when the stream may not go on."""

    def __init__(self, edits: Edits) -> None:
        self._edits = edits
        self._held = bytearray()
        self.error: RecomputedError | RankFailedError | None = None

    @property
    def holds(self) -> bool:
        """Whether an event's beginning is held back until its end comes."""
        return bool(self._held)

    def feed(self, part: bytes) -> bytes:
        """What may be passed on now that `part` has come: whole events, edited."""
        if not self._held and part.endswith(b"\n\n") and not self._edits.worth_a_look(part):
            return part
        looked_at = max(0, len(self._held) - 3)
        self._held += part
        end = 0
        for found in sse.EVENT_END.finditer(self._held, looked_at):
            end = found.end()
        whole = bytes(self._held[:end])
        del self._held[:end]
        most = self._edits.dialect.max_event_bytes
        if len(self._held) > most:
            self.error = RankFailedError(f"The rank sent an event of more than {most} bytes")
        return self._edit(whole)

    def finish(self) -> bytes:
        """What is left when the stream is over."""
        rest = bytes(self._held)
        self._held.clear()
        return self._edit(rest)

    def _edit(self, events: bytes) -> bytes:
        if not self._edits.worth_a_look(events):
            return events
        passed: list[bytes] = []
        try:
            for event in sse.events_of(events):
                passed.append(self._edit_event(event))  # noqa: PERF401  those before the error are passed on
        except (RecomputedError, RankFailedError) as error:
            self.error = error
        return b"".join(passed)

    def _edit_event(self, event: bytes) -> bytes:
        if may_hold_params(sse.other_lines(event)):
            raise RankFailedError("The rank sent transfer params beside an event's data")
        data = sse.data_of(event)
        shown = None if data is None else edited(data, self._edits, streamed=True)
        return event if shown is None or shown == data else sse.with_data(event, shown)
