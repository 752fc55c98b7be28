"""What a scheduler puts into one step."""

from __future__ import annotations

from simulator.sequence import Sequence


class Batch:
    """The sequences of one step and the tokens computed for them; `budget` is how many more fit."""

    __slots__ = ("budget", "decode", "hits", "parts", "preempted", "prefill", "queries")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.parts: list[Sequence] = []
        self.decode = self.prefill = self.queries = self.hits = self.preempted = 0

    def add(self, sequence: Sequence, tokens: int) -> None:
        """Compute so many tokens of the sequence."""
        self.parts.append(sequence)
        self.budget -= tokens
        if sequence.generated and tokens == 1:
            self.decode += 1
        else:
            self.prefill += tokens
        sequence.computed += tokens
