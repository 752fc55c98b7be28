"""A node whose rank pushes: it is believed, its page is left alone, and its silence is understood."""

from __future__ import annotations

import json
import signal
import socket
import time
from collections.abc import Iterator
from contextlib import closing
from itertools import count, pairwise
from pathlib import Path
from typing import Any

import pytest

from agent import pushed_load
from agent.metrics_page import parse_metrics
from agent.node import open_node
from agent.settings import LONGEST_MS
from scheduler.messages import RankReport, RankState, Source
from tests.agent.fakes import RecordingReporter, healthy_answers, http, scripted_rank
from tests.agent.pushed import push_fields
from tests.agent.running_node import Node, node_of, request_in_flight
from tests.agent.samples import page_bytes, settings, unstamped
from tests.polling import until
from tests.ports import free_ports
from tests.simulator.rank_process import RankProcess, request, running_rank

PLUGIN = Path(__file__).parents[2] / "vllm_plugin"


@pytest.fixture
def path(tmp_path: Path) -> str:
    return str(tmp_path / "stats.sock")


@pytest.fixture
def rank(path: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[RankProcess]:
    """A simulated rank that pushes; it began before any agent."""
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=":")
    with running_rank("--model", "tiny", "--stat-socket", path) as rank:
        yield rank


async def until_source(node: Node, port: int, source: Source) -> None:
    def holds() -> bool:
        report = node.store.last.get(f"127.0.0.1:{port}")
        return report is not None and report.source is source

    await until(holds, f"{port} is known by its {source}")


async def test_a_rank_that_pushes_is_reported_by_its_pushes(rank: RankProcess, path: str) -> None:
    async with node_of(rank.port, stat_socket=path) as node:
        await until_source(node, rank.port, Source.PAGE)
        with request_in_flight(rank):
            await until_source(node, rank.port, Source.PUSH)
            await until(lambda: node.store.last[f"127.0.0.1:{rank.port}"].running == 1, "the request is told")
        await until(lambda: node.store.last[f"127.0.0.1:{rank.port}"].running == 0, "its end is told")
        assert node.store.last[f"127.0.0.1:{rank.port}"].source is Source.PUSH


async def test_an_idle_rank_that_pushed_stays_fresh(rank: RankProcess, path: str) -> None:
    async with node_of(rank.port, stat_socket=path) as node:
        await until_source(node, rank.port, Source.PAGE)
        with request_in_flight(rank, max_tokens=1):
            await until_source(node, rank.port, Source.PUSH)
        told = len(node.store.told)

        def reports() -> list[RankReport]:
            return [report[f"127.0.0.1:{rank.port}"] for report in node.store.told[told:]]

        def refreshed() -> int:
            return sum(later.age_ms < earlier.age_ms for earlier, later in pairwise(reports()))

        await until(lambda: refreshed() > 5, "its sample is made new again and again")
        assert {report.source for report in reports()} == {Source.PUSH}


async def test_the_page_of_a_rank_that_pushes_is_left_alone(path: str) -> None:
    page = parse_metrics(page_bytes("idle"))
    (engine,) = page.engines
    assert page.process_start_s is not None
    known = {name: int(getattr(engine, name)) for name in ("steps", "prompt_tokens", "generation_tokens")}
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, stat_socket=path) as node:
        await until_source(node, rank.port, Source.PAGE)
        now_ns = time.monotonic_ns()
        fields = push_fields(
            ports=[rank.port], start_ms=round(page.process_start_s * 1e3), at_ns=now_ns, load_at_ns=now_ns, **known
        )
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as pushing:
            pushing.sendto(json.dumps(fields).encode(), path)
        await until_source(node, rank.port, Source.PUSH)
        pages, looks = (rank.asked.count(asked) for asked in ("/metrics", "/health"))
        await until(lambda: rank.asked.count("/health") > looks + 20, "the port is looked at again and again")
        assert rank.asked.count("/metrics") <= pages + 10


async def test_a_frozen_engine_falls_silent_and_is_found_stalled(rank: RankProcess, path: str) -> None:
    async with node_of(rank.port, stat_socket=path, stall_ms=300) as node:
        with request_in_flight(rank):
            await until_source(node, rank.port, Source.PUSH)
            assert rank.post("/sim/fault", {"kind": "freeze"}).status == 200
            await node.until_state(f"127.0.0.1:{rank.port}", RankState.STALLED)


async def test_a_killed_rank_is_down_though_its_last_push_was_well(rank: RankProcess, path: str) -> None:
    async with node_of(rank.port, stat_socket=path) as node:
        await until_source(node, rank.port, Source.PAGE)
        with request_in_flight(rank, max_tokens=1):
            await until_source(node, rank.port, Source.PUSH)
        rank.process.send_signal(signal.SIGKILL)
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.DOWN)


async def test_an_idle_rank_that_falls_asleep_and_wakes_up_says_so_itself(
    rank: RankProcess, path: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pushed_load, "PAGE_EVERY_S", 1e6)
    async with node_of(rank.port, stat_socket=path) as node:
        await until_source(node, rank.port, Source.PAGE)
        with request_in_flight(rank, max_tokens=1):
            await until_source(node, rank.port, Source.PUSH)
        assert rank.post("/sleep", None).status == 200
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.DOWN)
        assert rank.post("/wake_up", None).status == 200
        await node.until_state(f"127.0.0.1:{rank.port}", RankState.UP)


async def until_believed(node: Node, path: str, port: int, running: int, *servers: dict[str, Any]) -> None:
    """Each of the servers pushes that so many requests run, again and again: a page of just then may be newer than one
    push.
    """
    numbers = count()

    def is_believed() -> bool:
        number, now_ns = next(numbers), time.monotonic_ns()
        shared = {"ports": [port], "running": running, "seq": number, "at_ns": now_ns, "load_at_ns": now_ns}
        with closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as sender:
            for index, own in enumerate(servers):
                fields = push_fields(**shared, api_index=index, api_count=len(servers), **own)
                sender.sendto(json.dumps(fields).encode(), path)
        return node.store.last[f"127.0.0.1:{port}"].running == running

    await until(is_believed, f"{running} requests are believed", pause_s=0.05)


async def test_what_several_servers_pushed_before_a_restart_is_not_believed_of_those_after_it(path: str) -> None:
    (port,) = free_ports(1)
    name = f"127.0.0.1:{port}"
    page = unstamped(page_bytes("idle"))
    counts = {"steps": 235, "generation_tokens": 263, "prompt_tokens": 470}
    fewer = page
    for count_shown in counts.values():
        fewer = fewer.replace(b" %d.0\n" % count_shown, b" 1.0\n")
    async with node_of(port, stat_socket=path) as node:
        async with scripted_rank({**healthy_answers(), "/metrics": http(200, page)}, port):
            await node.until_state(name, RankState.UP)
            await until_believed(node, path, port, 7, {"pid": 0}, {"pid": 1, **counts})
        await node.until_state(name, RankState.DOWN)
        async with scripted_rank({**healthy_answers(), "/metrics": http(200, fewer)}, port):
            await node.until_state(name, RankState.UP)
            told = len(node.store.told)
            await until(lambda: len(node.store.told) > told + 20, "a second of heartbeats")
            after = [reports[name] for reports in node.store.told[told:]]
            assert {(report.running, report.source) for report in after} == {(0, Source.PAGE)}
            assert len({report.incarnation for report in after}) == 1
            more = {"start_ms": 1, **dict.fromkeys(counts, 2)}
            await until_believed(node, path, port, 2, {"pid": 2, **more}, {"pid": 3, **more})


async def test_a_node_that_begins_anew_is_found_by_a_rank_that_goes_on(rank: RankProcess, path: str) -> None:
    with request_in_flight(rank):
        for _ in range(2):
            async with node_of(rank.port, stat_socket=path) as node:
                await until_source(node, rank.port, Source.PUSH)


async def test_a_node_whose_ranks_have_left_the_pool_still_hears_their_pushes(rank: RankProcess, path: str) -> None:
    store = RecordingReporter()
    once = {"scrape_ms": LONGEST_MS, "idle_scrape_ms": LONGEST_MS}
    options = settings(ranks=f"127.0.0.1:{rank.port}", stat_socket=path, heartbeat_ms=50, **once)
    async with open_node(options, store, lambda _line: None) as node:
        await until(lambda: len(store.told) > 1, "it reports")
        await node.leave()
        await node.leave()
        told = len(store.told)
        (watcher,) = node.watchers

        def runs(requests: int) -> bool:
            (track,) = watcher.port.ranks
            return (track.source, track.sample.running) == (Source.PUSH, requests)

        with request_in_flight(rank):
            await until(lambda: runs(1), "the request is heard of")
        await until(lambda: runs(0), "so is its end")
        assert (store.goodbyes, len(store.told)) == (1, told)
    assert store.goodbyes == 1


async def test_each_engine_behind_a_port_is_known_by_its_own_pushes(path: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PLUGIN), prepend=":")
    options = ("--engines", "2", "--first-engine", "4", "--stat-socket", path)
    with running_rank("--model", "tiny", *options) as rank:
        names = [f"127.0.0.1:{rank.port}#{index}" for index in range(2)]
        async with node_of(rank.port, stat_socket=path) as node:
            await until(lambda: set(names) <= node.store.last.keys(), "both are told")
            with closing(rank.connect()) as client:
                body = {"model": "tiny", "prompt": "a", "max_tokens": 9000, "ignore_eos": True}
                client.sendall(request("POST", "/v1/completions", body, x_data_parallel_rank="1"))

                def is_told() -> bool:
                    one, other = (node.store.last[name] for name in names)
                    return (one.running, other.running, other.source) == (0, 1, Source.PUSH)

                await until(is_told, "the request is the second engine's")


async def test_a_flood_of_others_takes_no_rank_away(rank: RankProcess, path: str) -> None:
    junk = [b"junk", json.dumps(push_fields(ports=[rank.port], pid=1)).encode(), b"x" * 10_000]
    async with node_of(rank.port, stat_socket=path) as node:
        with request_in_flight(rank), closing(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)) as flooder:
            await until_source(node, rank.port, Source.PUSH)
            flooder.setblocking(False)
            for _ in range(10):
                for _ in range(2_000):
                    for each in junk:
                        try:
                            flooder.sendto(each, path)
                        except BlockingIOError:
                            break
                told = len(node.store.told)
                await until(lambda told=told: len(node.store.told) > told, "the node reports")  # type: ignore[misc]
            await until_source(node, rank.port, Source.PUSH)
            assert node.state_of(f"127.0.0.1:{rank.port}") is RankState.UP
