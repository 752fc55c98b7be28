"""4 nodes with a prefill group of DP2 each, one decode group of DP64 over 4 nodes, 8 agents, 4 gateways, Redis.

All on this machine: a node is a process with its ranks and an agent. One decode rank has a process of its own, so that
it can die alone.
"""

import subprocess
import sys
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import anyio
import httpx

from scheduler.admin import Status, status
from scheduler.errors import StoreUnavailableError
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.e2e.up_process import environment
from tests.polling import until_now
from tests.ports import free_port

START_S = 90.0
SPEED = 4.0
PREFILL_NODES, PREFILL_DP = 4, 2
DECODE_NODES, DECODE_DP = 4, 64
GATEWAYS = 4
MODEL = "sim"
DECODE_GROUP = "decode"
MORTAL = "decode-rank-0"
"""The process of the first rank of the first decode node."""


class Node(NamedTuple):
    """One machine: its ranks' ports, the DP group they step with, the global number of its first rank in it."""

    name: str
    role: str
    dp_group: str
    first_engine: int
    ports: list[int]


class Topology:
    """Processes by name, each with its log in `folder`."""

    def __init__(self, folder: Path, redis_url: str) -> None:
        self._folder, self._redis_url = folder, redis_url
        self._processes: dict[str, subprocess.Popen[bytes]] = {}
        ports = distinct_ports()
        per_node = DECODE_DP // DECODE_NODES
        self.gateway_ports = [next(ports) for _ in range(GATEWAYS)]
        self.nodes = [
            Node(f"prefill-{i}", "prefill", f"prefill-{i}", 0, [next(ports) for _ in range(PREFILL_DP)])
            for i in range(PREFILL_NODES)
        ] + [
            Node(f"decode-{i}", "decode", DECODE_GROUP, i * per_node, [next(ports) for _ in range(per_node)])
            for i in range(DECODE_NODES)
        ]

    @property
    def gateways(self) -> list[str]:
        return [f"http://127.0.0.1:{port}" for port in self.gateway_ports]

    def ranks(self, role: str) -> list[str]:
        """Their names in the pool."""
        return [f"127.0.0.1:{port}" for node in self.nodes if node.role == role for port in node.ports]

    @property
    def mortal(self) -> str:
        """The rank that can die alone."""
        return self.ranks("decode")[0]

    def start(self) -> None:
        """Returns when every rank is up and every gateway serves the model."""
        for node in self.nodes:
            self.start_ranks(node)
        self.start_mortal()
        for node in self.nodes:
            self.start_agent(node)
        for index, port in enumerate(self.gateway_ports):
            self._forebay(f"gateway-{index}", "gateway", "--port", str(port), "--explain", "--drain-s", "1")
        self.until_up(len(self.ranks("prefill")) + len(self.ranks("decode")))
        until_now(self._all_serve, "every gateway serves the model", within_s=START_S)

    def start_ranks(self, node: Node) -> None:
        """The node's ranks, but for the one that has a process of its own."""
        skipped = int(self.mortal == f"127.0.0.1:{node.ports[0]}")
        numbers = (str(SPEED), str(node.first_engine + skipped), *map(str, node.ports[skipped:]))
        self._start(f"{node.name}-ranks", sys.executable, "-m", "tests.e2e.ep.ranks_node", node.role, *numbers)

    def start_mortal(self) -> None:
        port = self.mortal.rpartition(":")[2]
        self._forebay(MORTAL, "rank", "--port", port, "--role", "decode", "--speed", str(SPEED), "--strict")

    def start_agent(self, node: Node) -> None:
        ranks = ",".join(f"127.0.0.1:{port}" for port in node.ports)
        self._forebay(
            f"{node.name}-agent",
            *("agent", "--model", MODEL, "--role", node.role, "--node", node.name, "--dp-group", node.dp_group),
            *("--ranks", ranks, "--max-num-seqs", "64", "--prefill-tokens-per-s", str(8000 * SPEED)),
            # 72 pages each second would be a third of two cores.
            *("--scrape-ms", "2000", "--idle-scrape-ms", "2000"),
        )

    def kill(self, name: str) -> None:
        """As a process that dies."""
        process = self._processes.pop(name)
        process.kill()
        process.wait()

    def status(self) -> Status:
        """What `forebay status` shows."""

        async def ask() -> Status:
            async with open_store(self._redis_url) as store:
                return await status(store, SchedulerSettings())

        return anyio.run(ask)

    def states(self) -> Counter[str]:
        """How many ranks are in each state."""
        return Counter(rank.state for rank in self.status().ranks)

    def until_up(self, count: int) -> None:
        def are_up() -> bool:
            try:
                return self.states()["up"] == count
            except StoreUnavailableError:  # while two cores start twenty processes
                return False

        until_now(are_up, f"{count} ranks are up", within_s=START_S)

    def misuses(self) -> dict[str, dict[str, int]]:
        """What every rank has counted, by rank, and KV that waits to be fetched; ranks without any are left out."""
        found = {}
        with httpx.Client(trust_env=False, timeout=START_S) as client:
            for rank in self.ranks("prefill") + self.ranks("decode"):
                told = client.get(f"http://{rank}/sim/misuse").json()
                if counts := told["counts"] | ({"unclaimed": told["unclaimed"]} if told["unclaimed"] else {}):
                    found[rank] = counts
        return found

    def _all_serve(self) -> bool:
        with httpx.Client(trust_env=False, timeout=START_S) as client:
            try:
                return all(client.get(f"{url}/v1/models").json().get("data") for url in self.gateways)
            except httpx.TransportError:
                return False

    def _forebay(self, name: str, *command: str) -> None:
        self._start(name, sys.executable, "-m", "forebay", *command)

    def _start(self, name: str, *command: str) -> None:
        with (self._folder / f"{name}.log").open("ab") as log:
            self._processes[name] = subprocess.Popen(
                command,
                env=environment(FOREBAY_REDIS=self._redis_url, FOREBAY_LOG_LEVEL="warning"),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
            )

    def end(self) -> None:
        for process in self._processes.values():
            process.kill()
        for process in self._processes.values():
            process.wait()


def distinct_ports() -> Iterator[int]:
    """Free ports, none of them twice."""
    taken: set[int] = set()
    while True:
        if (port := free_port()) not in taken:
            taken.add(port)
            yield port


@contextmanager
def topology_running(folder: Path, redis_url: str) -> Iterator[Topology]:
    """All of it, ready."""
    topology = Topology(folder, redis_url)
    try:
        topology.start()
        yield topology
    finally:
        topology.end()
