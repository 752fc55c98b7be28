"""What one gateway knows of one API key's use, and what it lets in while it cannot ask the store. Pure."""

from __future__ import annotations

from scheduler.limit_rule import EMPTY, SPAN, Levels, Limits, Verdict, drained, judge, noted, taken


class Account:
    """The key's requests that this gateway runs, what the store is yet to be told, and the gateway's own bucket.

    The own bucket is of the gateway's share of the limits. All that it lets in fills it, so when the store is gone
    it begins as full as the gateway has made it. With the store it never says no, nor holds more than a minute.
    Times are in ms and may be any that do not go back.
    """

    def __init__(self, now_ms: int) -> None:
        self.limits = Limits()
        self.running = 0
        self._told_ms = now_ms
        self._has_ended = False
        self._own = EMPTY
        self._unsaid = EMPTY
        self._at_ms = now_ms

    @property
    def is_idle(self) -> bool:
        """Whether there is nothing to remember."""
        is_told = not (self._has_ended and self.limits.requests_at_once)
        return is_told and not self.running and EMPTY == self._own == self._unsaid

    def passes(self, now_ms: int, gateways: int, *, alone: bool) -> None:
        """Time passes; what was used without the store drains by the gateway's share, what is to be given does not."""
        share = self.limits.share(gateways)
        self._own = drained(self._own, share, now_ms - self._at_ms)
        if alone:
            left, unsaid = drained(self._unsaid, share, now_ms - self._at_ms), self._unsaid
            self._unsaid = Levels(min(unsaid.requests, left.requests), min(unsaid.tokens, left.tokens))
        self._at_ms = now_ms

    def admitted(self, gateways: int, tokens: int) -> None:
        """The store has let a request in."""
        share = self.limits.share(gateways)
        full = taken(self._own, share, tokens)
        self._own = Levels(
            min(full.requests, share.requests_per_minute * SPAN), min(full.tokens, share.tokens_per_minute * SPAN)
        )
        self.running += 1

    def ask_alone(self, gateways: int, tokens: int) -> tuple[Verdict, Levels]:
        """Whether a request is let in by the gateway's share, and the levels in the own bucket after it."""
        share = self.limits.share(gateways)
        verdict = judge(self._own, share, self.running, tokens)
        if verdict is Verdict.ADMITTED:
            self._own = taken(self._own, share, tokens)
            self.note(1, tokens)
            self.running += 1
        return verdict, self._own

    def ended(self, charged_tokens: int, used_tokens: int) -> None:
        """A request that was let in for so many tokens has used so many."""
        self.running -= 1
        self._has_ended = True
        more = used_tokens - charged_tokens
        self._own = noted(self._own, self.limits, _levels(self.limits, 0, more))
        self.note(0, more)

    def unwanted(self, tokens: int) -> None:
        """The store has let a request of so many tokens in that does not run: nobody waits for it any more."""
        self._has_ended = True
        self.note(-1, -tokens)

    def leave(self) -> bool:
        """The gateway ends, and nothing runs on it any more; answers whether the store is to hear of it."""
        is_news = self.running > 0 or not self.is_idle
        self.running = 0
        return is_news

    def note(self, requests: int, tokens: int) -> None:
        """The store is to hear of so many requests and tokens more, or fewer, than it was asked for."""
        more = _levels(self.limits, requests, tokens)
        self._unsaid = Levels(self._unsaid.requests + more.requests, self._unsaid.tokens + more.tokens)

    def is_due(self, due_ms: int) -> bool:
        """Whether the store is to hear something: what was used, that fewer run, or, told before then, that some do."""
        has_to_renew = self.running > 0 and self._told_ms <= due_ms
        return self._unsaid != EMPTY or (self.limits.requests_at_once > 0 and (self._has_ended or has_to_renew))

    def take(self, now_ms: int) -> Levels:
        """What the store is told now."""
        self._told_ms, self._has_ended = now_ms, False
        unsaid, self._unsaid = self._unsaid, EMPTY
        return unsaid

    def untold(self, unsaid: Levels) -> None:
        """Nobody knows whether the store has heard it. What would let more in is not said twice."""
        self._has_ended = True
        self._unsaid = Levels(
            self._unsaid.requests + max(0, unsaid.requests), self._unsaid.tokens + max(0, unsaid.tokens)
        )


def _levels(limits: Limits, requests: int, tokens: int) -> Levels:
    return Levels(
        requests * SPAN if limits.requests_per_minute else 0, tokens * SPAN if limits.tokens_per_minute else 0
    )
