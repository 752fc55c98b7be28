"""A rank with a prefix cache of a size of its own, conversations that go on on it, and what is believed of both."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from random import Random

from scheduler.prefix_calibration import NO_BELIEF, Calibration, Counts, age_class

BLOCK_TOKENS = 512
MOST_BLOCKS = 60
BETWEEN_REPORTS = 5


class Cache:
    """Forgets the blocks used longest ago; of one prompt the last first."""

    def __init__(self, capacity_tokens: int) -> None:
        self._most = capacity_tokens // BLOCK_TOKENS
        self._blocks: OrderedDict[int, None] = OrderedDict()
        self.found_tokens = self.computed_tokens = 0

    def run(self, prompt: Sequence[int]) -> None:
        found = next((at for at, block in enumerate(prompt) if block not in self._blocks), len(prompt))
        self.found_tokens += found * BLOCK_TOKENS
        self.computed_tokens += (len(prompt) - found) * BLOCK_TOKENS
        for block in reversed(prompt):
            self._blocks[block] = None
            self._blocks.move_to_end(block)
        while len(self._blocks) > self._most:
            self._blocks.popitem(last=False)

    def empty(self) -> None:
        self._blocks.clear()


class BelievedRank:
    """Its card says `card_tokens`, its cache holds `cache_tokens`. `overrated`: how much too high estimates are."""

    def __init__(self, card_tokens: int, cache_tokens: int, *, overrated: float = 1.0, seed: int = 1) -> None:
        self.cache = Cache(cache_tokens)
        self.calibration = Calibration(capacity_tokens=card_tokens)
        self.believed = NO_BELIEF
        self._overrated, self._rng = overrated, Random(seed)
        self._used_at: dict[int, int] = {}
        self._talks: list[list[int]] = []
        self._prompts = 0

    @property
    def span_tokens(self) -> int:
        return self.calibration.span_tokens(self.cache.computed_tokens)

    def serve(self, prompts: int) -> list[int]:
        """The spans after each of so many prompts."""
        spans = []
        for _ in range(prompts):
            talk = self._next_talk()
            self._believe(talk)
            self.cache.run(talk)
            self._used_at |= dict.fromkeys(talk, self.cache.computed_tokens)
            self._prompts += 1
            if self._prompts % BETWEEN_REPORTS == 0:
                counts = Counts(self.believed, self.cache.found_tokens)
                self.calibration = self.calibration.after(counts, self.cache.computed_tokens)
            spans.append(self.span_tokens)
        return spans

    def _next_talk(self) -> list[int]:
        """Mostly one that was there lately goes on, now and then one of long ago."""
        talk: list[int] = []
        if self._talks and self._rng.random() < 0.9:
            talk = self._talks.pop(-min(int(self._rng.paretovariate(0.15)), len(self._talks)))
        talk = [*talk, *(self._rng.getrandbits(60) for _ in range(self._rng.randint(1, 8)))]
        if len(talk) < MOST_BLOCKS:
            self._talks.append(talk)
        return talk

    def _believe(self, talk: Sequence[int]) -> None:
        now, span = self.cache.computed_tokens, self.span_tokens
        for depth in range(len(talk), 0, -1):
            used_at = self._used_at.get(talk[depth - 1], -1)
            if span > 0 and used_at >= 0 and now - used_at <= span:
                sums = list(self.believed)
                sums[age_class(now - used_at, self.calibration.capacity_tokens)] += int(
                    self._overrated * depth * BLOCK_TOKENS
                )
                self.believed = tuple(sums)
                return
