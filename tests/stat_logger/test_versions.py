"""Other releases of vLLM than the one it was written for: what they say otherwise, and what they say more."""

from pathlib import Path
from types import SimpleNamespace

import pytest
from forebay_stat_logger.logger import ForebayStatLogger
from forebay_stat_logger.pushing import Pushing

from agent.stat_push import merged, read_push
from tests.stat_logger.steps import iteration, iteration_0_11, load, load_0_11, taker


def test_the_oldest_vllm_that_loads_stat_loggers_is_pushed_as_its_page_has_it(path: Path, pushing: Pushing) -> None:
    ended = SimpleNamespace(num_prompt_tokens=100, prefill_time=0.5)
    hits = SimpleNamespace(queries=100, hits=40)
    with taker(path) as agent:
        pushing.record(load_0_11(num_waiting_reqs=4, prefix_cache_stats=hits), None, 3)
        pushing.record(load_0_11(num_waiting_reqs=4), iteration_0_11(num_prompt_tokens=100), 3)
        pushing.record(load_0_11(num_waiting_reqs=4), iteration_0_11(finished_requests=[ended, ended]), 3)
        *_, last = agent.raw()
    push = merged([read_push(last)])
    assert push is not None
    sample = push.sample
    assert (sample.waiting, sample.steps, sample.prompt_tokens, sample.generation_tokens) == (4, 2, 100, 2)
    # That page has no tokens computed, so the agent takes the hits off those of the prompts.
    assert (sample.prefill_requests, sample.prefill_tokens, sample.prefill_s) == (2, 100 + 100 - 40, 1.0)


def test_hits_of_requests_that_still_run_never_make_a_sum_negative(path: Path, pushing: Pushing) -> None:
    ended = SimpleNamespace(num_prompt_tokens=10, prefill_time=0.5)
    hits = SimpleNamespace(queries=1000, hits=900)
    with taker(path) as agent:
        pushing.record(load_0_11(prefix_cache_stats=hits), iteration_0_11(finished_requests=[ended]), 3)
        (push,) = agent.taken()
    assert push["finished_computed_tokens"] == 0


def test_an_error_in_it_ends_the_pushes_and_nothing_else(
    path: Path, logger: ForebayStatLogger, caplog: pytest.LogCaptureFixture
) -> None:
    with taker(path) as agent:
        logger.record(object(), None, engine_idx=4)
        logger.record(load(), iteration(), engine_idx=4)
        logger.log()
        logger.record_sleep_state(1)
        assert agent.taken() == []
    assert [record.getMessage() for record in caplog.records if record.levelname == "ERROR"] == [
        "forebay: this vLLM reports other things than the stat logger knows; it pushes no more"
    ]


def test_what_a_newer_vllm_says_beside_all_this_is_overlooked(path: Path, logger: ForebayStatLogger) -> None:
    with taker(path) as agent:
        logger.record(load(num_running_reqs=1), iteration(), mm_cache_stats=None, engine_idx=4, colour="blue")
        logger.record_sleep_state(1, 1, colour="blue")
        logger.record_admission_rejection("full", 4, colour="blue")
        assert [(push["engine"], push["running"]) for push in agent.taken()] == [(4, 1), (4, 1), (5, 0)]


def test_a_vllm_whose_configuration_is_shaped_otherwise_starts_without_pushes(caplog: pytest.LogCaptureFixture) -> None:
    logger = ForebayStatLogger(vllm_config=object(), engine_indexes=[0], colour="blue")
    logger.log_engine_initialized()
    logger.record(load(), iteration(), engine_idx=0)
    assert "it pushes no more" in caplog.text
