"""A whole node, its store a recording one."""

from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing, contextmanager
from typing import Any

from agent.node import open_node
from scheduler.messages import RankState
from tests.agent.fakes import RecordingReporter
from tests.agent.samples import settings
from tests.polling import until
from tests.simulator.rank_process import RankProcess, request

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
    async with open_node(settings(ranks=ranks, **{**FAST, **options}), node.store, node.lines.append):
        yield node


@contextmanager
def request_in_flight(rank: RankProcess, **fields: Any) -> Iterator[None]:
    """A request of thousands of tokens that the rank works on within the block."""
    body = {"model": "tiny", "prompt": "a b c", "max_tokens": 9000, "ignore_eos": True, **fields}
    with closing(rank.connect()) as client:
        client.sendall(request("POST", "/v1/completions", body))
        yield
