"""Learns a rank's prefill rate, in uncached prompt tokens per second, from the sums on its pages. Pure.

vLLM gives, over finished requests, the tokens computed (T) and the seconds from schedule to first token (S). Prompts
that share steps overlap, so S counts the same second several times: T/S is the rate only when prompts ran alone. The
time the rank worked on these prompts (W, prefill_work.py) is no longer either, so one window says T / min(S, W).

Where KV is pulled from other ranks, neither T nor S is of use: what is pulled is in T as soon as the request has
finished, but was taken off when it was admitted, and S counts the steps in which pulled prompts had their last token.
There T is what the page says was computed here, and one window says T / W.

Windows end when they hold enough tokens. Those of short prompts are left out: they measure a step's fixed cost. The
answer is the median of the last windows, weighted by their tokens up to a bound, so that neither a first request that
compiled a kernel (26 s seen on a real vLLM) nor requests that happened to finish together can move it far. The prior is
one more window, and until three windows are known the rate is not believed to be below it: in an idle pool a rank that
seems slower than its like gets no request, and so would never be known better. For the same reason a rank of which no
window was seen for a while is believed to be as fast as it ever was: its last ones may have been a cold start, or a
neighbour's load. A decode rank that pulls all
its KV computes next to nothing and keeps the prior.
"""

from __future__ import annotations

import bisect
import itertools
from math import inf

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

    @property
    def seconds(self) -> float:
        """What the tokens took."""
        return min(self.prefill_s, self.busy_s)


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
    window, work = _widened(known, before, after, elapsed_s)
    known = msgspec.structs.replace(known, unseen_s=known.unseen_s + elapsed_s, work=work)
    if window.tokens < _WINDOW_TOKENS:
        return msgspec.structs.replace(known, window=window)
    if window.tokens < window.requests * _LEAST_MEAN_PROMPT_TOKENS or window.seconds <= 0 or not window.requests:
        return msgspec.structs.replace(known, window=Window())
    rate = window.tokens / window.seconds
    if rate > _FASTEST_TOKENS_PER_S:
        return msgspec.structs.replace(known, window=Window())
    seen = (*known.seen, (rate, min(window.tokens, _HEAVIEST_WINDOW_TOKENS)))[-_WINDOWS_KEPT:]
    return msgspec.structs.replace(known, seen=seen, window=Window(), unseen_s=0.0)


def _widened(
    known: PrefillRate, before: EngineSample, after: EngineSample, elapsed_s: float
) -> tuple[Window, PrefillWork]:
    """The open window with what was seen between the samples, and the work that is left."""
    work, window = known.work.admit(before, after, elapsed_s), known.window
    is_idle = after.running + after.waiting == 0
    if after.external_hits and before.local_tokens is not None and after.local_tokens is not None:
        done, work = work.finish(after.local_tokens - before.local_tokens, None, is_idle=is_idle)
        tokens, prefill_s, requests = done.tokens, inf, done.pieces
    else:
        tokens, prefill_s = after.prefill_tokens - before.prefill_tokens, after.prefill_s - before.prefill_s
        requests = after.prefill_requests - before.prefill_requests
        done, work = work.finish(tokens, prefill_s, is_idle=is_idle)
    window = Window(
        tokens=window.tokens + tokens,
        prefill_s=window.prefill_s + prefill_s,
        requests=window.requests + requests,
        busy_s=window.busy_s + done.seconds,
    )
    return window, work
