"""What a prefill rank answers whose decode rank is at work already: whether its KV is on its way. Pure.

Nothing of it goes to the client but how much of the prompt was cached.
"""

from __future__ import annotations

import msgspec

from gateway import prefill_answer, sse
from gateway.errors import RankFailedError
from gateway.prefill_answer import PrefillAnswer
from gateway.wire import Api

ENDED = frozenset({"length", "stop"})
"""Ends of one token. At its limit of one a stop string may be found in it: the engine knows nothing of that."""


class _Choice(msgspec.Struct):
    finish_reason: str | None = None


class _End(msgspec.Struct):
    choices: list[_Choice] = []
    stop_reason: str | None = None
    status: str | None = None


END_DECODER = msgspec.json.Decoder(_End)


def read(body: bytes, api: Api, *, sent_ids: int, needs_length: bool) -> PrefillAnswer:
    """Read a whole answer.

    Raises RankFailedError if its KV is not sent: the rank gave it up or, where the connector `needs_length`, it ended
    before its limit, of which only Responses and Messages can not be told.
    """
    answer = prefill_answer.read(body, sent_ids=sent_ids)
    try:
        end = END_DECODER.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise RankFailedError(f"The prefill rank's answer cannot be read: {error}") from error
    match api:
        case Api.MESSAGES:
            is_sent = end.stop_reason == "max_tokens" or (end.stop_reason is not None and not needs_length)
        case Api.RESPONSES:
            is_sent = end.status == "incomplete" or (end.status == "completed" and not needs_length)
        case _:
            is_sent = bool(end.choices) and all(choice.finish_reason in ENDED for choice in end.choices)
    if not is_sent:
        raise RankFailedError("The prefill rank gave its prompt up, or ended before the limit at which it sends KV")
    return answer


def cached_tokens_of_events(events: bytes) -> int | None:
    """How much of the prompt a stream says was cached; None where it does not say.

    Raises RankFailedError if it has an error.
    """
    cached: int | None = None
    for event in sse.events_of(events):
        data = sse.data_of(event)
        if data is not None and data.startswith(b"{"):
            found = prefill_answer.read(data).cached_tokens
            cached = cached if found is None else found
    return cached
