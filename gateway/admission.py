"""Lets a request in, or not, by its key's models and limits: once, after it was read and before it is placed.

Of a key without limits nothing is asked. What counts is whatever a rank is asked to do for a client; tokens are those
that placement expects, of recordings and WebSockets an estimate of the same kind, and of the tokenize family none. When
the request is over, what its rank has counted takes their place. A failure of ours costs nobody tokens; an answer that
tells no usage, or that its client has left, costs what was expected, or what was seen to pass if that is more: else to
leave early would be a way around the limit.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import anyio

from gateway.access import RequestRecord
from gateway.errors import BeyondKeyLimitError, ForbiddenModelError, KeyLimitError, quoted
from gateway.gateway import Gateway
from gateway.limit_headers import headers_of, retry_after_ms
from gateway.placing import Pool
from gateway.reply import ClientGoneError
from gateway.request import Arrival
from gateway.routes import Kind, Route
from scheduler.api_keys import ApiKey
from scheduler.decision import RequestShape
from scheduler.limit_rule import Answer, Verdict

UNLIMITED: AbstractContextManager[None] = nullcontext()

SAID = {
    Verdict.REQUESTS: ("request", "per minute"),
    Verdict.TOKENS: ("token", "per minute"),
    Verdict.AT_ONCE: ("request", "at once"),
}


async def admit(
    gateway: Gateway, pool: Pool, arrival: Arrival, route: Route, shape: RequestShape
) -> AbstractContextManager[None]:
    """Let a request in; it is over when the context that is returned is left.

    Raises ForbiddenModelError, KeyLimitError, BeyondKeyLimitError.
    """
    key = arrival.record.key
    if key is None:
        return UNLIMITED
    require_model(key, pool)
    if not key.limits.are_any:
        return UNLIMITED
    tokens = 0 if route.kind is Kind.COUNTING else shape.prompt_tokens + shape.output_tokens
    if 0 < key.tokens_per_minute < tokens:
        gateway.metrics.limited.labels(key.name, "beyond").inc()
        raise BeyondKeyLimitError(
            f"The request is too large for the key: limit {_said(Verdict.TOKENS, key.tokens_per_minute)}, "
            f"requested {tokens}"
        )
    pool.foresee(shape)
    answer = await gateway.limits.ask(key.name, key.limits, tokens)
    arrival.reply.extra = [*arrival.reply.extra, *headers_of(key.limits, answer)]
    if answer.verdict is not Verdict.ADMITTED:
        gateway.metrics.limited.labels(key.name, answer.verdict.name.lower()).inc()
        raise _refusal(key, answer, tokens)
    arrival.record.seen_tokens = min(tokens, shape.prompt_tokens)
    return _running(gateway, key.name, arrival.record, tokens)


def require_model(key: ApiKey | None, pool: Pool) -> None:
    """Raise ForbiddenModelError unless the key may use the model."""
    if key is not None and key.models and pool.name not in key.models:
        raise ForbiddenModelError(f"The key may not use the model `{quoted(pool.name)}`", param="model")


def _refusal(key: ApiKey, answer: Answer, tokens: int) -> KeyLimitError:
    limit = {
        Verdict.REQUESTS: key.requests_per_minute,
        Verdict.TOKENS: key.tokens_per_minute,
        Verdict.AT_ONCE: key.requests_at_once,
    }[answer.verdict]
    asked = f", requested {tokens}" if answer.verdict is Verdict.TOKENS else ""
    text = f"The key's limit is reached: {_said(answer.verdict, limit)}{asked}"
    return KeyLimitError(text, retry_after_ms=retry_after_ms(answer, tokens))


def _said(verdict: Verdict, limit: int) -> str:
    what, when = SAID[verdict]
    return f"{limit} {what} {when}" if limit == 1 else f"{limit} {what}s {when}"


@contextmanager
def _running(gateway: Gateway, name: str, record: RequestRecord, charged_tokens: int) -> Iterator[None]:
    used = 0
    try:
        yield
        used = max(charged_tokens, record.seen_tokens) if record.status < 400 else 0
    except (ClientGoneError, anyio.get_cancelled_exc_class()):
        used = max(charged_tokens, record.seen_tokens) if record.attempt_id and not gateway.is_cutting else 0
        raise
    finally:
        if record.usage is not None:
            used = record.usage.prompt_tokens + record.usage.completion_tokens
        gateway.limits.ended(name, charged_tokens, used)
