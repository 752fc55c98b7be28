"""The odometer of a prefix cache, from what an engine counts."""

from __future__ import annotations

import pytest

from agent.metrics_page import parse_metrics
from agent.rank_state import computed_tokens, first_track, rank_report
from scheduler.messages import RankState, Role
from tests.agent.samples import engine, page_bytes
from tests.samples import card


def test_prompt_tokens_not_found_and_generated_ones_move_the_odometer() -> None:
    assert computed_tokens(engine(prefix_queries=100.0, prefix_hits=40.0, generation_tokens=7.0)) == 67


def test_a_fresh_engine_begins_at_zero() -> None:
    assert computed_tokens(engine()) == 0


@pytest.mark.parametrize(
    "changes", [{"prefix_queries": None}, {"prefix_queries": 0.0, "prompt_tokens": 9.0, "generation_tokens": 5.0}]
)
def test_an_engine_without_a_prefix_cache_has_none(changes: dict[str, float | None]) -> None:
    assert computed_tokens(engine(**changes)) is None


@pytest.mark.parametrize(("name", "tokens"), [("idle", 458 + 263), ("prefill_nixl", 2907 + 5)])
def test_a_real_page_tells(name: str, tokens: int) -> None:
    (sample,) = parse_metrics(page_bytes(name)).engines
    assert computed_tokens(sample) == tokens


@pytest.mark.parametrize("names", [(b"gpu_prefix_cache_queries", b"gpu_prefix_cache_hits")])
def test_old_names_are_read(names: tuple[bytes, bytes]) -> None:
    page = b'vllm:num_requests_running{engine="0"} 1\nvllm:%s{engine="0"} 30\nvllm:%s{engine="0"} 10\n' % names
    (sample,) = parse_metrics(page).engines
    assert (sample.prefix_queries, sample.prefix_hits) == (30, 10)


def test_tokens_that_need_not_be_computed_were_found_here_or_in_a_store() -> None:
    sample = engine(prefix_queries=100.0, prefix_hits=40.0, external_hits=7.0)
    report = rank_report(first_track("a", sample, None, 0.0, 1.0), card("a"), RankState.UP, 0.0)
    assert report.found_tokens == 47


def test_what_a_decode_rank_pulled_is_no_sign_of_its_cache() -> None:
    (sample,) = parse_metrics(page_bytes("decode_nixl")).engines
    assert sample.external_hits == 2907
    track = first_track("a", sample, None, 0.0, 1.0)
    assert rank_report(track, card("a", role=Role.DECODE), RankState.UP, 0.0).found_tokens == sample.prefix_hits
    assert rank_report(track, card("a"), RankState.UP, 0.0).found_tokens == sample.prefix_hits + 2907
