"""Learns a rank's prefill rate, in uncached prompt tokens per second, from the sums on its pages. Pure.

vLLM gives, over finished requests, the tokens computed (T), the seconds from schedule to first token (S) and the
number of requests (n). Prompts that share steps overlap, so S counts the same second several times: T/S is the rate
only when prompts ran alone. The time the engine really spent lies between S/n (all overlapped) and S (none did), and
is the time the rank worked on prompts meanwhile (W, prefill_work.py), as far as that was seen. So one window says

    rate = T / min(S, W), and where W was not seen whole T / max(S/n, min(S, W))

S/n alone is no bound: where a step holds the end of one prompt and the beginning of the next, each runs for two steps.

Windows end when they hold enough tokens. Those of short prompts are left out: they measure a step's fixed cost. The
answer is the median of the last windows, weighted by their tokens up to a bound, so that neither a first request that
compiled a kernel (26 s seen on a real vLLM) nor requests that happened to finish together can move it far. The prior is
one more window, and until three windows are known the rate is not believed to be below it: in an idle pool a rank that
seems slower than its like gets no request, and so would never be known better. For the same reason a rank of which no
window was seen for a while is believed to be as fast as it ever was: its last ones may have been a cold start, or a
neighbour's load. A decode rank that pulls its KV computes
next to nothing and keeps the prior.
"""

from __future__ import annotations

import bisect
import itertools

import msgspec

from agent.metrics_page import EngineSample
from agent.prefill_work import PrefillWork

_WINDOW_TOKENS = 1024
_LEAST_MEAN_PROMPT_TOKENS = 256
_WINDOWS_KEPT = 32
_WINDOWS_TO_BE_SLOW = 3
_HEAVIEST_WINDOW_TOKENS = 4 * _WINDOW_TOKENS
_BELIEVED_SLOW_S = 30.0
"""Without a new window. A rank that is slow indeed gets a prompt or two in that time, and is known again."""
_FASTEST_TOKENS_PER_S = 1e12
"""No engine comes near it; a window that shows more has sums that are not to be believed."""


class Window(msgspec.Struct, frozen=True):
    """What finished prefills added up to, and the seconds the rank worked on prompts meanwhile."""

    tokens: float = 0.0
    prefill_s: float = 0.0
    requests: float = 0.0
    busy_s: float = 0.0
    is_whole: bool = True

    @property
    def tokens_per_s(self) -> float:
        """The rate this window shows; it holds at least one request that took time."""
        least_s = 0.0 if self.is_whole else self.prefill_s / self.requests
        return self.tokens / max(least_s, min(self.prefill_s, self.busy_s))


class PrefillRate(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a rank's prefill rate: the prior, past windows as (tokens/s, weight), and the open window.

    `unseen_s` is how long ago the last window was seen, `work` what is under way.
    """

    prior_tokens_per_s: float
    seen: tuple[tuple[float, float], ...] = ()
    window: Window = Window()
    unseen_s: float = 0.0
    work: PrefillWork = PrefillWork()

    @property
    def tokens_per_s(self) -> float:
        """The median of the windows by their tokens, the prior being one of them; above 0, at first not below it, and
        the fastest window when none was seen for long.
        """
        if len(self.seen) >= _WINDOWS_TO_BE_SLOW and self.unseen_s > _BELIEVED_SLOW_S:
            return max(self.seen)[0]
        votes = sorted([*self.seen, (self.prior_tokens_per_s, float(_WINDOW_TOKENS))])
        weights = list(itertools.accumulate(weight for _, weight in votes))
        median = votes[bisect.bisect_left(weights, weights[-1] / 2)][0]
        return median if len(self.seen) >= _WINDOWS_TO_BE_SLOW else max(median, self.prior_tokens_per_s)


def learn(known: PrefillRate, before: EngineSample, after: EngineSample, elapsed_s: float) -> PrefillRate:
    """What is known after two samples of one incarnation, `elapsed_s` apart."""
    tokens, prefill_s = after.prefill_tokens - before.prefill_tokens, after.prefill_s - before.prefill_s
    admitted = known.work.admit(before, after, elapsed_s)
    done, work = admitted.finish(tokens, prefill_s, is_idle=after.running + after.waiting == 0)
    window = Window(
        tokens=known.window.tokens + tokens,
        prefill_s=known.window.prefill_s + prefill_s,
        requests=known.window.requests + after.prefill_requests - before.prefill_requests,
        busy_s=known.window.busy_s + done.seconds,
        is_whole=known.window.is_whole and done.is_whole,
    )
    known = msgspec.structs.replace(known, unseen_s=known.unseen_s + elapsed_s, work=work)
    if window.tokens < _WINDOW_TOKENS:
        return msgspec.structs.replace(known, window=window)
    if window.tokens < window.requests * _LEAST_MEAN_PROMPT_TOKENS or window.prefill_s <= 0 or window.requests < 1:
        return msgspec.structs.replace(known, window=Window())
    if window.tokens_per_s > _FASTEST_TOKENS_PER_S:
        return msgspec.structs.replace(known, window=Window())
    vote = (window.tokens_per_s, min(window.tokens, _HEAVIEST_WINDOW_TOKENS))
    seen = (*known.seen, vote)[-_WINDOWS_KEPT:]
    return msgspec.structs.replace(known, seen=seen, window=Window(), unseen_s=0.0)
