"""Which of a rank's decoding sequences ends or needs a block first, however many steps are taken at once. Pure.

Each step gives each of them a token. So what a sequence has computed is what the rank has done in steps and an offset
of its own, and nothing need be written down until it is due.
"""

from __future__ import annotations

from heapq import heappop, heappush
from operator import attrgetter

from simulator.cluster.sequence import SimSequence

NOT_DUE = -1


class Decoding:
    """`steps` counts the rank's steps. Whoever decodes without a block for its next token must get it before a step."""

    def __init__(self, block_tokens: int) -> None:
        self.steps = 0
        self._block_tokens = block_tokens
        self._due: list[tuple[int, int, SimSequence]] = []

    @property
    def steps_until_due(self) -> int:
        """Steps until the first is due; there must be one that decodes."""
        self._drop()
        return self._due[0][0] - self.steps

    def enter(self, sequence: SimSequence) -> None:
        """All but the last of its tokens are computed: it decodes from the next step on."""
        sequence.offset = sequence.computed - self.steps
        self.wait(sequence)

    def wait(self, sequence: SimSequence) -> None:
        """It decodes, and has the blocks it needs for now."""
        tokens = min(sequence.most_tokens - 1, len(sequence.blocks) * self._block_tokens)
        sequence.due_at = tokens - sequence.offset
        heappush(self._due, (sequence.due_at, sequence.entered, sequence))

    def take_due(self) -> list[SimSequence]:
        """Those that have ended or need a block, in the order in which they came into the batch."""
        due = []
        while self._drop() and self._due[0][0] <= self.steps:
            due.append(heappop(self._due)[2])
        for sequence in due:
            sequence.due_at = NOT_DUE
        return sorted(due, key=attrgetter("entered")) if len(due) > 1 else due

    def has_ended(self, sequence: SimSequence) -> bool:
        """Whether a decoding sequence has all its tokens."""
        return sequence.offset + self.steps + 1 >= sequence.most_tokens

    def settle(self, sequence: SimSequence) -> None:
        """Write down how far a decoding sequence has come; it decodes no more."""
        sequence.computed = sequence.offset + self.steps
        sequence.num_tokens = sequence.computed + 1
        sequence.due_at = NOT_DUE

    def _drop(self) -> bool:
        """Drop the first entries if they hold no more; whether any is left."""
        while self._due:
            due_at, entered, sequence = self._due[0]
            if sequence.due_at == due_at and sequence.entered == entered:
                return True
            heappop(self._due)
        return False
