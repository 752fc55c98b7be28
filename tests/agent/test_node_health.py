"""A node sees whether its ranks go on, hang or fall silent."""

import signal

import pytest

from scheduler.messages import RankState
from tests.agent.fakes import healthy_answers, scripted_rank
from tests.agent.running_node import node_of, request_in_flight
from tests.polling import until
from tests.simulator.rank_process import RankProcess, running_rank


async def test_a_rank_whose_engine_hangs_is_stalled_though_health_is_200(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    async with node_of(rank.port, stall_ms=200) as node:
        await node.until_state(name, RankState.UP)
        with request_in_flight(rank):
            await until(lambda: node.store.last[name].running == 1, "the request runs")
            assert rank.post("/sim/fault", {"kind": "freeze"}).status == 200
            await node.until_state(name, RankState.STALLED)
            assert rank.get("/health").status == 200
            rank.post("/sim/fault", {"kind": "clear"})
            await node.until_state(name, RankState.UP)


async def test_a_long_chunked_prefill_is_progress() -> None:
    with running_rank("--model", "tiny", "--max-num-batched-tokens", "256", "--prefill-step-ms", "50") as rank:
        name = f"127.0.0.1:{rank.port}"
        async with node_of(rank.port, stall_ms=600) as node:
            await node.until_state(name, RankState.UP)
            with request_in_flight(rank, prompt=[7] * 5000):
                await until(lambda: node.store.last[name].running == 1, "the prefill runs")
                await until(lambda: node.store.last[name].kv_used_tokens >= 4500, "the prefill is nearly done")
        assert {told[name].state for told in node.store.told} == {RankState.UP}


async def test_a_rank_that_takes_connections_and_answers_nothing_is_stalled_until_it_answers(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    async with node_of(rank.port, probe_timeout_ms=50, stall_ms=200) as node:
        await node.until_state(name, RankState.UP)
        rank.process.send_signal(signal.SIGSTOP)
        try:
            await node.until_state(name, RankState.STALLED)
        finally:
            rank.process.send_signal(signal.SIGCONT)
        await node.until_state(name, RankState.UP)


async def test_a_rank_that_gives_no_answer_ages_and_stays_up_at_first(caplog: pytest.LogCaptureFixture) -> None:
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, probe_timeout_ms=50) as node:
        name = f"127.0.0.1:{rank.port}"
        await node.until_state(name, RankState.UP)
        rank.answers["/metrics"] = None
        await until(lambda: node.store.last[name].age_ms > 300, "the sample ages")
        assert node.state_of(name) is RankState.UP
        assert "gives no answer" in caplog.text


async def test_a_rank_is_never_asked_for_two_pages_at_once() -> None:
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, scrape_ms=10, idle_scrape_ms=10) as node:
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)
        rank.delay_s = 0.1
        slow = len(rank.asked)
        await until(lambda: rank.asked[slow:].count("/metrics") >= 3, "slow pages are read")
    assert rank.most_at_once["/metrics"] == 1
