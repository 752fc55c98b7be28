"""What is tried next, from how the attempts so far have ended. Pure.

A prefill rank that fails is replaced by another, then done without. Whatever fails after a prefill takes a whole new
pair: KV that was offered once is never fetched twice. A decode rank may have failed of the KV it was given, so its
prefill rank is avoided with it. The last try needs no prefill rank. What one rank serves whole is had of another; where
there is no other it is had of the same one, which may have been restarted, but not if that was silent for too long: it
would be so again, for as long as its client waits. One that takes no connection is asked for a while, as the request
would wait for a rank if there were none: it dies and starts sooner than its agent can tell.
"""

from __future__ import annotations

from typing import assert_never

import msgspec

from gateway.errors import GatewayError, RankUnreachableError
from gateway.outcome import Failed, Outcome, Served, Trouble
from gateway.retriable import Again
from gateway.usage import Usage
from scheduler.decision import Place

MAX_PLACEMENTS = 3
"""More would add a queue's length each to a wait that is already long."""

ASKED_AGAIN_S = 0.25
"""From one connection that the last rank refused to the next one. They cost it nothing, so they are no placements."""

MAX_FAILED_PREFILLS = 2
"""After so many the decode rank prefills by itself."""


class Tries(msgspec.Struct, frozen=True, kw_only=True):
    """The attempts at one request, the present one included.

    `again` says when the request may be tried anew at all; `avoid` are the ranks that failed, or may be why another one
    did; `pairable` says whether a prefill rank may still be used, `needs_pair` whether it must be. The `silent` ones
    among them let it come to a `time_out`.
    """

    pairable: bool
    needs_pair: bool = False
    again: Again = Again.WHATEVER
    placements: int = 1
    failed_prefills: int = 0
    avoid: frozenset[str] = frozenset()
    silent: frozenset[str] = frozenset()
    time_out: GatewayError | None = None

    @property
    def is_last(self) -> bool:
        """Whether nothing will be tried after this one."""
        return self.placements >= MAX_PLACEMENTS

    @property
    def holds_back(self) -> bool:
        """Whether nothing goes to the client before the answer is known to be no failure: another try may follow."""
        return self.again is Again.WHATEVER and not self.is_last

    def end_before(self, place: Place) -> GatewayError | None:
        """The error to end with instead of trying what was placed on a silent rank, for it was the only one left."""
        return self.time_out if any(leg.card.rank in self.silent for leg in place.legs) else None


class Finish(msgspec.Struct, frozen=True):
    """The request is served."""

    usage: Usage | None


class PlaceAgain(msgspec.Struct, frozen=True):
    """Another placement, `after` this failure; of the same rank, by one more asking of it, if it `asks_again`."""

    tries: Tries
    after: Failed
    asks_again: bool = False

    @property
    def was_refused(self) -> bool:
        """Whether the rank took no connection."""
        return isinstance(self.after.error, RankUnreachableError)


class GiveUp(msgspec.Struct, frozen=True):
    """The client is told of the error."""

    error: GatewayError


Step = Finish | PlaceAgain | GiveUp


def next_step(tries: Tries, outcome: Outcome, *, may_ask_again: bool = False) -> Step:
    """The step after an attempt that ended so.

    The rank `may_ask_again` be asked that takes no connection and has failed before: there is no other.
    """
    match outcome:
        case Served():
            return Finish(outcome.usage)
        case Failed():
            if may_ask_again and outcome.rank in tries.avoid and isinstance(outcome.error, RankUnreachableError):
                return PlaceAgain(_unpaired(tries), outcome, asks_again=True)
            return GiveUp(outcome.error) if tries.is_last else PlaceAgain(_after(tries, outcome), outcome)
        case _:
            assert_never(outcome)


def _after(tries: Tries, failed: Failed) -> Tries:
    placements = tries.placements + failed.placements
    more = msgspec.structs.replace(
        tries,
        placements=placements,
        avoid=tries.avoid | failed.suspects,
        silent=tries.silent | failed.silent,
        time_out=failed.error if failed.silent else tries.time_out,
    )
    if more.is_last:
        more = _unpaired(more)
    match failed.trouble:
        case Trouble.PREFILL_FAILED:
            count = tries.failed_prefills + 1
            more = msgspec.structs.replace(more, failed_prefills=count)
            return more if count < MAX_FAILED_PREFILLS else _unpaired(more)
        case Trouble.NO_TRANSFER:
            return _unpaired(more)
        case Trouble.DECODE_GONE | Trouble.DECODE_FAILED | Trouble.RECOMPUTED:
            return more
        case Trouble.UNREACHABLE | Trouble.RANK_FAILED | Trouble.SILENT:
            return more
        case _:
            assert_never(failed.trouble)


def _unpaired(tries: Tries) -> Tries:
    """Without a prefill rank, if the decode rank can do without."""
    return msgspec.structs.replace(tries, pairable=tries.pairable and tries.needs_pair)
