"""What an answer's head says of a key's limits, as OpenAI's: limit, remaining, reset of requests and tokens. Pure.

`reset` is when all of the limit is there again, as OpenAI writes times: `12ms`, `1.5s`, `6m0s`. While the store is gone
what remains is this gateway's share of it.
"""

from __future__ import annotations

from gateway.headers import Headers
from scheduler.limit_rule import SPAN, Answer, Limits, Verdict, wait_ms

AT_ONCE_MS = 1_000
"""When to come back where too many run at once: nobody knows when one of them ends."""


def headers_of(limits: Limits, answer: Answer) -> Headers:
    """The headers that go with an answer, of those limits that there are."""
    of = (
        (b"requests", limits.requests_per_minute, answer.limits.requests_per_minute, answer.levels.requests),
        (b"tokens", limits.tokens_per_minute, answer.limits.tokens_per_minute, answer.levels.tokens),
    )
    headers: Headers = []
    for what, limit, held, level in of:
        if limit:
            headers += [
                (b"x-ratelimit-limit-" + what, b"%d" % limit),
                (b"x-ratelimit-remaining-" + what, b"%d" % max(0, held - -(-level // SPAN))),
                (b"x-ratelimit-reset-" + what, duration(-(-level // held)).encode()),
            ]
    return headers


def retry_after_ms(answer: Answer, tokens: int) -> int:
    """When a request that was refused would be let in, if no other comes."""
    match answer.verdict:
        case Verdict.REQUESTS:
            return wait_ms(answer.levels.requests, SPAN, answer.limits.requests_per_minute)
        case Verdict.TOKENS:
            return wait_ms(answer.levels.tokens, tokens * SPAN, answer.limits.tokens_per_minute)
        case _:
            return AT_ONCE_MS


def duration(ms: int) -> str:
    """A time as Go writes it."""
    if ms < 1000:
        return f"{ms}ms" if ms else "0s"
    hours, rest = divmod(ms, 3_600_000)
    minutes, rest = divmod(rest, 60_000)
    seconds = f"{rest / 1000:g}s"
    if hours:
        return f"{hours}h{minutes}m{seconds}"
    return f"{minutes}m{seconds}" if minutes else seconds
