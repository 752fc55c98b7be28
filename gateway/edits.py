"""What a client is not shown of a decode rank's answer, or is shown otherwise. Pure.

- What steers ranks' connections becomes null (`transfer_params.py`).
- To a decode rank the whole prompt was cached; how much really was, the prefill rank knows.
- An answer that ends with vllm-ascend's `recomputed` is none: the rank ran out of KV cache and gave the request up
  (its recompute scheduler: finish_reason "stop", stop_reason "recomputed").
- Nor is one that ends with finish_reason "abort": nobody but the rank aborted it, for a vLLM that is told to stop ends
  what it has so, with a status of 200.

How an answer says all that is its API's dialect.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from gateway import bounds
from gateway.dialects.apis import CHOICES
from gateway.dialects.dialect import Dialect
from gateway.dialects.values import FIELDS_DECODER, NULL, RECOMPUTED, object_of
from gateway.transfer_params import may_hold_params, without_params
from gateway.wire import Fields


class Edits(msgspec.Struct, frozen=True, kw_only=True):
    """What is to be changed: the prefill rank's `cached_tokens`, None where there was none.

    Where both ranks are at work at once `cached_later` says them when they are needed, if they are known by then.

    `own_stop`: `recomputed` is a stop string of the client's own, so to stop there means nothing else. `dialect` is
    that of the answer.
    """

    cached_tokens: int | None = None
    cached_later: Callable[[], int | None] | None = None
    own_stop: bool = False
    dialect: Dialect = CHOICES

    @property
    def cached_by_now(self) -> int | None:
        """The prefill rank's cached tokens; None where nothing is known of them."""
        return self.cached_tokens if self.cached_later is None else self.cached_later()

    def worth_a_look(self, events: bytes) -> bool:
        """Whether there may be something to edit; nearly all events have nothing and are not decoded."""
        return self.dialect.tells_edit(events) or may_hold_params(events)


def as_it_came(dialect: Dialect) -> Edits:
    """Nothing but what no client may be shown."""
    return Edits(own_stop=True, dialect=dialect)


STOP_DECODER = msgspec.json.Decoder(str | list[str] | None)
STOPS = ("stop", "stop_sequences")
"""What APIs call the client's stop strings; /inference/v1/generate has them in its `sampling_params`."""


def stops_at_recomputed(fields: Fields) -> bool:
    """Whether a request has `recomputed` among its stop strings."""
    try:
        places = (fields, object_of(fields.get("sampling_params")))
        stops = [STOP_DECODER.decode(place.get(name, NULL)) for place in places for name in STOPS]
    except msgspec.DecodeError:
        return False  # the rank refuses it
    return any(stop == RECOMPUTED or (isinstance(stop, list) and RECOMPUTED in stop) for stop in stops)


def edited(document: bytes, edits: Edits, *, streamed: bool) -> bytes:
    """One JSON document of an answer as the client gets it: a whole body, or a `streamed` event's data.

    What is no JSON object stays as it is, unless it may hold transfer params. Raises RecomputedError, RankFailedError.
    """
    dialect = edits.dialect
    holds_params = may_hold_params(document)
    if not (holds_params or (dialect.tells_edit(document) if streamed else dialect.tells_whole(document))):
        return document
    bounds.check_answer(document, dialect.event_limits if streamed else bounds.ANSWER)
    if holds_params:
        document = without_params(document)
    try:
        fields = FIELDS_DECODER.decode(document)
        cached_tokens = edits.cached_by_now
        changes = {} if cached_tokens is None else dialect.changes(fields, cached_tokens)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        return document
    dialect.judge(fields, own_stop=edits.own_stop, streamed=streamed)
    return msgspec.json.encode(fields | changes) if changes else document
