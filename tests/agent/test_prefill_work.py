"""The prefill rate of ranks that decode too: the simulated engine in virtual time, seen as an agent sees it."""

from itertools import pairwise
from random import Random
from typing import NamedTuple

import msgspec
import pytest

from agent.metrics_page import EngineSample
from agent.prefill_rate import PrefillRate, learn
from agent.prefill_work import Piece, PrefillWork
from simulator.engine import EngineCore
from simulator.engine_stats import EngineStats
from simulator.settings import RankSettings
from tests.agent.samples import engine
from tests.simulator.engines import request

SAMPLED_S = 0.5
PRIOR = 8000.0
RATE = 5000.0
BLOCK_TOKENS = 64


class Load(NamedTuple):
    """Requests of one kind, which come at random."""

    prompt_tokens: int
    output_tokens: int
    rps: float
    requests: int = 100


def page(stats: EngineStats) -> EngineSample:
    """What an agent reads of these counters."""
    return engine(
        running=stats.running,
        waiting=stats.waiting,
        steps=float(sum(stats.iteration_tokens.counts)),
        prompt_tokens=float(stats.prompt_tokens),
        generation_tokens=float(stats.generation_tokens),
        prefill_requests=float(sum(stats.request_prefill_time_s.counts)),
        prefill_tokens=float(stats.request_prefill_kv_computed_tokens.sum),
        prefill_s=stats.request_prefill_time_s.sum,
        prefix_queries=float(stats.prefix_queries_tokens),
        prefix_hits=float(stats.prefix_hits_tokens),
    )


def seen(load: Load, seed: int = 1) -> list[EngineSample]:
    """The pages of a rank under this load, one each SAMPLED_S; a step is on them when it has ended."""
    settings = RankSettings(
        prefill_tokens_per_s=RATE,
        decode_step_ms=20,
        decode_ms_per_seq=2,
        block_size_tokens=BLOCK_TOKENS,
        kv_blocks=8192,
    )
    core, stats, chance = EngineCore(settings), EngineStats(settings.max_model_len), Random(seed)
    arrivals_s = [0.0]
    for _ in range(load.requests - 1):
        arrivals_s.append(arrivals_s[-1] + chance.expovariate(load.rps))
    pages, came, now_s = [page(stats)], 0, 0.0
    while came < load.requests or core.unfinished:
        while came < load.requests and arrivals_s[came] <= now_s:
            prompt = [1_000_000 * came + place for place in range(load.prompt_tokens)]
            core.add(request(came, prompt, load.output_tokens, BLOCK_TOKENS, arrival_s=arrivals_s[came]))
            came += 1
        step = core.step(now_s)
        now_s = step.end_s if step else arrivals_s[came]
        while len(pages) * SAMPLED_S < now_s:
            pages.append(page(stats))
        if step:
            stats.record(step)
    return pages


def learned(load: Load, seed: int = 1) -> float:
    known, pages = PrefillRate(prior_tokens_per_s=PRIOR), seen(load, seed)
    for before, after in pairwise(pages):
        known = learn(known, before, after, SAMPLED_S)
    return known.tokens_per_s


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize(
    "load",
    [
        pytest.param(
            Load(7200, 60, 2.0, requests=40), id="prompts that hold up all answers, so that many end together"
        ),
        pytest.param(Load(7200, 50, 0.6), id="long prompts"),
        pytest.param(Load(7200, 50, 0.1, requests=40), id="long prompts now and then"),
        pytest.param(Load(20_000, 100, 0.2, requests=60), id="prompts of several steps"),
        pytest.param(Load(2000, 300, 2.0), id="answers that last for several seconds"),
        pytest.param(Load(1000, 20, 4.0), id="several answers in a sample"),
        pytest.param(Load(7200, 1, 1.0, requests=40), id="a prefill rank whose steps hold two prompts"),
    ],
)
def test_the_rate_is_what_steps_that_prefill_do(load: Load, seed: int) -> None:
    tokens = min(load.prompt_tokens, 8192)
    alone = tokens / (0.020 + tokens / RATE)
    # Beside it others decode: 64 of them are 22 ms a step.
    assert 0.75 * alone < learned(load, seed) < 1.35 * alone


def test_finished_tokens_are_charged_the_oldest_seconds() -> None:
    work = PrefillWork(pieces=(Piece(100.0, 1.0, True), Piece(100.0, 3.0, False)))
    done, left = work.finish(150.0, 9.0, is_idle=False)
    assert done == (150.0, 1.0 + 1.5, False)
    assert left.pieces == ((50.0, 1.5, False),)


def test_what_nobody_saw_admitted_took_its_part_of_the_whole() -> None:
    done, left = PrefillWork(pieces=(Piece(100.0, 1.0, True),)).finish(400.0, 8.0, is_idle=False)
    assert done == (400.0, 1.0 + 6.0, True)
    assert left.pieces == ()


def test_nothing_is_left_on_an_idle_rank() -> None:
    _, left = PrefillWork(pieces=(Piece(100.0, 1.0, True),)).finish(0.0, 0.0, is_idle=True)
    assert left.pieces == ()


def test_a_long_step_counts_from_its_beginning() -> None:
    busy = engine(running=3, steps=5.0)
    ended = engine(running=3, steps=6.0, prefix_queries=9000.0, prompt_tokens=9000.0)
    work = PrefillWork()
    for _ in range(3):
        work = work.admit(busy, busy, 0.5)
    assert work.admit(busy, ended, 0.5).pieces == ((9000.0, 2.0, True),)
    assert work.admit(engine(), engine(), 0.5).quiet_s == 0.0


def test_a_rank_that_only_decodes_works_on_no_prompts() -> None:
    before, after = engine(running=3, steps=5.0), engine(running=3, steps=60.0)
    assert PrefillWork(quiet_s=1.0).admit(before, after, 0.5) == PrefillWork()


def test_without_a_prefix_cache_prompts_count_when_they_have_their_first_token() -> None:
    before = engine(running=1, prefix_queries=None)
    after = engine(running=1, steps=1.0, prefix_queries=None, prompt_tokens=700.0)
    assert PrefillWork().admit(before, after, 0.5).pieces == ((700.0, 0.5, True),)


def test_a_prompt_of_several_steps_is_worked_on_while_others_get_tokens() -> None:
    begun = engine(running=3, steps=5.0, prefix_queries=20_000.0)
    amid = engine(running=3, steps=6.0, prefix_queries=20_000.0)
    ended = engine(running=3, steps=7.0, prefix_queries=20_000.0, prompt_tokens=20_000.0)
    work = PrefillWork().admit(engine(running=3, steps=4.0), begun, 0.5)
    work = work.admit(begun, amid, 0.5).admit(amid, ended, 0.5)
    assert work.pieces == ((20_000.0, 1.5, True),)
    assert work.admit(ended, msgspec.structs.replace(ended, steps=40.0), 0.5) == work


def test_a_prompt_whose_client_left_is_not_worked_on_for_ever() -> None:
    left = engine(prefix_queries=20_000.0)
    decoding = engine(running=1, steps=1.0, prefix_queries=20_000.0)
    work = PrefillWork().admit(engine(running=1, prefix_queries=20_000.0), left, 0.5)
    assert work.stranded_tokens == 20_000.0
    assert work.admit(decoding, msgspec.structs.replace(decoding, steps=40.0), 0.5).pieces == work.pieces
