"""Many groups, each with a long context of its own that all its questions begin with. Pure.

The shape of llm-d's benchmark of prefix-aware scheduling (llm-d.ai/blog/kvcache-wins-you-can-see): 150 groups with
contexts of 6,000 tokens, 5 users in each, who ask questions of 1,200 tokens and get 1,000.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count, islice
from random import Random

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.poisson import poisson_arrivals_s

GROUPS = 150
USERS = 5
CONTEXT_TOKENS = 6000
QUESTION_TOKENS = 1200
OUTPUT_TOKENS = 1000


def shared_prefix(requests: int, chance: Random) -> list[SimRequest]:
    """So many, one a second on average. Each round every user asks once, in a new order, and never the same again."""
    shared_blocks = CONTEXT_TOKENS // BLOCK_TOKENS
    own_blocks = (CONTEXT_TOKENS + QUESTION_TOKENS) // BLOCK_TOKENS - shared_blocks
    contexts = [tuple(range(group * shared_blocks, (group + 1) * shared_blocks)) for group in range(GROUPS)]
    fresh = count(GROUPS * shared_blocks)
    return [
        SimRequest(
            number=number,
            arrival_s=arrival_s,
            prompt_tokens=CONTEXT_TOKENS + QUESTION_TOKENS,
            output_tokens=OUTPUT_TOKENS,
            blocks=contexts[group] + tuple(islice(fresh, own_blocks)),
        )
        for number, (arrival_s, group) in enumerate(
            zip(poisson_arrivals_s(requests, chance), _groups(chance), strict=False)
        )
    ]


def _groups(chance: Random) -> Iterator[int]:
    """Whose turn it is, for ever."""
    turns = [group for group in range(GROUPS) for _ in range(USERS)]
    while True:
        chance.shuffle(turns)
        yield from turns
