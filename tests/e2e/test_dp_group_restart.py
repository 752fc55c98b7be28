"""Agents on two nodes that launch the ranks of one DP group, as processes: restarted as one, and ended whole."""

from __future__ import annotations

from pathlib import Path

import httpx

from benchmarks.dp_restart import Nodes
from scheduler.group_generation import Step
from tests.gateway.running import COMPLETIONS
from tests.polling import until_now
from tests.ports import free_row
from tests.servers import needs_redis, redis_server

pytestmark = needs_redis
NODES = 2


def test_a_killed_rank_brings_all_nodes_through_a_new_generation(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        nodes = Nodes(tmp_path, redis.url, NODES, 1, free_row(NODES + 1), look_ms=200)
        try:
            for node in reversed(range(NODES)):
                nodes.start(node)
            first = nodes.until_running().generation.number
            nodes.kill_rank(1)
            second = nodes.until_running(first).generation.number
            assert nodes.started(second)[0] == 0
            assert len(nodes.started(second)) == NODES
            assert nodes.refusals() == 0
        finally:
            nodes.stop()
        assert [agent.returncode for agent in nodes.agents.values()] == [0] * NODES
        assert nodes.pids() == []


def test_a_node_that_drains_is_not_taken_for_silent(tmp_path: Path) -> None:
    with redis_server(tmp_path) as redis:
        nodes = Nodes(tmp_path, redis.url, NODES, 1, free_row(NODES + 1), look_ms=200, drain_s=600)
        heard: set[int] = set()

        def is_heard() -> bool:
            group = nodes.group()
            member = group.member("node-1") if group else None
            heard.update({member.heard_version} if member and member.step is Step.DRAINING else ())
            return len(heard) >= 3

        try:
            for node in range(NODES):
                nodes.start(node)
            first = nodes.until_running().generation
            body = {"model": "sim", "prompt": "Once", "max_tokens": 8000, "ignore_eos": True, "stream": True}
            url = f"http://127.0.0.1:{nodes.first_port + 1}{COMPLETIONS}"
            with httpx.stream("POST", url, json=body, trust_env=False, timeout=30) as answer:
                text = answer.iter_text()
                next(text)
                nodes.agents[1].terminate()
                until_now(is_heard, "the node says again and again that it drains")
                group = nodes.group()
                assert group
                assert group.generation == first
            assert nodes.agents[1].wait(30) == 0
        finally:
            nodes.stop()
        assert nodes.pids() == []
