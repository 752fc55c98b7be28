"""The stepping engine in virtual time, and the same requests on it and on analytic ranks."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from random import Random
from typing import NamedTuple

from simulator.cluster.clock import EventQueue
from simulator.cluster.dp_group import DpGroup
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.rank_shape import RankShape
from simulator.cluster.request import SimRequest
from simulator.cluster.sequence import SimSequence
from simulator.engine import EngineCore
from simulator.model import prompt_states
from simulator.sequence import EngineRequest
from simulator.settings import RankSettings
from simulator.step import Step, TokenOut
from simulator.timing import timing_of
from simulator.transfer_params import RemoteKv


class Work(NamedTuple):
    """One request: when it comes, its prompt's ids and how many tokens it generates."""

    arrival_s: float
    prompt: list[int]
    output_tokens: int


class Times(NamedTuple):
    """When a request had its first and its last token, and how many tokens of its prompt were known."""

    first_token_s: float
    finished_s: float
    cached_tokens: int


def some_work(
    seed: int, count: int, *, mean_gap_s: float, prompt: tuple[int, int], output: tuple[int, int]
) -> list[Work]:
    """Random work; half of the prompts begin as one of three others do, and each ends as no other does."""
    chance = Random(seed)
    beginnings = [[1_000 * n + i for i in range(prompt[1])] for n in range(1, 4)]
    works, now_s = [], 0.0
    for number in range(count):
        now_s += chance.expovariate(1 / mean_gap_s)
        tokens = chance.randint(*prompt)
        shared = chance.choice(beginnings)[: chance.randint(0, tokens - 1)] if chance.random() < 0.5 else []
        own = [100_000 + 1_000 * number + i for i in range(tokens - len(shared))]
        works.append(Work(now_s, shared + own, chance.randint(*output)))
    return works


class SteppingEngine:
    """`simulator.engine`, each step an event; what comes while one is under way waits for the next."""

    def __init__(self, queue: EventQueue, settings: RankSettings) -> None:
        self.core = EngineCore(settings)
        self.settings = settings
        self.preemptions = 0
        self._queue = queue
        self._is_stepping = False
        self._tell: dict[int, Callable[[TokenOut], None]] = {}
        self._pull: dict[int, Callable[[int], None]] = {}

    def submit(self, request: EngineRequest, tell: Callable[[TokenOut], None], pull: Callable[[int], None]) -> None:
        self._tell[request.request_id], self._pull[request.request_id] = tell, pull
        self.core.add(request)
        self.wake()

    def wake(self) -> None:
        if not self._is_stepping and (step := self.core.step(self._queue.now_s)) is not None:
            self._is_stepping = True
            self.preemptions += step.preemptions
            for order in step.pulls:
                self._pull[order.request_id](len(order.block_ids))
            self._queue.at(step.end_s, partial(self._end, step))

    def _end(self, step: Step) -> None:
        for out in step.outputs:
            self._tell[out.sequence.request.request_id](out)
        self._is_stepping = False
        self.wake()


class _Pair(ABC):
    """Two engines, or one where there is no second; `times` of what they have answered, by number."""

    def __init__(self) -> None:
        self.queue = EventQueue()
        self.times: dict[int, Times] = {}
        self._first_token_s: dict[int, float] = {}

    def run(self, works: Sequence[Work]) -> dict[int, Times]:
        """Has all of them answered, each from its arrival on."""
        for number, work in enumerate(works):
            self.queue.at(work.arrival_s, partial(self._arrive, number, work))
        self.queue.run()
        assert self.times.keys() == set(range(len(works)))
        return self.times

    @abstractmethod
    def _arrive(self, number: int, work: Work) -> None: ...


class SteppedPair(_Pair):
    """Both legs of each request on two stepping engines, or one leg on the first where there is no second."""

    def __init__(self, settings: RankSettings, decode: RankSettings | None) -> None:
        super().__init__()
        self.first = SteppingEngine(self.queue, settings)
        self.second = SteppingEngine(self.queue, decode) if decode else None
        self._cached: dict[int, int] = {}

    def _arrive(self, number: int, work: Work) -> None:
        tell = partial(self._prefilled if self.second else self._answered, number, work)
        self.first.submit(self._request(number, work, None), tell, _no_pull)

    def _request(self, number: int, work: Work, pull: RemoteKv | None) -> EngineRequest:
        keys, state = prompt_states(work.prompt, self.first.settings.block_size_tokens)
        is_first_leg = self.second is not None and pull is None
        return EngineRequest(
            request_id=number,
            prompt_tokens=len(work.prompt),
            block_keys=tuple(keys),
            state=state,
            last_token=work.prompt[-1],
            max_tokens=1 if is_first_leg else work.output_tokens,
            arrival_s=work.arrival_s,
            ignore_eos=True,
            kv_request_id=str(number) if is_first_leg else "",
            pull=pull,
        )

    def _prefilled(self, number: int, work: Work, out: TokenOut) -> None:
        assert self.second
        self._cached[number] = out.sequence.cached_tokens
        held = self.first.core.held.find(str(number))
        assert held
        remote = RemoteKv("p", str(number), "", 0, tuple(held.blocks))
        request = self._request(number, work, remote)
        self.second.submit(request, partial(self._answered, number, work), partial(self._fetch, number))

    def _fetch(self, number: int, blocks: int) -> None:
        settings = self.first.settings
        transfer_s = timing_of(settings).kv_transfer_s(blocks * settings.block_size_tokens)
        self.queue.after(transfer_s, partial(self._fetched, number, blocks))

    def _fetched(self, number: int, blocks: int) -> None:
        assert self.second
        held = self.first.core.held.find(str(number))
        assert held
        contents = self.first.core.kv.held(held.blocks[-blocks:])
        self.first.core.release_held(str(number))
        self.first.wake()
        self.second.core.loaded(number, contents)
        self.second.wake()

    def _answered(self, number: int, work: Work, out: TokenOut) -> None:
        if out.nth == 1:
            self._first_token_s[number] = self.queue.now_s
        if out.finish:
            cached = self._cached.get(number, out.sequence.cached_tokens)
            self.times[number] = Times(self._first_token_s[number], self.queue.now_s, cached)


class AnalyticPair(_Pair):
    """The same on analytic ranks."""

    def __init__(self, settings: RankSettings, decode: RankSettings | None) -> None:
        super().__init__()
        self.settings = settings
        self.first = AnalyticRank("first", shape_of(settings))
        self.second = AnalyticRank("second", shape_of(decode)) if decode else None
        self.first_group = DpGroup(self.queue, [self.first])
        self.second_group = DpGroup(self.queue, [self.second]) if self.second else None
        self._prefilled: dict[int, SimSequence] = {}

    def _arrive(self, number: int, work: Work) -> None:
        request = sim_request(number, work, self.settings.block_size_tokens)
        is_pair = self.second is not None
        tokens = 1 if is_pair else work.output_tokens
        self.first_group.submit(self.first, SimSequence(request, tokens, self, holds=is_pair))

    def fetch_begins(self, sequence: SimSequence, tokens: int) -> None:
        transfer_s = timing_of(self.settings).kv_transfer_s(tokens)
        self.queue.after(transfer_s, partial(self._fetched, sequence))

    def _fetched(self, sequence: SimSequence) -> None:
        assert self.second
        assert self.second_group
        self.first_group.release(self.first, self._prefilled[sequence.request.number])
        self.second_group.loaded(self.second, sequence)

    def first_token(self, sequence: SimSequence) -> None:
        self._first_token_s[sequence.request.number] = self.queue.now_s

    def finished(self, sequence: SimSequence) -> None:
        number, request = sequence.request.number, sequence.request
        if sequence.holds:
            assert self.second
            assert self.second_group
            self._prefilled[number] = sequence
            self.second_group.submit(self.second, SimSequence(request, request.output_tokens, self, fetches=True))
        else:
            cached = self._prefilled.get(number, sequence).cached_tokens
            self.times[number] = Times(self._first_token_s[number], self.queue.now_s, cached)


def sim_request(number: int, work: Work, block_tokens: int) -> SimRequest:
    keys, _ = prompt_states(work.prompt, block_tokens)
    return SimRequest(
        number=number,
        arrival_s=work.arrival_s,
        prompt_tokens=len(work.prompt),
        output_tokens=work.output_tokens,
        blocks=tuple(keys),
    )


def shape_of(settings: RankSettings) -> RankShape:
    return RankShape(
        timing=timing_of(settings),
        max_num_seqs=settings.max_num_seqs,
        max_num_batched_tokens=settings.max_num_batched_tokens,
        kv_blocks=settings.kv_blocks,
        block_tokens=settings.block_size_tokens,
    )


def _no_pull(_blocks: int) -> None:
    raise AssertionError("nothing is to be pulled")
