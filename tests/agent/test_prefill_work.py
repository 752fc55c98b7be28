"""Which seconds went into prompts: on the simulated engine in virtual time, and page by page."""

from itertools import pairwise

import msgspec
import pytest

from agent.prefill_rate import PrefillRate, learn
from agent.prefill_work import Piece, PrefillWork
from tests.agent.engine_pages import SAMPLED_S, Load, seen
from tests.agent.samples import engine


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
        pytest.param(Load(600, 50, 0.1, rate=800, spread=True), id="prompts that come to an idle rank"),
        pytest.param(Load(7200, 1, 1.0, requests=40), id="a prefill rank whose steps hold two prompts"),
        pytest.param(Load(600, 1, 4.0, spread=True), id="a prefill rank with short prompts, idle at each step's end"),
        pytest.param(Load(600, 1, 0.6, rate=800, spread=True), id="a prefill rank with steps longer than a sample"),
        pytest.param(Load(600, 50, 0.3, pulled_rps=1.0, rate=800, spread=True), id="a decode rank that prefills too"),
        pytest.param(Load(600, 50, 0.6, pulled_rps=1.0, rate=800, spread=True), id="one that prefills much"),
        pytest.param(Load(1000, 50, 0.5, pulled_rps=2.0), id="one whose prompts take half a sample"),
    ],
)
def test_the_rate_is_what_steps_that_prefill_do(load: Load, seed: int) -> None:
    pages, tokens_per_s = seen(load, seed)
    known = PrefillRate(prior_tokens_per_s=1.6 * tokens_per_s)
    for before, after in pairwise(pages):
        known = learn(known, before, after, SAMPLED_S)
    assert 0.75 * tokens_per_s < known.tokens_per_s < 1.3 * tokens_per_s


def test_finished_tokens_are_charged_the_oldest_seconds() -> None:
    work = PrefillWork(pieces=(Piece(100.0, 1.0), Piece(100.0, 3.0)))
    done, left = work.finish(150.0, 9.0, is_idle=False)
    assert done == (150.0, 1.0 + 1.5, 1.5)
    assert left.pieces == ((50.0, 1.5),)


def test_what_nobody_saw_admitted_took_its_part_of_the_whole() -> None:
    done, left = PrefillWork(pieces=(Piece(100.0, 1.0),)).finish(400.0, 8.0, is_idle=False)
    assert done == (400.0, 1.0 + 6.0, 1.0)
    assert left.pieces == ()


def test_what_nobody_saw_admitted_is_left_out_where_the_whole_is_not_known() -> None:
    done, _ = PrefillWork(pieces=(Piece(100.0, 1.0),)).finish(400.0, None, is_idle=False)
    assert done == (100.0, 1.0, 1.0)


def test_nothing_is_left_on_an_idle_rank() -> None:
    _, left = PrefillWork(pieces=(Piece(100.0, 1.0),)).finish(0.0, 0.0, is_idle=True)
    assert left.pieces == ()


def test_a_long_step_counts_from_its_beginning() -> None:
    busy = engine(running=3, steps=5.0)
    ended = engine(running=3, steps=6.0, prefix_queries=9000.0, prompt_tokens=9000.0)
    work = PrefillWork()
    for _ in range(3):
        work = work.admit(busy, busy, 0.5)
    assert work.admit(busy, ended, 0.5).pieces == ((9000.0, 2.0),)


def test_a_step_that_an_idle_rank_began_unseen_took_as_long_as_its_prompt_waited() -> None:
    ended = engine(running=1, steps=1.0, prefix_queries=900.0, prompt_tokens=900.0, first_tokens=1.0, first_token_s=1.2)
    work = PrefillWork()
    for _ in range(5):
        work = work.admit(engine(), engine(), 0.5)
    assert work.admit(engine(), ended, 0.5).pieces == ((900.0, 1.2),)


def test_on_a_prefill_rank_prompts_that_shared_a_step_took_it_once() -> None:
    ended = engine(
        steps=1.0,
        prefix_queries=900.0,
        prompt_tokens=900.0,
        generation_tokens=3.0,
        first_tokens=3.0,
        first_token_s=1.5,
        prefill_requests=3.0,
        prefill_s=1.2,
    )
    work = PrefillWork().admit(engine(), engine(), 0.5)
    assert work.admit(engine(), ended, 0.5).pieces[0].seconds == pytest.approx(0.4)


def test_steps_that_only_decode_are_not_counted() -> None:
    busy = engine(running=3)
    decoded = msgspec.structs.replace(busy, steps=20.0)
    prefilled = msgspec.structs.replace(busy, steps=29.0, prefix_queries=900.0, prompt_tokens=900.0)
    work = PrefillWork().admit(busy, decoded, 0.5)
    assert work.admit(decoded, prefilled, 0.5).pieces[0].seconds == pytest.approx(0.5 - 8 * 0.025)


def test_pulled_tokens_are_no_work() -> None:
    before = engine(running=3, steps=5.0, local_tokens=0.0)
    waiting = engine(running=3, steps=15.0, local_tokens=0.0, prefix_queries=4000.0, external_hits=4000.0)
    pulled = msgspec.structs.replace(waiting, steps=25.0, prompt_tokens=4000.0, first_tokens=1.0)
    assert PrefillWork().admit(before, waiting, 0.5).admit(waiting, pulled, 0.5).pieces == ()


def test_a_rank_that_only_decodes_works_on_no_prompts() -> None:
    before, after = engine(running=3, steps=5.0), engine(running=3, steps=60.0)
    work = PrefillWork(open_s=1.0).admit(before, after, 0.5)
    assert (work.pieces, work.open_s) == ((), 0.0)


def test_without_a_prefix_cache_prompts_count_when_they_have_their_first_token() -> None:
    before = engine(running=1, prefix_queries=None)
    after = engine(running=1, steps=1.0, prefix_queries=None, prompt_tokens=700.0)
    assert PrefillWork().admit(before, after, 0.5).pieces == ((700.0, 0.5),)


def test_a_prompt_of_several_steps_is_worked_on_while_others_get_tokens() -> None:
    begun = engine(running=3, steps=5.0, prefix_queries=20_000.0)
    amid = engine(running=3, steps=6.0, prefix_queries=20_000.0)
    ended = engine(running=3, steps=7.0, prefix_queries=20_000.0, prompt_tokens=20_000.0)
    work = PrefillWork().admit(engine(running=3, steps=4.0), begun, 0.5)
    work = work.admit(begun, amid, 0.5).admit(amid, ended, 0.5)
    assert work.pieces == ((20_000.0, 1.5),)
    assert work.admit(ended, msgspec.structs.replace(ended, steps=40.0), 0.5).pieces == work.pieces


def test_a_prompt_whose_client_left_is_not_worked_on_for_ever() -> None:
    left = engine(prefix_queries=20_000.0)
    decoding = engine(running=1, steps=1.0, prefix_queries=20_000.0)
    work = PrefillWork().admit(engine(running=1, prefix_queries=20_000.0), left, 0.5)
    assert work.stranded_tokens == 20_000.0
    assert work.admit(decoding, msgspec.structs.replace(decoding, steps=40.0), 0.5).pieces == work.pieces
