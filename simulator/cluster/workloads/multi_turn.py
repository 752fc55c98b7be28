"""Chats that grow turn by turn, behind a system prompt and the tool schemas of their application. Pure.

Each prompt is what was said before, the last answer included, and a new message.
"""

from __future__ import annotations

from heapq import heapify, heapreplace
from itertools import count
from random import Random

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.strangers import some_output_tokens

CHATS = 200
"""That are open at a time. With one request a second somebody thinks for as many seconds, on average, between turns."""
MEAN_TURNS = 6
SYSTEM_BLOCKS = 3
"""The system prompt of all."""
TOOL_BLOCKS = 5
"""The tool schemas of each of APPLICATIONS."""
APPLICATIONS = 8
MEDIAN_MESSAGE_TOKENS = 150
MESSAGE_SIGMA = 1.0
"""Of the logarithm: now and then somebody pastes a page."""
LARGEST_MESSAGE_TOKENS = 8192
LARGEST_PROMPT_TOKENS = 32_768
"""A chat ends before it is longer."""


class Chat:
    """One conversation; `fresh` names its own blocks."""

    def __init__(self, chance: Random, fresh: count[int]) -> None:
        self._chance, self._fresh = chance, fresh
        first = SYSTEM_BLOCKS + chance.randrange(APPLICATIONS) * TOOL_BLOCKS
        self._blocks = [*range(SYSTEM_BLOCKS), *range(first, first + TOOL_BLOCKS)]
        self._tokens = len(self._blocks) * BLOCK_TOKENS
        self._hear()

    def turn(self, number: int, arrival_s: float) -> SimRequest:
        """What is asked now."""
        prompt_tokens, blocks = self._tokens, tuple(self._blocks)
        output_tokens = some_output_tokens(self._chance)
        self._tokens += output_tokens
        self._hear()
        return SimRequest(
            number=number,
            arrival_s=arrival_s,
            prompt_tokens=prompt_tokens,
            output_tokens=output_tokens,
            blocks=blocks,
        )

    def ends(self) -> bool:
        """Whether that turn was its last; it may be asked once after each."""
        return self._tokens > LARGEST_PROMPT_TOKENS or self._chance.random() < 1 / MEAN_TURNS

    def _hear(self) -> None:
        """The next message."""
        tokens = round(MEDIAN_MESSAGE_TOKENS * self._chance.lognormvariate(0.0, MESSAGE_SIGMA))
        self._tokens += max(1, min(tokens, LARGEST_MESSAGE_TOKENS))
        while len(self._blocks) < self._tokens // BLOCK_TOKENS:
            self._blocks.append(next(self._fresh))


def multi_turn(requests: int, chance: Random) -> list[SimRequest]:
    """So many turns, one a second on average, of CHATS chats; a new one begins where one has ended."""
    fresh = count(SYSTEM_BLOCKS + APPLICATIONS * TOOL_BLOCKS)
    chats = [Chat(chance, fresh) for _ in range(CHATS)]
    turns = [(_thought_s(chance), place) for place in range(CHATS)]
    heapify(turns)
    drawn = []
    for number in range(requests):
        arrival_s, place = turns[0]
        drawn.append(chats[place].turn(number, arrival_s))
        if chats[place].ends():
            chats[place] = Chat(chance, fresh)
        heapreplace(turns, (arrival_s + _thought_s(chance), place))
    return drawn


def _thought_s(chance: Random) -> float:
    return chance.expovariate(1 / CHATS)
