"""How far a request may have got and still be tried anew, as long as its client has nothing of an answer. Pure.

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

import msgspec

from gateway.routes import Kind
from gateway.wire import Fields, boolean_of

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
