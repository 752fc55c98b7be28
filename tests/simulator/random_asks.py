"""Requests and small engines drawn at random, for what holds whatever is asked."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from hypothesis import strategies as st

from simulator.settings import RankSettings
from tests.simulator.oracle import right_ids


@dataclass(frozen=True, kw_only=True)
class Ask:
    """One request, which arrives at a turn of the test; prompts that begin alike share blocks."""

    shared_tokens: int
    own_tokens: int
    max_tokens: int
    arrives_at: int

    def prompt(self, index: int) -> list[int]:
        return [*range(500, 500 + self.shared_tokens), *range(10_000 * index, 10_000 * index + self.own_tokens)]

    def right_ids(self, index: int, options: RankSettings, **how: Any) -> list[int]:
        """The request's answer, straight from the model; `how` as in the oracle."""
        prompt = self.prompt(index)
        return right_ids(prompt, min(self.max_tokens, options.max_model_len - len(prompt)), **how)


ASK: dict[str, st.SearchStrategy[int]] = {
    "shared_tokens": st.integers(0, 12),
    "own_tokens": st.integers(1, 12),
    "max_tokens": st.integers(1, 16),
    "arrives_at": st.integers(0, 12),
}
"""Strategies for the fields of an ask."""

ENGINE: dict[str, st.SearchStrategy[int]] = {
    "max_model_len": st.just(40),
    "kv_blocks": st.integers(10, 40),
    "max_num_seqs": st.integers(1, 5),
    "max_num_batched_tokens": st.integers(3, 40),
}
"""Strategies for the options of an engine that is often full."""
