"""A node offers its ranks, tells the store of them and says goodbye: real ranks, or scripted ones where it must be."""

import logging
from contextlib import closing

import pytest

from scheduler.errors import StoreUnavailableError
from scheduler.messages import RankState
from tests.agent.fakes import healthy_answers, http, scripted_rank
from tests.agent.running_node import node_of, request_in_flight
from tests.agent.samples import page_bytes, unstamped
from tests.polling import until
from tests.ports import free_ports
from tests.simulator.rank_process import RankProcess, request, running_rank


async def test_a_node_offers_its_rank_reports_its_load_and_says_goodbye(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    async with node_of(rank.port, max_num_seqs=64, label={"zone": "a"}) as node:
        await node.until_state(name, RankState.UP)
        with request_in_flight(rank):
            await until(lambda: node.store.last[name].running == 1, "the request shows")
            await until(lambda: node.store.last[name].kv_used_tokens > 0, "its KV shows")
        await until(lambda: node.store.last[name].running == 0, "the aborted request is gone")
        assert not node.store.goodbyes
    assert node.store.goodbyes
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


async def test_a_goodbye_that_cannot_be_said_is_logged(rank: RankProcess, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    async with node_of(rank.port) as node:
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)
        node.store.fault = StoreUnavailableError("connection refused")
    assert "node node-a leaves without a goodbye, its ranks will age out: connection refused" in caplog.messages
