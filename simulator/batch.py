"""What a scheduler puts into one step. Pure."""

from __future__ import annotations

from simulator.sequence import Sequence
from simulator.timing import attended_pairs


class Batch:
    """The sequences of one step and the tokens computed for them; `budget` is how many more fit.

    `pairs` are the attended pairs of the `prefill` tokens. Of the prompts that came in, `queries` tokens were looked up
    in the prefix cache, of which `hits` were found; the `external` ones among the rest come from elsewhere, and the
    `loaded` ones of these within the step.
    """

    __slots__ = ("budget", "decode", "external", "hits", "loaded", "pairs", "parts", "preempted", "prefill", "queries")

    def __init__(self, budget: int) -> None:
        self.budget = budget
        self.parts: list[Sequence] = []
        self.decode = self.external = self.hits = self.loaded = 0
        self.pairs = self.preempted = self.prefill = self.queries = 0

    def look_up(self, sequence: Sequence, loaded_tokens: int) -> None:
        """Count what a prompt that comes in has of KV already; so much of it was loaded for that."""
        loaded = min(loaded_tokens, sequence.computed)
        sequence.external_tokens = loaded
        sequence.cached_tokens = sequence.computed - loaded
        self.queries += sequence.num_tokens
        self.hits += sequence.cached_tokens
        self.external += loaded
        self.loaded += loaded

    def add(self, sequence: Sequence, tokens: int) -> None:
        """Compute so many tokens of the sequence; one token behind others, some fetched, costs as much as decoding."""
        self.parts.append(sequence)
        self.budget -= tokens
        if tokens == 1 and (sequence.generated or sequence.external_tokens):
            self.decode += 1
        else:
            self.prefill += tokens
            self.pairs += attended_pairs(sequence.computed, tokens)
        sequence.computed += tokens
