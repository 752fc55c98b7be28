"""FastDeploy's engines as mixed ranks: their names in /metrics, what they do not answer, where their page is.

The pages are written after FastDeploy's sources of 2025 (fastdeploy/metrics/metrics.py); none was captured.
"""

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest

from agent.errors import DiscoveryError, PageError
from agent.evidence import Answered, Broken
from agent.metrics_page import EngineSample, parse_metrics
from agent.prefill_rate import PrefillRate, learn
from agent.probe import Probe, open_http
from agent.progress import progress, stands_still
from scheduler.messages import RankState, Role
from tests.agent.fakes import ScriptedRank, http, scripted_rank
from tests.agent.running_node import node_of
from tests.agent.samples import settings

MODELS = b'{"object":"list","data":[{"id":"ernie","object":"model","max_model_len":32768,"permission":[{}]}]}'
FASTDEPLOY: dict[str, Any] = {"role": Role.MIXED, "model": "ernie", "max_num_seqs": 64}


def page_of(running: float = 3, generated: float = 700, usage: float = 0.25) -> bytes:
    """A page of one engine whose 256 blocks have 64 tokens each."""
    return f"""# HELP fastdeploy:generation_tokens_total Total number of generation tokens processed
# TYPE fastdeploy:generation_tokens_total counter
fastdeploy:generation_tokens_total {generated}
fastdeploy:prompt_tokens_total 4096.0
fastdeploy:request_prompt_tokens_sum 4096.0
fastdeploy:request_prefill_time_seconds_count 10.0
fastdeploy:request_prefill_time_seconds_sum 0.002
fastdeploy:time_to_first_token_seconds_count 10.0
fastdeploy:time_to_first_token_seconds_sum 1.5
fastdeploy:cache_config_info{{block_size="64",cache_dtype="bfloat16",enable_prefix_caching="True"}} 1.0
fastdeploy:num_requests_running {running}
fastdeploy:num_requests_waiting 2.0
fastdeploy:gpu_cache_usage_perc {usage}
fastdeploy:max_gpu_block_num 256.0
fastdeploy:max_batch_size 64.0
""".encode()


def sample_of(**about: float) -> EngineSample:
    [engine] = parse_metrics(page_of(**about)).engines
    return engine


@pytest.fixture
async def rank() -> AsyncIterator[ScriptedRank]:
    answers: dict[str, bytes | None] = {
        "/health": http(200),
        "/metrics": http(200, page_of()),
        "/v1/models": http(200, MODELS),
    }
    async with scripted_rank(answers) as rank:
        yield rank


@pytest.fixture
async def client() -> AsyncIterator[httpx.AsyncClient]:
    async with open_http() as client:
        yield client


def probe_of(client: httpx.AsyncClient, rank: ScriptedRank, **options: Any) -> Probe:
    return Probe(client, f"http://127.0.0.1:{rank.port}", settings(**FASTDEPLOY | options))


def test_the_load_is_read_by_fastdeploys_names() -> None:
    page = parse_metrics(page_of())
    [engine] = page.engines
    assert page.is_fastdeploy
    assert (engine.running, engine.waiting, engine.kv_usage) == (3, 2, 0.25)
    assert (engine.prompt_tokens, engine.generation_tokens, engine.first_tokens) == (4096, 700, 10)
    assert engine.cache is not None
    assert (engine.cache.capacity_tokens, engine.cache.block_size) == (256 * 64, 64)


def test_a_page_of_vllm_is_none_of_fastdeploys() -> None:
    assert not parse_metrics(page_of().replace(b"fastdeploy:", b"vllm:")).is_fastdeploy


def test_another_servers_page_is_none() -> None:
    with pytest.raises(PageError):
        parse_metrics(page_of().replace(b"fastdeploy:", b"sglang:"))


@pytest.mark.parametrize("blocks", [b"0.0", b"NaN", b"1e15"])
def test_a_capacity_that_is_none_is_unknown(blocks: bytes) -> None:
    [engine] = parse_metrics(page_of().replace(b"block_num 256.0", b"block_num " + blocks)).engines
    assert engine.cache is not None
    assert engine.cache.capacity_tokens == 0


def test_its_time_for_tokenizing_is_taken_for_no_prefill_rate() -> None:
    rate = PrefillRate(prior_tokens_per_s=8000)
    before = sample_of()
    for number in range(1, 6):
        page = page_of(generated=700 + number).replace(b"4096.0", b"%d.0" % (4096 * (number + 1)))
        page = page.replace(b"seconds_count 10.0", b"seconds_count %d.0" % (10 + number))
        [after] = parse_metrics(page).engines
        rate = learn(rate, before, after, 0.5)
        before = after
    assert rate.tokens_per_s == 8000


def test_tokens_are_progress_and_none_for_long_is_a_stall() -> None:
    start = progress(None, None, sample_of(), 0.0)
    moved = progress(start, sample_of(), sample_of(generated=701), 20.0)
    assert not stands_still(moved, 10.0)
    assert stands_still(progress(moved, sample_of(generated=701), sample_of(generated=701), 31.0), 10.0)


@pytest.mark.parametrize("status", [304, 404])
async def test_a_server_whose_workers_are_dead_is_broken(
    rank: ScriptedRank, client: httpx.AsyncClient, status: int
) -> None:
    probe = probe_of(client, rank)
    assert isinstance(await probe.look(), Answered)
    rank.answers["/health"] = http(status)
    assert await probe.look() == Broken(f"/health answers {status}, /metrics 200")


async def test_only_a_rank_that_is_paired_needs_a_version(rank: ScriptedRank, client: httpx.AsyncClient) -> None:
    about = await probe_of(client, rank).describe()
    assert (about.version, about.models[0].max_model_len) == ("", 32_768)
    for options in ({"role": Role.DECODE}, {"connector": "nixl"}):
        with pytest.raises(DiscoveryError, match="/version answers 404"):
            await probe_of(client, rank, **options).describe()


async def test_a_rank_with_its_page_on_another_port_is_reported(rank: ScriptedRank) -> None:
    page = rank.answers.pop("/metrics")
    async with scripted_rank({"/metrics": page}) as metrics:
        name = f"127.0.0.1:{rank.port}"
        async with node_of(rank.port, metrics_ports=str(metrics.port), **FASTDEPLOY) as node:
            await node.until_state(name, RankState.UP)
        assert (node.store.last[name].running, node.store.last[name].kv_used_tokens) == (3, 256 * 64 // 4)
        assert node.store.cards[name].max_model_len == 32_768
        assert "/metrics" not in rank.asked
        assert set(metrics.asked) == {"/metrics"}
