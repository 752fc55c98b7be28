"""What the stat logger pushes, and that it never waits."""

import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from forebay_stat_logger.logger import ForebayStatLogger
from forebay_stat_logger.pushing import Pushing
from forebay_stat_logger.sender import socket_path

from agent.stat_push import merged, read_push
from agent.stat_socket import default_path
from tests.polling import until
from tests.stat_logger.steps import iteration, load, taker


def test_each_step_is_one_datagram_that_has_all_sums_so_far(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        for _ in range(2):
            pushing.record(load(num_running_reqs=2, kv_cache_usage=0.25), iteration(num_generation_tokens=2), 3)
        first, second = agent.taken()
    assert (first["engine"], first["running"], first["kv_usage"]) == (3, 2, 0.25)
    assert [push["generation_tokens"] for push in (first, second)] == [2, 4]
    assert [push["seq"] for push in (first, second)] == [0, 1]


def test_the_agent_reads_of_a_push_what_vllm_counted(path: Path, pushing: Pushing) -> None:
    ended = SimpleNamespace(num_prompt_tokens=100, num_cached_tokens=40, prefill_time=0.5)
    with taker(path) as agent:
        pushing.record(
            load(
                num_running_reqs=3,
                num_waiting_reqs=4,
                num_skipped_waiting_reqs=5,
                kv_cache_usage=0.75,
                prefix_cache_stats=SimpleNamespace(queries=100, hits=32),
                connector_prefix_cache_stats=SimpleNamespace(queries=68, hits=8),
            ),
            iteration(
                num_generation_tokens=7,
                num_preempted_reqs=2,
                prompt_token_stats=SimpleNamespace(total=100, computed=60),
                time_to_first_tokens_iter=[0.25, 0.5],
                finished_requests=[ended],
            ),
            3,
        )
        (datagram,) = agent.raw()
    push = merged([read_push(datagram)])
    assert push is not None
    sample = push.sample
    assert (sample.engine, sample.running, sample.waiting, sample.kv_usage, sample.awake) == ("3", 3, 9, 0.75, True)
    assert (sample.steps, sample.generation_tokens) == (1, 7)
    assert (sample.prompt_tokens, sample.local_tokens) == (100, 60)
    assert (sample.first_tokens, sample.first_token_s) == (2, 0.75)
    assert (sample.prefix_queries, sample.prefix_hits, sample.external_hits) == (100, 32, 8)
    # As read from a page: pulled tokens are taken off the computed ones.
    assert (sample.prefill_requests, sample.prefill_tokens, sample.prefill_s) == (1, 100 - 40 - 8, 0.5)


def test_a_step_without_a_token_is_no_iteration_and_one_without_gauges_keeps_them(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        pushing.record(load(num_running_reqs=2), None, 3)
        pushing.record(None, iteration(), 3)
        first, second = agent.taken()
    assert (first["steps"], first["running"]) == (0, 2)
    assert (second["steps"], second["running"]) == (1, 2)
    assert second["load_at_ns"] == first["at_ns"] < second["at_ns"]


def test_without_an_agent_nothing_is_waited_for_and_all_is_told_once_there_is_one(path: Path, pushing: Pushing) -> None:
    for _ in range(10):
        pushing.record(load(), iteration(), 3)
    with taker(path) as agent:
        pushing.record(load(), iteration(), 3)
        (push,) = agent.taken()
    assert (push["steps"], push["seq"], push["dropped"]) == (11, 10, 10)


def test_an_agent_that_was_restarted_is_found_again(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        pushing.record(load(), iteration(), 3)
        assert len(agent.taken()) == 1
    pushing.record(load(), iteration(), 3)
    with taker(path) as agent:
        pushing.record(load(), iteration(), 3)
        (push,) = agent.taken()
    assert (push["steps"], push["dropped"]) == (3, 1)


def test_an_agent_that_reads_nothing_makes_pushes_drop_and_not_wait(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        for _ in range(5_000):
            pushing.record(load(), iteration(), 3)
        taken = agent.taken()
        pushing.record(load(), iteration(), 3)
        (last,) = agent.taken()
    assert 0 < len(taken) < 5_000
    assert (last["steps"], last["dropped"]) == (5_001, 5_000 - len(taken))


async def test_what_a_busy_agent_could_not_take_last_it_is_told_soon_after(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        for _ in range(5_000):
            pushing.record(load(), iteration(), 3)
        taken = agent.taken()

        def is_told() -> bool:
            taken.extend(agent.taken())
            return bool(taken[-1]["steps"] == 5_000)

        await until(is_told, "the last step is told")


def test_the_last_state_is_pushed_again_with_the_time_that_it_has(path: Path, logger: ForebayStatLogger) -> None:
    with taker(path) as agent:
        logger.record(load(num_running_reqs=1), iteration(), engine_idx=4)
        logger.log()
        first, again, _ = agent.taken()
    assert {**again, "seq": first["seq"]} == first
    assert again["seq"] == first["seq"] + 1


def test_each_engine_behind_a_port_is_pushed_by_its_own_index(path: Path, logger: ForebayStatLogger) -> None:
    with taker(path) as agent:
        logger.record(load(num_running_reqs=1), iteration(), engine_idx=5)
        logger.record(load(num_running_reqs=2), iteration(), engine_idx=4)
        logger.record(load(num_running_reqs=9), iteration(), engine_idx=6)
        taken = agent.taken()
    assert [(push["engine"], push["running"]) for push in taken] == [(5, 1), (4, 2)]


def test_engines_that_sleep_say_so_and_that_they_woke_up(path: Path, logger: ForebayStatLogger) -> None:
    with taker(path) as agent:
        logger.record_sleep_state(1, 1)
        logger.record_sleep_state(0, 3)
        taken = agent.taken()
    assert [push["awake"] for push in taken] == [0, 0, 1, 1]
    # An idle engine has no step that would make this newer than what is known of it.
    assert [push["at_ns"] for push in taken] == [push["awake_at_ns"] for push in taken]
    assert 0 < taken[1]["at_ns"] < taken[2]["at_ns"]


def test_the_socket_is_the_variables_else_one_of_this_users(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("FOREBAY_STAT_SOCKET", raising=False)
    assert socket_path() == str(default_path())
    monkeypatch.setenv("FOREBAY_STAT_SOCKET", "/run/forebay.sock")
    assert socket_path() == "/run/forebay.sock"


def test_times_are_of_the_monotonic_clock_that_the_whole_host_has(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        before_ns = time.monotonic_ns()
        pushing.record(load(), iteration(), 3)
        (push,) = agent.taken()
    assert before_ns <= push["at_ns"] <= time.monotonic_ns()
