"""Which seconds of a rank's time went into the prompts that have finished by now. Pure.

Requests finish long after their prefill where a rank decodes too, and often several at once, so the time in which they
finished says nothing of it. But a page shows when prompts were admitted and when they had their first token, and so in
which seconds the rank worked on prompts; and a rank takes prompts in their order. So what has finished is charged the
oldest of these seconds, as many as go with so many tokens. Tokens that are pulled from another rank take none.

A step reports when it ends, so that a rank looks idle while it works on a first step, and between pages it decodes too.
So the time of prompts that moved between two pages is the least of what is known to be no less than it:

- the time between the pages and before them, as far as nothing else was seen to fill it: without a report a long step
  was under way, and steps that only decode take as long as where no prompts are;
- the seconds that these prompts waited for their first tokens;
- where all of them ended with that, as on a prefill rank, the seconds of their prefills, each step counted once.
"""

from __future__ import annotations

from statistics import median
from typing import Final, NamedTuple

import msgspec

from agent.metrics_page import EngineSample

_MOST_PIECES: Final = 1024
"""Beyond them, with requests that last for ten minutes, the oldest are forgotten."""
_PACES_KEPT: Final = 8
"""Their median counts: in some of these times a long step had begun."""


class Piece(NamedTuple):
    """Tokens that were admitted together, and the seconds spent on them."""

    tokens: float
    seconds: float


class Done(NamedTuple):
    """What has finished: tokens, the seconds spent on them, and how many pieces they are."""

    tokens: float
    seconds: float
    pieces: float


class PrefillWork(msgspec.Struct, frozen=True, kw_only=True):
    """`pieces` are what was admitted and is not finished, the oldest first.

    `open_s`: the time up to the last page that nothing has filled yet. `paces_s`: what a step took where none worked on
    a prompt. `stranded_tokens` of prompts never had a first token: their clients left.
    """

    pieces: tuple[Piece, ...] = ()
    open_s: float = 0.0
    paces_s: tuple[float, ...] = ()
    stranded_tokens: float = 0.0

    def admit(self, before: EngineSample, after: EngineSample, elapsed_s: float) -> PrefillWork:
        """After two samples of one incarnation, `elapsed_s` apart."""
        tokens = max(0.0, _admitted(after) - _admitted(before))
        stranded = _unanswered(after) if _is_idle(after) else self.stranded_tokens
        if not tokens and _answered(after) == _answered(before) and _unanswered(before) <= self.stranded_tokens:
            return msgspec.structs.replace(self._pause(before, after, elapsed_s), stranded_tokens=stranded)
        piece, pieces = Piece(tokens, self._spent_s(before, after, elapsed_s)), self.pieces
        if pieces and not tokens:
            last, pieces = pieces[-1], pieces[:-1]
            piece = Piece(last.tokens, last.seconds + piece.seconds)
        return PrefillWork(pieces=(*pieces, piece)[-_MOST_PIECES:], paces_s=self.paces_s, stranded_tokens=stranded)

    def finish(self, tokens: float, most_s: float | None, *, is_idle: bool) -> tuple[Done, PrefillWork]:
        """What went into so many finished tokens, and what is left; nothing is on an idle rank.

        What nobody saw admitted took its part of `most_s`, or is left out where that is not known.
        """
        left, seconds, count, pieces = tokens, 0.0, 0.0, list(self.pieces)
        while left > 0 and pieces:
            piece = pieces.pop(0)
            part = min(1.0, left / piece.tokens) if piece.tokens else 1.0
            if part < 1:
                pieces.insert(0, Piece(piece.tokens - left, piece.seconds * (1 - part)))
            seconds += piece.seconds * part
            count += part
            left -= piece.tokens
        if most_s is None:
            tokens -= max(0.0, left)
        elif left > 0:
            seconds += most_s * left / tokens
        remaining = () if is_idle else tuple(pieces)
        return Done(tokens, seconds, count), msgspec.structs.replace(self, pieces=remaining)

    def _pause(self, before: EngineSample, after: EngineSample, elapsed_s: float) -> PrefillWork:
        """No prompt moved."""
        steps = after.steps - before.steps
        if steps <= 0:
            return msgspec.structs.replace(self, open_s=self.open_s + elapsed_s)
        if _is_idle(before) or _is_idle(after):
            return msgspec.structs.replace(self, open_s=0.0)
        paces_s = (*self.paces_s, (self.open_s + elapsed_s) / steps)[-_PACES_KEPT:]
        open_s = max(0.0, elapsed_s - steps * median(paces_s))
        return msgspec.structs.replace(self, paces_s=paces_s, open_s=open_s)

    def _spent_s(self, before: EngineSample, after: EngineSample, elapsed_s: float) -> float:
        """On prompts, between two samples and in the open time before them."""
        steps, firsts = after.steps - before.steps, after.first_tokens - before.first_tokens
        plain_steps = max(0.0, steps - max(1.0, firsts))
        pace_s = median(self.paces_s) if self.paces_s else 0.0
        at_most = [max(0.0, self.open_s + elapsed_s - plain_steps * pace_s)]
        if firsts > 0:
            at_most.append(after.first_token_s - before.first_token_s)
        ended = after.prefill_requests - before.prefill_requests
        if ended == firsts == after.generation_tokens - before.generation_tokens > 0:
            at_most.append((after.prefill_s - before.prefill_s) * min(1.0, steps / ended))
        return min(at_most)


def _is_idle(sample: EngineSample) -> bool:
    return sample.running + sample.waiting == 0


def _admitted(sample: EngineSample) -> float:
    """Prompt tokens to compute here; of an engine without a prefix cache those that had their first token."""
    if not sample.prefix_queries:
        return sample.prompt_tokens
    return sample.prefix_queries - sample.prefix_hits - sample.external_hits


def _answered(sample: EngineSample) -> float:
    """Prompt tokens behind which came a first token; those computed here where the page tells."""
    return sample.prompt_tokens if sample.local_tokens is None else sample.local_tokens


def _unanswered(sample: EngineSample) -> float:
    """Tokens of prompts that were admitted and have had no first token, in this life of the engine."""
    if sample.local_tokens is not None:
        return _admitted(sample) - sample.local_tokens
    return (sample.prefix_queries or sample.prompt_tokens) - sample.prompt_tokens
