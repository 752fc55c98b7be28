"""What a load test sends, and when."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import islice
from pathlib import Path
from random import Random
from typing import TypeVar

import msgspec

from forebay.load_test.conversations import Conversation, conversations, is_conversations
from forebay.load_test.prompts import TokenScale, prose
from forebay.load_test.settings import RANDOM, LoadTestSettings
from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.errors import TraceError
from simulator.cluster.workloads.trace import read_trace

OUTPUT_TOKENS = 128


class Planned(msgspec.Struct, frozen=True):
    """One request: when it is due, in seconds from the start, its chat, and how many tokens it asks for."""

    due_s: float
    messages: list[dict[str, str]]
    output_tokens: int


Item = TypeVar("Item", SimRequest, Conversation)


class Workload(msgspec.Struct, frozen=True):
    """So many requests; `planned` makes each when it is its turn, since a long test's would not fit into memory.

    `is_timed`: each has a time of its own at which it is due; else all are from the start on.
    """

    count: int
    planned: Callable[[TokenScale], Iterator[Planned]]
    is_timed: bool


def workload(settings: LoadTestSettings) -> Workload:
    """The workload that the options describe, its file read. Raises TraceError."""
    limit, has_rate = settings.num_prompts, settings.request_rate > 0
    if settings.dataset == RANDOM:
        return Workload(limit, lambda scale: _random(settings, scale), is_timed=has_rate)
    path = Path(settings.dataset)
    if is_conversations(path):
        spoken = list(islice(conversations(path), limit))
        if not spoken:
            raise TraceError(str(path), None, "there is no conversation in it")
        return Workload(len(spoken), lambda _: _spoken(settings, spoken), is_timed=has_rate)
    traced = read_trace(path, Random(f"{settings.seed} ticks"))[:limit]
    return Workload(len(traced), lambda scale: _traced(settings, traced, scale), is_timed=True)


def warm_up(settings: LoadTestSettings, scale: TokenScale) -> list[Planned]:
    """Requests like those of the test, all due at once. Their prompts are their own, so that no cache knows the test's.

    Raises TraceError.
    """
    own = msgspec.structs.replace(settings, num_prompts=max(1, settings.warmup), request_rate=0.0)
    chance = Random(f"{settings.seed} warm-up")
    found = []
    for planned in islice(workload(own).planned(scale), settings.warmup):
        opening = {"role": "user", "content": f"{prose(chance, 8)} {planned.messages[0]['content']}"}
        found.append(msgspec.structs.replace(planned, due_s=0.0, messages=[opening, *planned.messages[1:]]))
    return found


def arrivals_s(settings: LoadTestSettings) -> Iterator[float]:
    """Times of a Poisson process of the rate asked for; all 0 without one."""
    chance = Random(f"{settings.seed} arrivals")
    now_s = 0.0
    while True:
        yield now_s
        if settings.request_rate:
            now_s += chance.expovariate(settings.request_rate)


def _random(settings: LoadTestSettings, scale: TokenScale) -> Iterator[Planned]:
    chance = Random(f"{settings.seed} prompts")
    words = scale.words(settings.input_tokens)
    for due_s in islice(arrivals_s(settings), settings.num_prompts):
        yield Planned(due_s, _said(prose(chance, words)), settings.output_tokens or OUTPUT_TOKENS)


def _spoken(settings: LoadTestSettings, spoken: list[Conversation]) -> Iterator[Planned]:
    for due_s, each in zip(arrivals_s(settings), spoken, strict=False):
        yield Planned(due_s, each.messages, settings.output_tokens or each.output_tokens or OUTPUT_TOKENS)


def _traced(settings: LoadTestSettings, traced: list[SimRequest], scale: TokenScale) -> Iterator[Planned]:
    """Equal blocks of a trace become equal text, so that what its requests shared these share, too."""
    words_of_block = scale.words(BLOCK_TOKENS + round(scale.fixed))
    times = arrivals_s(settings) if settings.request_rate else (each.arrival_s - traced[0].arrival_s for each in traced)
    for due_s, request in zip(times, traced, strict=False):
        shared = [prose(Random(block), words_of_block) for block in request.blocks]
        rest = request.prompt_tokens - BLOCK_TOKENS * len(request.blocks)
        if rest > 0 or not shared:
            own = Random(f"{settings.seed} request {request.number}")
            shared.append(prose(own, scale.words(max(1, rest) + (round(scale.fixed) if request.blocks else 0))))
        yield Planned(due_s, _said(" ".join(shared)), settings.output_tokens or request.output_tokens)


def _said(text: str) -> list[dict[str, str]]:
    return [{"role": "user", "content": text}]
