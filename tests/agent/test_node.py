"""A whole node, its store a recording one: real simulated ranks, or scripted ones where a real one cannot be had."""

import asyncio
import logging
import signal
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

import pytest

from agent.node import run_node
from forebay.ports import free_ports
from scheduler.errors import StoreUnavailableError
from scheduler.messages import RankState
from tests.agent.fakes import RecordingReporter, healthy_answers, http, scripted_rank
from tests.agent.samples import page_bytes, settings, unstamped
from tests.polling import until
from tests.simulator.rank_process import RankProcess, request, running_rank

FAST: dict[str, Any] = {"scrape_ms": 20, "idle_scrape_ms": 20, "heartbeat_ms": 50}


class Node:
    """A running node: what it told the store, and the lines it was ready with."""

    def __init__(self) -> None:
        self.store = RecordingReporter()
        self.lines: list[str] = []

    def state_of(self, rank: str) -> RankState | None:
        report = self.store.last.get(rank)
        return report.state if report else None

    async def until_state(self, rank: str, state: RankState) -> None:
        await until(lambda: self.state_of(rank) is state, f"{rank} is {state}")


@asynccontextmanager
async def node_of(*ports: int, **options: Any) -> AsyncIterator[Node]:
    ranks = ",".join(f"127.0.0.1:{port}" for port in ports)
    node = Node()
    async with asyncio.TaskGroup() as tasks:
        running = run_node(settings(ranks=ranks, **{**FAST, **options}), node.store, node.lines.append)
        task = tasks.create_task(running)
        yield node
        task.cancel()


@contextmanager
def request_in_flight(rank: RankProcess, **fields: Any) -> Iterator[None]:
    """A request of thousands of tokens that the rank works on within the block."""
    body = {"model": "tiny", "prompt": "a b c", "max_tokens": 9000, "ignore_eos": True, **fields}
    with closing(rank.connect()) as client:
        client.sendall(request("POST", "/v1/completions", body))
        yield


@pytest.fixture
def rank() -> Iterator[RankProcess]:
    with running_rank("--model", "tiny") as rank:
        yield rank


async def test_a_node_offers_its_rank_reports_its_load_and_says_goodbye(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    async with node_of(rank.port, max_num_seqs=64, label={"zone": "a"}) as node:
        await node.until_state(name, RankState.UP)
        with request_in_flight(rank):
            await until(lambda: node.store.last[name].running == 1, "the request shows")
            await until(lambda: node.store.last[name].kv_used_tokens > 0, "its KV shows")
        await until(lambda: node.store.last[name].running == 0, "the aborted request is gone")
        assert not node.store.said_goodbye
    assert node.store.said_goodbye
    assert node.lines == ["agent node-a reports 1 mixed rank to pool tiny"]
    card = node.store.cards[name]
    assert (card.endpoint, card.local_index, card.max_num_seqs) == (rank.url, None, 64)
    assert (card.max_model_len, card.kv_capacity_tokens, card.block_size) == (131_072, 524_288, 16)
    assert card.labels == {"zone": "a"}


async def test_engines_behind_one_port_are_ranks_of_their_own() -> None:
    with running_rank("--model", "tiny", "--engines", "2", "--first-engine", "8") as rank:
        names = [f"127.0.0.1:{rank.port}#{index}" for index in range(2)]
        async with node_of(rank.port) as node:
            for name in names:
                await node.until_state(name, RankState.UP)
            with closing(rank.connect()) as client:
                body = {"model": "tiny", "prompt": "a", "max_tokens": 9000, "ignore_eos": True}
                client.sendall(request("POST", "/v1/completions", body, x_data_parallel_rank="1"))
                await until(lambda: node.store.last[names[1]].running == 1, "engine 9 runs the request")
            assert node.store.last[names[0]].running == 0
        assert [node.store.cards[name].local_index for name in names] == [0, 1]


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
        async with node_of(rank.port, stall_ms=300) as node:
            await node.until_state(name, RankState.UP)
            with request_in_flight(rank, prompt=[7] * 5000):
                await until(lambda: node.store.last[name].running == 1, "the prefill runs")
                await until(lambda: node.store.last[name].kv_used_tokens >= 4500, "the prefill is nearly done")
        assert {told[name].state for told in node.store.told} == {RankState.UP}


async def test_a_restarted_rank_is_offered_as_a_new_incarnation() -> None:
    (port,) = free_ports(1)
    name = f"127.0.0.1:{port}"
    with running_rank("--model", "tiny", "--port", str(port)):
        async with node_of(port) as node:
            await node.until_state(name, RankState.UP)
    first = node.store.last[name].incarnation
    async with node_of(port) as node:
        with running_rank("--model", "tiny", "--port", str(port)) as rank:
            await node.until_state(name, RankState.UP)
            second = node.store.last[name].incarnation
            rank.process.kill()
            await node.until_state(name, RankState.DOWN)
            assert node.store.last[name].incarnation == second
        with running_rank("--model", "tiny", "--port", str(port)):
            await node.until_state(name, RankState.UP)
            third = node.store.last[name].incarnation
    assert len({first, second, third}) == 3


async def test_another_agent_sees_the_same_incarnation(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    seen = set()
    for _ in range(2):
        async with node_of(rank.port) as node:
            await node.until_state(name, RankState.UP)
            seen.add(node.store.last[name].incarnation)
    assert len(seen) == 1


async def test_a_restart_is_noticed_on_pages_that_name_no_life() -> None:
    (port,) = free_ports(1)
    name = f"127.0.0.1:{port}"
    answers = {**healthy_answers(), "/metrics": http(200, unstamped(page_bytes("idle")))}
    async with node_of(port) as node:
        async with scripted_rank(answers, port):
            await node.until_state(name, RankState.UP)
        first = node.store.last[name].incarnation
        await node.until_state(name, RankState.DOWN)
        async with scripted_rank(answers, port):
            await node.until_state(name, RankState.UP)
        assert node.store.last[name].incarnation != first == "unstamped"


async def test_a_rank_is_warmed_up_before_it_is_offered_and_once_in_its_life(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    for _ in range(2):
        async with node_of(rank.port, warmup=3) as node:
            await node.until_state(name, RankState.UP)
        assert sum(rank.series("vllm:request_success_total").values()) == 3


async def test_a_port_is_looked_at_while_one_of_its_ranks_is_warmed_up() -> None:
    used = page_bytes("idle")
    fresh = used.replace(b'engine="0"', b'engine="1"').replace(b"} 263.0", b"} 0.0")
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, warmup=1) as node:
        rank.answers |= {"/metrics": http(200, used + fresh), "/v1/completions": None}
        await until(lambda: "/v1/completions" in rank.asked, "the warm-up of the second engine hangs")
        await node.until_state(f"127.0.0.1:{rank.port}#0", RankState.UP)
        rank.answers["/health"] = http(503)
        await node.until_state(f"127.0.0.1:{rank.port}#0", RankState.DOWN)
        assert rank.asked.count("/v1/completions") == 1
        assert node.state_of(f"127.0.0.1:{rank.port}#1") is None
        rank.answers |= {"/health": http(200), "/v1/completions": http(200, b"{}")}
        rank.hang_up()
        await node.until_state(f"127.0.0.1:{rank.port}#1", RankState.UP)


async def test_a_rank_whose_warm_up_fails_is_not_offered_until_it_succeeds(
    rank: RankProcess, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"127.0.0.1:{rank.port}"
    rank.post("/sim/fault", {"kind": "error", "status": 500})
    async with node_of(rank.port, warmup=1) as node:
        await until(lambda: "warm-up answers 500" in caplog.text, "the failure is logged")
        assert node.store.told == []
        rank.post("/sim/fault", {"kind": "clear"})
        await node.until_state(name, RankState.UP)


async def test_a_rank_that_serves_another_model_is_not_offered(
    rank: RankProcess, caplog: pytest.LogCaptureFixture
) -> None:
    async with node_of(rank.port, model="other") as node:
        await until(lambda: "is not offered: serves tiny, not other" in caplog.text, "the mistake is named")
        assert node.store.told == []


async def test_one_missing_rank_is_waited_for_in_one_line_and_holds_up_none(
    rank: RankProcess, caplog: pytest.LogCaptureFixture
) -> None:
    (absent,) = free_ports(1)
    async with node_of(rank.port, absent) as node:
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)
        told = len(node.store.told)
        await until(lambda: len(node.store.told) > told + 2, "more reports are told")
        assert node.state_of(f"127.0.0.1:{absent}") is None
        with running_rank("--model", "tiny", "--port", str(absent)):
            await node.until_state(f"127.0.0.1:{absent}", RankState.UP)
    assert node.lines == [f"agent node-a reports 1 mixed rank to pool tiny; waiting for 127.0.0.1:{absent}"]
    assert caplog.messages.count(f"127.0.0.1:{absent} is not offered: connection refused") == 1


async def test_a_rank_is_never_asked_for_two_pages_at_once() -> None:
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, scrape_ms=10, idle_scrape_ms=10) as node:
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)
        rank.delay_s = 0.1
        slow = len(rank.asked)
        await until(lambda: rank.asked[slow:].count("/metrics") >= 3, "slow pages are read")
    assert rank.most_at_once["/metrics"] == 1


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


async def test_a_goodbye_that_cannot_be_said_is_logged(rank: RankProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with node_of(rank.port) as node:
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)
        node.store.fault = StoreUnavailableError("connection refused")
    assert "node node-a leaves without a goodbye, its ranks will age out: connection refused" in caplog.messages
