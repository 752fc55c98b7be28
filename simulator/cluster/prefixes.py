"""The prefix index of one gateway in virtual time: as scheduler/prefix_index.py uses it.

Questions go at once, or with the next exchange where one is under way; words of placements gather for 10 ms.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from scheduler import calls
from scheduler.calls import Call, Reply
from scheduler.keys import PoolKeys
from scheduler.prefix_chain import Chain, chain_of
from scheduler.prefix_holders import held, touch_of
from scheduler.prefix_index import GATHER_S, PIECE
from scheduler.prefix_life import PrefixLife
from scheduler.rank_view import RankView
from simulator.cluster.clock import EventQueue
from simulator.cluster.request import BLOCK_ID_BYTES, BLOCK_TOKENS, SimRequest
from simulator.cluster.snapshots import Snapshots
from simulator.cluster.store_link import StoreLink
from simulator.cluster.writer import DEADLINE_S


class Prompt(NamedTuple):
    """What the index knows a prompt by: its blocks, the keys they have, and the last of them."""

    chain: Chain
    keys: Sequence[str]
    last: int


class _Question:
    """Whoever looks up a prompt, and is answered once."""

    __slots__ = ("_take", "is_awaited", "prompt")

    def __init__(self, prompt: Prompt, take: Callable[[dict[str, int]], None]) -> None:
        self.prompt, self._take, self.is_awaited = prompt, take, True

    def answer(self, cached_tokens: dict[str, int]) -> None:
        if self.is_awaited:
            self.is_awaited = False
            self._take(cached_tokens)


class Prefixes:
    """Asks and tells the store; of its own it knows nothing."""

    def __init__(self, queue: EventQueue, link: StoreLink, keys: PoolKeys, snapshots: Snapshots) -> None:
        self._queue, self._link, self._keys, self._snapshots = queue, link, keys, snapshots
        self._questions: list[_Question] = []
        self._is_asking = self._is_telling = False
        self._untold: dict[tuple[int, str], Call] = {}
        self._life = PrefixLife()

    @property
    def may_be_lost(self) -> bool:
        """Whether there will be times in which it cannot be asked."""
        return self._link.may_be_lost

    def prompt_of(self, request: SimRequest) -> Prompt | None:
        """What is known of a prompt; None of one without a block that a cache could spare the engine."""
        blocks = request.cacheable_blocks
        if not blocks:
            return None
        chain = chain_of([block.to_bytes(BLOCK_ID_BYTES, "little") for block in blocks])
        return Prompt(chain, self._keys.blocks(chain.hashes), blocks[-1])

    def look_up(self, prompt: Prompt, take: Callable[[dict[str, int]], None]) -> None:
        """`take` gets the tokens of the prompt that ranks hold, by rank; none where that is not known in time."""
        question = _Question(prompt, take)
        self._questions.append(question)
        if self._link.may_be_lost:
            self._queue.after(DEADLINE_S, partial(question.answer, {}))
        if not self._is_asking:
            self._ask()

    def touch(self, prompt: Prompt, rank: RankView, uncached_tokens: int, others: Sequence[RankView] = ()) -> None:
        """The rank will hold the prompt, once it has computed so many tokens of it; `others` do already."""
        word = touch_of(rank, uncached_tokens)
        if word is None:
            return
        known_ms = self._life.known_ms([rank, *others], uncached_tokens)
        self._untold[prompt.last, rank.card.rank] = calls.prefix_touch(prompt.keys, known_ms, [word])
        if not self._is_telling:
            self._is_telling = True
            self._queue.after(GATHER_S, self._tell)

    def _ask(self) -> None:
        asked, self._questions = [each for each in self._questions if each.is_awaited], []
        self._is_asking = bool(asked)
        if asked:
            told = [calls.prefix_look(each.prompt.keys) for each in asked]
            self._link.send(told, partial(self._answer, asked), partial(self._answer, asked, [None] * len(asked)))

    def _answer(self, asked: Sequence[_Question], replies: Sequence[Reply]) -> None:
        holders = self._snapshots.holders
        for each, reply in zip(asked, replies, strict=True):
            each.answer(held(reply, each.prompt.chain, BLOCK_TOKENS, holders).tokens if reply else {})
        self._ask()

    def _tell(self) -> None:
        untold, self._untold = list(self._untold.values()), {}
        self._tell_pieces(untold)

    def _tell_pieces(self, untold: Sequence[Call]) -> None:
        """One exchange after the other, then what has gathered meanwhile."""
        if untold:
            go_on = partial(self._tell_pieces, untold[PIECE:])
            self._link.send(untold[:PIECE], lambda _replies: go_on(), go_on)
        elif self._untold:
            self._queue.after(GATHER_S, self._tell)
        else:
            self._is_telling = False
