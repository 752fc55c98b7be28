"""Agents on two nodes that launch the ranks of one DP group, as processes: restarted as one, and ended whole."""

from __future__ import annotations

from pathlib import Path

from benchmarks.dp_restart import Nodes
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
