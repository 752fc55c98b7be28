"""Prompts that share nothing, of lengths as conversations have them. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from itertools import count, islice
from random import Random

from simulator.cluster.request import BLOCK_TOKENS, SimRequest

MEDIAN_PROMPT_TOKENS = 2000
MEDIAN_OUTPUT_TOKENS = 150
PROMPT_SIGMA = 1.0
OUTPUT_SIGMA = 0.8
"""Of the logarithms. Published traces are close to log-normal with these."""
LARGEST_PROMPT_TOKENS = 32_768
LARGEST_OUTPUT_TOKENS = 2048


def strangers(arrivals_s: Iterable[float], chance: Random) -> list[SimRequest]:
    """A request for each arrival; no two prompts share a block."""
    fresh = count()
    requests = []
    for number, arrival_s in enumerate(arrivals_s):
        prompt_tokens = some_prompt_tokens(chance)
        requests.append(
            SimRequest(
                number=number,
                arrival_s=arrival_s,
                prompt_tokens=prompt_tokens,
                output_tokens=some_output_tokens(chance),
                blocks=tuple(islice(fresh, prompt_tokens // BLOCK_TOKENS)),
            )
        )
    return requests


def some_prompt_tokens(chance: Random) -> int:
    """A length drawn for a prompt."""
    return _cut(MEDIAN_PROMPT_TOKENS * chance.lognormvariate(0.0, PROMPT_SIGMA), LARGEST_PROMPT_TOKENS)


def some_output_tokens(chance: Random) -> int:
    """A length drawn for an answer."""
    return _cut(MEDIAN_OUTPUT_TOKENS * chance.lognormvariate(0.0, OUTPUT_SIGMA), LARGEST_OUTPUT_TOKENS)


def _cut(tokens: float, largest: int) -> int:
    return max(1, min(largest, round(tokens)))
