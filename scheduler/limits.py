"""The limits of API keys as one gateway asks for them: held over all gateways, and by its share while it cannot ask.

One task converses with the store, one exchange at a time. Each carries what was asked since the last one, what requests
have used beside what they were let in for, and how many run here; that count is said again before its lease ends, so a
dead gateway's requests count for no longer. Requests await a future, for no longer than a placement.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

import anyio

from scheduler import limit_calls
from scheduler.calls import Call
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.gateway_name import life_and_address
from scheduler.keys import PoolKeys
from scheduler.limit_account import Account
from scheduler.limit_news import News
from scheduler.limit_rule import EMPTY, Answer, Levels, Limits, Verdict
from scheduler.settings import SchedulerSettings
from scheduler.side_contact import SideContact
from scheduler.store import Store

GATHER_S = 0.010
"""How long word of what was used may wait for company."""
COUNT_S = 1.0
"""How often the gateways are counted, for the share of each."""
LEAVE_WITHIN_S = 1.0

log = logging.getLogger(__name__)


class _Question(NamedTuple):
    """Answered with None where the store was lost."""

    name: str
    limits: Limits
    tokens: int
    answer: asyncio.Future[Answer | None]


class SharedLimits:
    """Asks for requests of keys, by name. `counters`: limit_misses (asks not answered in time), limit_losses (the store
    failed), limits_alone (asks answered by the gateway's share). `gateways`: how many there were when last counted.
    """

    def __init__(
        self, store: Store, *, gateway: str, settings: SchedulerSettings, pools: Callable[[], Sequence[str]]
    ) -> None:
        self._store, self._gateway, self._settings, self._pools = store, gateway, settings, pools
        self._contact = SideContact(settings.place_deadline_ms / 1000, settings.probe_ms / 1000)
        self._complaint = ""
        self._accounts: dict[str, Account] = {}
        self._questions: list[_Question] = []
        self._in_flight: frozenset[str] = frozenset()
        self._wake = asyncio.Event()
        self._news = News(settings.renew_ms)
        self.gateways = 1
        self.counters: Counter[str] = Counter()

    async def ask(self, name: str, limits: Limits, tokens: int) -> Answer:
        """Whether a request of so many tokens is let in; who is let in calls `ended`.

        Never fails for Redis. Safe to cancel: what was let in for nobody is given back.
        """
        if self._contact.is_silent:
            return self._ask_alone(name, limits, tokens)
        self._account(name, limits)
        question = _Question(name, limits, tokens, asyncio.get_running_loop().create_future())
        self._questions.append(question)
        self._wake.set()
        try:
            async with asyncio.timeout(self._contact.deadline_s):
                answer = await question.answer
        except TimeoutError:
            if not question.answer.cancelled():
                return question.answer.result() or self._ask_alone(name, limits, tokens)
            self.counters["limit_misses"] += 1
            self._contact.missed(_now_s())
            return self._ask_alone(name, limits, tokens)
        except asyncio.CancelledError:
            if not question.answer.cancelled() and (told := question.answer.result()) and not told.verdict:
                self.ended(name, tokens, 0)
            raise
        return answer or self._ask_alone(name, limits, tokens)

    def ended(self, name: str, charged_tokens: int, used_tokens: int) -> None:
        """A request that was let in for so many tokens is over and has used so many. Returns at once."""
        self._accounts[name].ended(charged_tokens, used_tokens)
        self._tell_soon(name)

    def _tell_soon(self, name: str) -> None:
        if self._news.add(name):
            asyncio.get_running_loop().call_later(GATHER_S, self._wake.set)

    def _account(self, name: str, limits: Limits) -> Account:
        account = self._accounts.get(name)
        if account is None:
            account = self._accounts[name] = Account(_now_ms())
        account.limits = limits
        return account

    def _ask_alone(self, name: str, limits: Limits, tokens: int) -> Answer:
        self.counters["limits_alone"] += 1
        account = self._account(name, limits)  # the one it had may be forgotten by now
        account.passes(_now_ms(), self.gateways, alone=self._contact.is_silent)
        verdict, levels = account.ask_alone(self.gateways, tokens)
        return Answer(verdict, levels, limits.share(self.gateways))

    async def run(self) -> None:
        """Converses with the store until cancelled; then says that nothing runs here any more."""
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._converse(), name="ask for limits")
                tasks.create_task(self._count(), name="count gateways")
        finally:
            with anyio.move_on_after(LEAVE_WITHIN_S, shield=True):
                left = {name: account for name, account in self._accounts.items() if account.leave()}
                if left and not self._contact.is_silent:
                    await self._exchange([], left)

    async def _converse(self) -> None:
        while True:
            while self._contact.is_silent:
                await asyncio.sleep(self._settings.probe_ms / 1000)
                if self._accounts:  # an exchange of nothing succeeds with no store at all
                    await self._probe()
            try:
                async with asyncio.timeout(self._settings.renew_ms / 1000):
                    await self._wake.wait()
            except TimeoutError:
                pass  # what runs here is to be said again
            self._wake.clear()
            questions, self._questions = [each for each in self._questions if not each.answer.done()], []
            told = self._news.take(self._accounts, {each.name for each in questions}, _now_ms())
            if told:
                self._in_flight = frozenset(told)
                await self._exchange(questions, told)
                self._in_flight = frozenset()

    async def _probe(self) -> None:
        """Tells a store that was silent how many run; with no word of what was used: what a frozen store was sent it
        does when it goes on, and each probe of that time again.
        """
        asked_s = _now_s()
        try:
            await self._store.run([self._call(name, each, EMPTY, ()) for name, each in self._accounts.items()])
        except (StoreUnavailableError, StoreRejectedError) as error:
            self._lost(error)
        else:
            self._contact.exchanged(_now_s() - asked_s, in_time=True)
            if not self._contact.is_silent:
                log.warning("limits of API keys are held over all gateways again")
                self._complaint = ""
                self._wake.set()

    async def _exchange(self, questions: Sequence[_Question], told: Mapping[str, Account]) -> None:
        """One round trip. Where it fails nobody knows what of it the store has done."""
        news: dict[str, Levels] = {}
        asked_s = _now_s()
        for name, account in told.items():
            account.passes(_now_ms(), self.gateways, alone=False)
            news[name] = account.take(_now_ms())
        asked: dict[str, list[int]] = {name: [] for name in told}
        for question in questions:
            asked[question.name].append(question.tokens)
        try:
            calls = [self._call(name, account, news[name], asked[name]) for name, account in told.items()]
            replies = await self._store.run(calls)
        except (StoreUnavailableError, StoreRejectedError) as error:
            self._lost(error)
            for name, account in told.items():
                account.untold(news[name])
            _answer_none(questions)
            return
        self._contact.exchanged(_now_s() - asked_s, in_time=any(not each.answer.done() for each in questions))
        answers = {name: iter(limit_calls.limit_answers(reply)) for name, reply in zip(told, replies, strict=True)}
        for question in questions:
            self._answer(question, *next(answers[question.name]))

    def _answer(self, question: _Question, verdict: Verdict, levels: Levels) -> None:
        account = self._accounts[question.name]
        if not question.answer.done():
            if verdict is Verdict.ADMITTED:
                account.admitted(self.gateways, question.tokens)
            question.answer.set_result(Answer(verdict, levels, question.limits))
        elif verdict is Verdict.ADMITTED:
            # Its client has left, or it did not wait any longer: then what became of it was noted.
            account.unwanted(question.tokens)
            self._tell_soon(question.name)

    def _call(self, name: str, account: Account, more: Levels, asked_tokens: Sequence[int]) -> Call:
        return limit_calls.limit(
            name, self._gateway, self._settings.lease_ms, account.limits, account.running, more, asked_tokens
        )

    def _lost(self, error: Exception) -> None:
        self.counters["limit_losses"] += 1
        self._contact.lost()
        waiting, self._questions = self._questions, []
        _answer_none(waiting)
        if str(error) != self._complaint:
            self._complaint = str(error)
            log.warning("each gateway holds its share of API keys' limits: %s", error)

    async def _count(self) -> None:
        """Keeps the number of gateways, and no account that there is nothing to say of."""
        while True:
            self._forget()
            try:
                self.gateways = await self._counted() or self.gateways
            except (StoreUnavailableError, StoreRejectedError) as error:
                log.debug("gateways are not counted: %s", error)
            await asyncio.sleep(COUNT_S)

    def _forget(self) -> None:
        now_ms, asked = _now_ms(), self._in_flight.union(each.name for each in self._questions)
        for name, account in list(self._accounts.items()):
            account.passes(now_ms, self.gateways, alone=self._contact.is_silent)
            if account.is_idle and name not in asked:
                del self._accounts[name]

    async def _counted(self) -> int:
        """How many gateways hold a lease on the first pool there is; all gateways have all pools."""
        names = self._pools()
        if not names:
            return 0
        found: list[bytes] = await self._store.command("ZRANGEBYSCORE", PoolKeys(names[0]).lease, "-inf", "+inf")
        return len({life_and_address(name.decode(errors="replace")) for name in found})


def _answer_none(questions: Sequence[_Question]) -> None:
    for question in questions:
        if not question.answer.done():
            question.answer.set_result(None)


def _now_s() -> float:
    return asyncio.get_running_loop().time()


def _now_ms() -> int:
    return round(_now_s() * 1000)
