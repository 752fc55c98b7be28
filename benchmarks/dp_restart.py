"""A DP group over several nodes is restarted as one: agents that launch simulated ranks, which refuse a lone restart.

    python -m benchmarks.dp_restart [--nodes 4] [--ranks 16]

Starts a redis-server and an agent for each node, which start their ranks (`forebay rank` by a template), all on this
machine. Kills a rank, then an agent with all its ranks, and prints how long each restart took until all ranks answered
again, in which order the nodes started, and whether any rank was ever refused. Each rank is two processes.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
import click

from scheduler.errors import SchedulerError
from scheduler.group_admin import read_groups
from scheduler.group_generation import Group, GroupPhase
from scheduler.store import open_store

POOL, GROUP, HOST = "sim", "decode", "127.0.0.1"
PATIENCE_S = 300.0
TEMPLATE = f"""#!/bin/sh
exec {sys.executable} -m forebay rank --port $2 --role decode --data-parallel-size $3 --data-parallel-rank $4 \\
    --data-parallel-address $5 --data-parallel-rpc-port $6
"""


class Nodes:
    """The agents of a group; node n has the ranks from n * `ranks` on, which listen on first_port and those after.

    They are looked at each `look_ms`, and requests may run on for `drain_s` after SIGTERM.
    """

    def __init__(
        self,
        folder: Path,
        redis_url: str,
        nodes: int,
        ranks: int,
        first_port: int,
        *,
        look_ms: int = 1000,
        drain_s: int = 0,
    ) -> None:
        self._look_ms, self._drain_s = look_ms, drain_s
        self._folder, self._redis_url = folder, redis_url
        self.nodes, self.ranks, self.first_port = nodes, ranks, first_port
        self.agents: dict[int, subprocess.Popen[bytes]] = {}
        self._template = folder / "template.sh"
        self._template.write_text(TEMPLATE)
        self._template.chmod(0o755)

    def start(self, node: int) -> None:
        """The agent of a node."""
        first = node * self.ranks
        options = {
            "redis": self._redis_url,
            "model": POOL,
            "role": "decode",
            "node": f"node-{node}",
            "dp-group": GROUP,
            "launch": self._template,
            "dp-size": self.nodes * self.ranks,
            "dp-size-local": self.ranks,
            "dp-rank-start": first,
            "dp-address": HOST,
            "dp-rpc-port": self.first_port + self.nodes * self.ranks,
            "vllm-start-port": self.first_port + first,
            "rank-host": HOST,
            "device-env": "none",
            "log-dir": self._folder / f"logs-{node}",
            "scrape-ms": self._look_ms,
            "idle-scrape-ms": self._look_ms,
            "drain-timeout-s": self._drain_s,
        }
        command = [f"--{name}={value}" for name, value in options.items()]
        with (self._folder / f"agent-{node}.log").open("ab") as log:
            self.agents[node] = subprocess.Popen(  # noqa: S603  # our own
                [sys.executable, "-m", "forebay", "agent", *command], stdout=log, stderr=log, cwd=self._folder
            )

    def kill_rank(self, rank: int) -> None:
        """By kill -9."""
        for pid in self._pids_of(rank):
            os.kill(pid, signal.SIGKILL)

    def pids(self) -> list[int]:
        """Of all ranks that live."""
        return [pid for rank in range(self.nodes * self.ranks) for pid in self._pids_of(rank)]

    def kill_agent(self, node: int) -> None:
        """By kill -9; its ranks go with it."""
        agent = self.agents.pop(node)
        agent.kill()
        agent.wait()

    def stop(self) -> None:
        """All, by SIGTERM."""
        for agent in self.agents.values():
            agent.terminate()
        for agent in self.agents.values():
            agent.wait(PATIENCE_S)

    def group(self) -> Group | None:
        """What Redis says of it."""

        async def ask() -> list[Group]:
            async with open_store(self._redis_url) as store:
                return await read_groups(store, POOL, 0)

        try:
            return next(iter(anyio.run(ask)), None)
        except SchedulerError:
            return None

    def until_running(self, after: int = 0) -> Group:
        """Until it runs in a later generation than that."""
        deadline = time.monotonic() + PATIENCE_S
        while time.monotonic() < deadline:
            group = self.group()
            if group and group.generation.number > after and group.phase is GroupPhase.RUNNING:
                return group
            for node, agent in self.agents.items():
                if agent.poll() is not None:
                    raise ChildProcessError(f"the agent of node-{node} has ended: {self._log(node)[-500:]}")
            time.sleep(0.1)
        raise TimeoutError(f"the group does not run in a generation after {after}: {self.group()}")

    def started(self, generation: int) -> list[int]:
        """Which nodes started their ranks in a generation, in that order."""
        found = []
        for node in range(self.nodes):
            pattern = rf"^(\S+ \S+) .*node-{node} starts its ranks in generation {generation}$"
            found += [(when, node) for when in re.findall(pattern, self._log(node), re.MULTILINE)]
        return [node for _, node in sorted(found)]

    def refusals(self) -> int:
        """How often a rank was refused by a coordinator of another life."""
        logs = self._folder.glob("logs-*/*")
        return sum(log.read_text(errors="replace").count("refused by the coordinator") for log in logs)

    def _log(self, node: int) -> str:
        return (self._folder / f"agent-{node}.log").read_text(errors="replace")

    def _pids_of(self, rank: int) -> Iterator[int]:
        words = f"-m forebay rank --port {self.first_port + rank} "
        for folder in Path("/proc").glob("[0-9]*"):
            try:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            except OSError:
                continue
            if words in line:
                yield int(folder.name)


@contextmanager
def _redis(folder: Path, port: int) -> Iterator[str]:
    command = ["redis-server", "--port", str(port), "--save", "", "--dir", str(folder), "--bind", HOST]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL)  # noqa: S603  # our own
    try:
        yield f"redis://{HOST}:{port}"
    finally:
        server.terminate()
        server.wait()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--nodes", default=4, show_default=True, help="agents")
@click.option("--ranks", default=16, show_default=True, help="ranks of each")
@click.option("--first-port", default=25_100, show_default=True, help="the first of so many ports, and two more")
def main(nodes: int, ranks: int, first_port: int) -> None:
    """Show the restart of a DP group over several nodes."""
    with TemporaryDirectory() as name, _redis(Path(name), first_port + nodes * ranks + 1) as url:
        running = Nodes(Path(name), url, nodes, ranks, first_port)
        try:
            _show(running)
        finally:
            running.stop()
    click.echo("all ended")


def _show(running: Nodes) -> None:
    generation = 0

    def timed(what: str, do: Callable[[], None]) -> None:
        nonlocal generation
        started_s = time.monotonic()
        do()
        group = running.until_running(generation)
        generation = group.generation.number
        order = ", ".join(f"node-{node}" for node in running.started(generation))
        seconds = time.monotonic() - started_s
        click.echo(f"{what}: generation {generation} runs after {seconds:.1f} s ({group.why}); started: {order}")

    def start_all() -> None:
        for node in reversed(range(running.nodes)):
            running.start(node)

    last = running.nodes - 1

    def lose_agent() -> None:
        running.kill_agent(last)
        running.start(last)

    timed(f"{running.nodes} agents with {running.ranks} ranks each", start_all)
    timed("a rank killed", lambda: running.kill_rank(running.nodes * running.ranks - 1))
    timed("rank 0 killed", lambda: running.kill_rank(0))
    timed(f"the agent of node-{last} killed and started anew", lose_agent)
    click.echo(f"ranks refused by a coordinator of another life: {running.refusals()}")


if __name__ == "__main__":
    main()
