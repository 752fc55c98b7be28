"""Which seconds of a rank's time went into the prompts that have finished by now. Pure.

Requests finish long after their prefill where a rank decodes too, and often several at once, so the time in which they
finished says nothing of it. But a page shows when prompts were admitted and when they had their first token, and so in
which seconds the rank worked on prompts; and a rank takes prompts in their order. So what has finished is charged the
oldest of these seconds, as many as go with so many tokens.

A step reports when it ends. Where nothing moved since the last sample on a busy rank, a long step was under way: that
time belongs to what the next sample shows. On a rank that was idle it is not known when such a step began, so that less
is seen of it than there was.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec

from agent.metrics_page import EngineSample

_MOST_PIECES: Final = 1024
"""Beyond them, with requests that last for ten minutes, the oldest are forgotten."""


class Piece(NamedTuple):
    """Tokens that were admitted together, the seconds spent on them, and whether all of these were seen."""

    tokens: float
    seconds: float
    is_whole: bool


class PrefillWork(msgspec.Struct, frozen=True, kw_only=True):
    """`pieces` are what was admitted and is not finished, the oldest first.

    `quiet_s`: how long the rank has been busy without a report. `stranded_tokens` of prompts never had a first token:
    their clients left.
    """

    pieces: tuple[Piece, ...] = ()
    quiet_s: float = 0.0
    stranded_tokens: float = 0.0

    def admit(self, before: EngineSample, after: EngineSample, elapsed_s: float) -> PrefillWork:
        """After two samples of one incarnation, `elapsed_s` apart."""
        tokens = max(0.0, _admitted(after) - _admitted(before))
        is_idle = after.running + after.waiting == 0
        stranded = _unanswered(after) if is_idle else self.stranded_tokens
        if not tokens and after.prompt_tokens == before.prompt_tokens and _unanswered(before) <= self.stranded_tokens:
            is_quiet = before.running + before.waiting > 0 and after.steps == before.steps
            quiet_s = self.quiet_s + elapsed_s if is_quiet else 0.0
            return PrefillWork(pieces=self.pieces, quiet_s=quiet_s, stranded_tokens=stranded)
        share = busy_share(before, after)
        piece, pieces = Piece(tokens, self.quiet_s + share * elapsed_s, share == 1), self.pieces
        if pieces and not tokens:
            last, pieces = pieces[-1], pieces[:-1]
            piece = Piece(last.tokens, last.seconds + piece.seconds, last.is_whole and piece.is_whole)
        return PrefillWork(pieces=(*pieces, piece)[-_MOST_PIECES:], stranded_tokens=stranded)

    def finish(self, tokens: float, most_s: float, *, is_idle: bool) -> tuple[Piece, PrefillWork]:
        """What went into so many finished tokens, and what is left; nothing is on an idle rank.

        What nobody saw admitted took its part of `most_s`.
        """
        left, seconds, is_whole, pieces = tokens, 0.0, True, list(self.pieces)
        while left > 0 and pieces:
            piece = pieces.pop(0)
            part = min(1.0, left / piece.tokens) if piece.tokens else 1.0
            if part < 1:
                pieces.insert(0, Piece(piece.tokens - left, piece.seconds * (1 - part), piece.is_whole))
            seconds += piece.seconds * part
            is_whole &= piece.is_whole
            left -= piece.tokens
        if left > 0:
            seconds += most_s * left / tokens
        remaining = () if is_idle else tuple(pieces)
        return Piece(tokens, seconds, is_whole), msgspec.structs.replace(self, pieces=remaining)


def busy_share(before: EngineSample, after: EngineSample) -> float:
    """The part of the time between two samples that the engine worked, as far as their ends tell."""
    busy_ends = sum(sample.running + sample.waiting > 0 for sample in (before, after))
    return max(busy_ends, after.steps != before.steps) / 2


def _admitted(sample: EngineSample) -> float:
    """Prompt tokens that were not cached; of an engine without a prefix cache those that had their first token."""
    if not sample.prefix_queries:
        return sample.prompt_tokens
    return sample.prefix_queries - sample.prefix_hits


def _unanswered(sample: EngineSample) -> float:
    """Tokens of prompts that were admitted and have had no first token, in this life of the engine."""
    return (sample.prefix_queries or sample.prompt_tokens) - sample.prompt_tokens
