"""Whether a failure lets its request be tried anew: never once its client has something of an answer. Pure.

By what failed (`trouble_of`), and by how far a request of its kind may have got (`again_of`):

| request | is tried anew |
|---|---|
| completions, chat, responses, messages, generate, and what else generates (`GENERATING`) | whatever failed |
| embeddings, scores (`COMPUTING`); tokenizing, rendering (`COUNTING`) | whatever failed |
| a response made in the `background` | if its rank took no connection: the rank goes on with it alone |
| one that goes on from a response (`only_on`) | the same, and on the rank that keeps it |
| a form with an audio file (`UPLOADING`) | the same: nothing of the form was taken then, and none of it is kept here |
| a WebSocket (`TUNNELLING`) | whatever failed before the rank changed the protocol |
| about a response that a rank keeps (`STICKY`) | never: no other rank has it |
| what every rank gets (`ADMIN`) | never: it may have been done |

A response that its rank stores and no more (`store`, vLLM's default) is had anew: of the one that is lost nobody knows
the id. "Whatever failed" is a connection refused or broken off, an answer that is none, 500, 502, 503, 504, silence
until a deadline, a rank that is lost or stalls. It is never what a rank refuses (4xx) or cannot do (501).
"""

from __future__ import annotations

from enum import StrEnum
from typing import assert_never

import msgspec

from gateway.errors import GatewayError, RankTimeoutError, RankUnreachableError, RecomputedError
from gateway.outcome import RANK_ERRORS, Trouble
from gateway.routes import Kind
from gateway.wire import Fields, boolean_of
from scheduler.decision import LegKind

RETRIED_STATUSES = frozenset({500, 502, 503, 504})
"""A rank's answers that another rank may not give."""


class Again(StrEnum):
    """When a request may be tried anew."""

    WHATEVER = "whatever has become of it"
    UNREACHED = "if the rank never got it"


def again_of(kind: Kind, fields: Fields, *, only_on: str) -> Again:
    """When a request with these fields may be tried anew; `only_on` is the rank that alone can serve it, if any."""
    changes_its_rank = only_on or _is_in_background(fields)
    return Again.UNREACHED if changes_its_rank or kind is Kind.UPLOADING else Again.WHATEVER


def _is_in_background(fields: Fields) -> bool:
    """Whether the rank works on when nobody listens; what cannot be read it refuses."""
    if "background" not in fields:
        return False
    try:
        return bool(boolean_of(fields["background"]))
    except msgspec.DecodeError:
        return False


def trouble_of(kind: LegKind, error: GatewayError, again: Again, *, answer_begun: bool) -> Trouble | None:
    """Why an error of a leg lets the request be tried anew; None where the client is to hear of it."""
    if answer_begun or not isinstance(error, RANK_ERRORS):
        return None
    if again is Again.UNREACHED and not isinstance(error, RankUnreachableError):
        return None
    if isinstance(error, RecomputedError):
        return Trouble.RECOMPUTED
    match kind:
        case LegKind.PREFILL:
            return Trouble.PREFILL_FAILED
        case LegKind.DECODE:
            return Trouble.DECODE_FAILED
        case LegKind.WHOLE:
            return _trouble_of_whole(error)
        case _:
            assert_never(kind)


def _trouble_of_whole(error: GatewayError) -> Trouble:
    match error:
        case RankUnreachableError():
            return Trouble.UNREACHABLE
        case RankTimeoutError():
            return Trouble.SILENT
        case _:
            return Trouble.RANK_FAILED
