"""The prefix index of one pool as a gateway uses it: who holds what of a prompt, shared by all gateways.

It is a belief: a rank is believed to hold a prompt from the moment it was placed there, or a decode rank was bound to
it, and for as long as its odometer allows (prefix_holders.py). What was believed is told too, for agents to compare
with what their engines find. Two tasks converse with the store, one batch at a time each; requests leave a question and
await a future for no longer than a placement, or leave a word and go on. Whatever goes wrong, nothing is held.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from scheduler import calls
from scheduler.calls import Call, Reply
from scheduler.decision import RequestShape
from scheduler.errors import StoreFullError, StoreRejectedError, StoreUnavailableError
from scheduler.keys import PoolKeys
from scheduler.prefix_beliefs import Belief, Beliefs
from scheduler.prefix_calibration import age_class
from scheduler.prefix_chain import chain_of, keyed
from scheduler.prefix_foreseen import Foreseen
from scheduler.prefix_holders import Held, Holder, held, holders_of, nothing_held, tag_of, touch_of
from scheduler.prefix_life import LONGEST_MS, PrefixLife
from scheduler.rank_view import RankView
from scheduler.reservation import Reservation
from scheduler.settings import SchedulerSettings
from scheduler.side_contact import SideContact
from scheduler.store import Store
from scheduler.view import PoolView

GATHER_S = 0.010
"""How long a word of a placement may wait for company."""
PIECE = 20
"""Placements told in one exchange, so that the store is not held for long."""
BELIEFS_S = 0.25
"""How long a word of what was believed waits at least: it is compared over long windows."""
MOST_UNTOLD = 1_000
"""Placements that wait to be told while the store is slow; the oldest are forgotten."""

log = logging.getLogger(__name__)


class Found(NamedTuple):
    """What was found of a prompt, and the keys of its blocks; none of a prompt without blocks."""

    held: Held
    keys: tuple[str, ...] = ()


class _Question(NamedTuple):
    keys: Sequence[str]
    answer: asyncio.Future[Sequence[bytes]]


class _Unbound(NamedTuple):
    """A prompt whose decode rank is not bound, and the rank that prefills it."""

    keys: tuple[str, ...]
    prefill_rank: str


class PrefixIndex:
    """A request waits no longer for what is known of its prompt than for its placement.

    `counters`: prefix_misses (nothing was known in time), prefix_unasked (nor asked, the index being silent),
    prefix_losses (the store failed), prefix_fulls (it had no memory left; each makes a pause in what is told), and the
    tokens of computed prompts that were believed to be cached, prefix_believed_tokens.
    """

    def __init__(self, store: Store, keys: PoolKeys, settings: SchedulerSettings, *, is_asked: bool = True) -> None:
        self._secret = settings.prefix_secret.encode()
        self._store, self._keys, self._is_asked = store, keys, is_asked
        self._contact = SideContact(settings.place_deadline_ms / 1000, settings.probe_ms / 1000)
        self._events: Counter[str] = Counter()
        self._beliefs = Beliefs()
        self._questions: list[_Question] = []
        self._asked = asyncio.Event()
        self._foreseen = Foreseen(self._contact.deadline_s)
        self._unbound: dict[int, _Unbound] = {}
        self._untold: dict[tuple[str, str], Call] = {}
        self._to_tell = asyncio.Event()
        self._view: PoolView | None = None
        self._holders: Mapping[str, Holder] = {}
        self._life = PrefixLife()

    @property
    def counters(self) -> Counter[str]:
        """See above."""
        return self._events + Counter(prefix_believed_tokens=self._beliefs.believed_tokens)

    def foresee(self, shape: RequestShape) -> None:
        """Asks now what `look_up` will want to know at once of this prompt; returns at once."""
        if self._is_asked and shape.blocks and not self._contact.is_silent:
            keys = self._keys.blocks(keyed(chain_of(shape.blocks).hashes, self._secret))
            self._foreseen.keep(keys[-1], self._ask(keys), asyncio.get_running_loop().time())

    async def look_up(self, shape: RequestShape, view: PoolView) -> Found:
        """What ranks hold of the prompt; nothing where that is not known in time, or nobody wants to know.

        Safe to cancel.
        """
        if not self._is_asked or not shape.blocks:
            return Found(nothing_held())
        chain = chain_of(shape.blocks)
        keys = self._keys.blocks(keyed(chain.hashes, self._secret))
        replies = await self._replies(keys)
        if not replies:
            return Found(nothing_held(), keys)
        self._look_at(view)
        return Found(held(replies, chain, shape.block_tokens, self._holders), keys)

    async def _replies(self, keys: Sequence[str]) -> Sequence[bytes]:
        now_s = asyncio.get_running_loop().time()
        if self._contact.is_silent:
            self._events["prefix_unasked"] += 1
            if self._contact.may_probe(now_s):
                self._ask(keys)
            return ()
        try:
            async with asyncio.timeout(self._contact.deadline_s):
                return await (self._foreseen.take(keys[-1], now_s) or self._ask(keys))
        except TimeoutError:
            self._events["prefix_misses"] += 1
            self._contact.missed(asyncio.get_running_loop().time())
            return ()

    def _ask(self, keys: Sequence[str]) -> asyncio.Future[Sequence[bytes]]:
        question = _Question(keys, asyncio.get_running_loop().create_future())
        self._questions.append(question)
        self._asked.set()
        return question.answer

    def placed(self, found: Found, number: int, reservation: Reservation, ranks: Mapping[str, RankView]) -> None:
        """A prompt of which this was found was placed under this `number`: the rank of its first leg will hold it.

        That of the second is told when it is bound, for many a prompt moves to another (docs/adr/0010). Returns at
        once; `ranks` by name.
        """
        rank = ranks[reservation.legs[0].rank]
        self._touch(found.keys, rank, reservation.uncached_tokens)
        if len(reservation.legs) > 1:
            self._unbound[number] = _Unbound(found.keys, rank.card.rank)
        age_tokens = found.held.age_tokens.get(rank.card.rank, 0)
        if age_tokens > 0:
            tokens = reservation.prompt_tokens - reservation.uncached_tokens
            age = age_class(age_tokens, rank.card.kv_capacity_tokens)
            self._beliefs.placed(number, Belief(tag_of(rank), tokens, age))

    def bound(self, number: int, decode_rank: str, view: PoolView) -> None:
        """This decode rank will hold a prompt that was placed. Returns at once; said again it changes nothing."""
        unbound = self._unbound.pop(number, None)
        if unbound and (rank := view.ranks.get(decode_rank)):
            prefill = view.ranks.get(unbound.prefill_rank)
            self._touch(unbound.keys, rank, 0, [prefill] if prefill else [])

    def computed(self, number: int) -> None:
        """A prompt that was placed is computed."""
        self._beliefs.computed(number)

    def decodes(self, number: int, held: Reservation | None, view: PoolView) -> None:
        """The same, and its decode rank is the one that it has by now, if there is such a request."""
        self.computed(number)
        if held is not None:
            self.bound(number, held.legs[-1].rank, view)

    def released(self, number: int) -> None:
        """A request that was placed holds nothing any more."""
        self._unbound.pop(number, None)
        self._beliefs.released(number)

    def _touch(
        self, keys: tuple[str, ...], rank: RankView, uncached_tokens: int, others: Sequence[RankView] = ()
    ) -> None:
        """Has the rank told of; the blocks are known for as long as it or one of the `others` may hold them."""
        word = touch_of(rank, uncached_tokens)
        if not keys or not word or not self._contact.may_tell(asyncio.get_running_loop().time()):
            return
        if len(self._untold) >= MOST_UNTOLD:
            self._untold.pop(next(iter(self._untold)))
        known_ms = self._life.known_ms([rank, *others], uncached_tokens)
        self._untold[keys[-1], rank.card.rank] = calls.prefix_touch(keys, known_ms, [word])
        self._to_tell.set()

    async def run(self) -> None:
        """Converses with the store until cancelled; then nobody waits for an answer any more."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._answer(), name="look up prefixes")
                tasks.create_task(self._tell(), name="tell of prefixes")
        finally:
            self._give(self._questions, [])

    async def _answer(self) -> None:
        while True:
            await self._asked.wait()
            self._asked.clear()
            questions, self._questions = [each for each in self._questions if not each.answer.done()], []
            replies: list[Reply] = []
            asked_s = asyncio.get_running_loop().time()
            try:
                replies = await self._run([calls.prefix_look(question.keys) for question in questions])
                if replies:
                    took_s = asyncio.get_running_loop().time() - asked_s
                    self._contact.exchanged(took_s, in_time=not all(each.answer.done() for each in questions))
            finally:
                self._give(questions, replies)

    async def _tell(self) -> None:
        next_s = 0.0
        while True:
            await self._to_tell.wait()
            await asyncio.sleep(GATHER_S)
            self._to_tell.clear()
            untold, self._untold = list(self._untold.values()), {}
            for first in range(0, len(untold), PIECE):
                if self._contact.may_tell(asyncio.get_running_loop().time()):
                    await self._run(untold[first : first + PIECE])
            now_s = asyncio.get_running_loop().time()
            if self._contact.may_tell(now_s) and now_s >= next_s and (sums := self._beliefs.take()):
                next_s = now_s + BELIEFS_S
                more = (tokens for sum_ in sums.values() for tokens in sum_)
                await self._run([calls.prefix_believed(self._keys.believed(list(sums)), LONGEST_MS, more)])

    async def _run(self, told: Sequence[Call]) -> list[Reply]:
        """The replies; none where the store fails: its own tasks say so, and do something about it."""
        try:
            return await self._store.run(told)
        except StoreFullError as error:
            self._events["prefix_fulls"] += 1
            now_s = asyncio.get_running_loop().time()
            log.warning("no prefixes are written down for %.0f s: %s", self._contact.was_full(now_s), error)
            return []
        except (StoreUnavailableError, StoreRejectedError) as error:
            self._events["prefix_losses"] += 1
            log.debug("the prefix index has no store: %s", error)
            return []

    def _give(self, questions: Sequence[_Question], replies: Sequence[Reply]) -> None:
        for place, question in enumerate(questions):
            if not question.answer.done():
                question.answer.set_result(replies[place] if replies else ())

    def _look_at(self, view: PoolView) -> None:
        """Finds out what is asked of all ranks of a snapshot once."""
        if view is not self._view:
            self._view, self._holders = view, holders_of(list(view.ranks.values()))
