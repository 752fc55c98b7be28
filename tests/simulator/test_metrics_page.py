"""/metrics shows vLLM's families, names, labels and buckets, and moves only with the engine's steps."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.simulator.rank_process import RankProcess, eventually, request, running_rank

CAPTURES = Path(__file__).parent.parent / "data"
CAPTURED = (CAPTURES / "vllm" / "metrics.txt").read_text()
MEMORY = re.compile(r'kv_cache_(memory_bytes|max_concurrency)="[^"]*"')
ENGINE = '{engine="0",model_name="tiny"}'
NOT_SIMULATED = ("vllm:estimated_",)
"""Of the captured families, those that estimate the work of a GPU."""


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    options = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--kv-blocks", "32768")
    with running_rank(*options, "--max-num-seqs", "2") as process:
        yield process


def lines(page: str) -> set[str]:
    """The `vllm:` lines without their values."""
    found = {line if line.startswith("#") else line.rpartition(" ")[0] for line in page.splitlines() if "vllm:" in line}
    return {line for line in found if not any(name in line for name in NOT_SIMULATED)}


def test_the_page_has_the_captured_help_types_series_and_buckets(rank: RankProcess) -> None:
    reply = rank.get("/metrics")
    assert ("content-type", "text/plain; version=1.0.0; charset=utf-8") in reply.headers
    page = "\n".join(sorted(lines(reply.body.decode())))
    assert MEMORY.sub("", page) == MEMORY.sub("", "\n".join(sorted(lines(CAPTURED))))


@pytest.mark.parametrize("role", ["prefill", "decode"])
def test_the_page_of_each_role_has_the_captured_series_and_buckets(role: str) -> None:
    captured = (CAPTURES / "metrics" / f"vllm_0_32_{role}_nixl.txt").read_text()
    options = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--kv-blocks", "2048")
    with running_rank("--role", role, *options) as rank:
        page = rank.get("/metrics").body.decode()
    assert page.index("vllm:nixl_xfer_time_seconds") < page.index("vllm:num_requests_running")
    assert MEMORY.sub("", "\n".join(sorted(lines(page)))) == MEMORY.sub("", "\n".join(sorted(lines(captured))))


def test_the_page_tells_the_age_of_the_process(rank: RankProcess) -> None:
    page = rank.get("/metrics").body.decode()
    assert re.search(r"^process_start_time_seconds \d", page, re.MULTILINE)


def test_the_cache_configuration_gives_the_capacity_per_engine_and_the_blocks_of_all() -> None:
    with running_rank("--engines", "2", "--kv-blocks", "8192") as rank:
        found = list(rank.series("vllm:cache_config_info"))
    assert len(found) == 2
    for engine, labels in enumerate(found):
        assert f'engine="{engine}"' in labels
        assert 'kv_cache_size_tokens="131072"' in labels
        assert 'num_gpu_blocks="16384"' in labels
        assert 'block_size="16"' in labels


def test_running_and_waiting_are_what_the_last_step_saw(rank: RankProcess) -> None:
    asked = request("POST", "/v1/completions", {"prompt": "x" * 400, "max_tokens": 1900, "ignore_eos": True})
    clients = [rank.connect() for _ in range(5)]
    try:
        for client in clients:
            client.sendall(asked)
        eventually(lambda: rank.series("vllm:num_requests_waiting")[ENGINE] == 3)
        assert rank.series("vllm:num_requests_running")[ENGINE] == 2
        waiting = {
            '{engine="0",model_name="tiny",reason="capacity"}': 3,
            '{engine="0",model_name="tiny",reason="deferred"}': 0,
        }
        assert rank.series("vllm:num_requests_waiting_by_reason") == waiting
        assert 0 < rank.series("vllm:kv_cache_usage_perc")[ENGINE] < 0.1
        before = rank.series("vllm:iteration_tokens_total_count")[ENGINE]
        eventually(lambda: rank.series("vllm:iteration_tokens_total_count")[ENGINE] > before)
        rank.post("/sim/fault", {"kind": "freeze"})
        for client in clients:
            client.close()
        eventually(lambda: rank.state()["in_flight"] == 0)
        assert rank.series("vllm:num_requests_running")[ENGINE] == 2
        rank.post("/sim/fault", {"kind": "clear"})
        eventually(lambda: rank.series("vllm:num_requests_running")[ENGINE] == 0)
        assert rank.series("vllm:num_requests_waiting")[ENGINE] == 0
    finally:
        for client in clients:
            client.close()
