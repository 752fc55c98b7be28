"""A real fleet on this machine: redis-server, simulated ranks as processes, an agent for each role, gateways."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import anyio
import httpx
import msgspec

from forebay.bench.proc import cpu_times, spent_us
from forebay.ports import LOOPBACK, free_ports
from forebay.simulate.fleet_options import TIMING, FleetOptions
from scheduler.admin import status
from scheduler.messages import RankState, Role
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from simulator.cluster.request import BLOCK_TOKENS
from tests.servers import redis_server

MODEL = "sim"
READY_WITHIN_S = 60.0
SETTLED_S = 1.0
"""Some snapshots after all ranks are up, so that every gateway knows them."""
ANSWERED_WITHIN_S = 600.0
EVENT = re.compile(r"^forebay_(?:scheduler_events|gateway_placements_degraded)_total\{(.+?)\} (\S+)$", re.MULTILINE)
NO_MISHAPS = frozenset({'event="prefix_believed_tokens"', 'event="receipts"'})
POLL_S = 0.1


class RealFleet(msgspec.Struct, frozen=True, kw_only=True):
    """Where a running fleet is: `ranks` are names as the simulation has them, by address; `pids` by kind of process."""

    redis_url: str
    gateways: tuple[str, ...]
    ranks: Mapping[str, str]
    pids: Mapping[str, Sequence[int]]

    def cpu_s(self, before: Mapping[str, Mapping[tuple[int, int], int]]) -> dict[str, float]:
        """CPU seconds of each kind of process since `cpu_times`."""
        return {kind: spent_us(dict(before[kind]), cpu_times(pids)) / 1e6 for kind, pids in self.pids.items()}

    def mishaps(self) -> dict[str, float]:
        """What gateways have counted that the simulation has none of, placements without the ledger among it."""
        found: defaultdict[str, float] = defaultdict(float)
        for gateway in self.gateways:
            for name, count in EVENT.findall(httpx.get(f"{gateway}/metrics", trust_env=False).text):
                found[name] += float(count)
        return {name: count for name, count in found.items() if count and name not in NO_MISHAPS}

    def cpu_times(self) -> dict[str, Mapping[tuple[int, int], int]]:
        """What each kind of process has spent so far."""
        return {kind: cpu_times(pids) for kind, pids in self.pids.items()}


@contextmanager
def real_fleet(options: FleetOptions, policy: str, folder: Path) -> Iterator[RealFleet]:
    """Everything started, with empty caches, and known to all gateways; ended when the context is left."""
    with redis_server(folder) as server, ExitStack() as started:
        counts = {Role.MIXED: options.mixed, Role.PREFILL: options.prefill, Role.DECODE: options.decode}
        free = iter(free_ports(sum(counts.values()) + options.gateways))
        ports = {role: [next(free) for _ in range(count)] for role, count in counts.items() if count}
        gateway_ports = [next(free) for _ in range(options.gateways)]
        ranks = [_rank(options, role, port) for role in ports for port in ports[role]]
        agents = [_agent(options, role, ports[role], server.url) for role in ports]
        gateways = [_gateway(port, policy, server.url) for port in gateway_ports]
        running = {
            "ranks": _started(ranks, started),
            "agents": _started(agents, started),
            "gateways": _started(gateways, started),
        }
        anyio.run(_known, server.url, sum(counts.values()))
        yield RealFleet(
            redis_url=server.url,
            gateways=tuple(f"http://{LOOPBACK}:{port}" for port in gateway_ports),
            ranks={
                f"{LOOPBACK}:{port}": f"{role}{number}" for role in ports for number, port in enumerate(ports[role])
            },
            pids={kind: [process.pid for process in some] for kind, some in running.items()} | {"redis": [server.pid]},
        )


def _rank(options: FleetOptions, role: Role, port: int) -> list[str]:
    kv_tokens = options.prefill_kv_capacity_tokens if role is Role.PREFILL else options.kv_capacity_tokens
    timing = [word for name in TIMING for word in (f"--{name.replace('_', '-')}", str(getattr(options, name)))]
    return [
        *("rank", "--port", str(port), "--role", role, "--model", MODEL, *timing),
        *("--block-size-tokens", str(BLOCK_TOKENS), "--kv-blocks", str(kv_tokens // BLOCK_TOKENS)),
        *("--max-model-len", str(kv_tokens // BLOCK_TOKENS * BLOCK_TOKENS)),
        *("--max-num-seqs", str(options.max_num_seqs)),
        *("--max-num-batched-tokens", str(options.max_num_batched_tokens), "--enable-prompt-tokens-details"),
    ]


def _agent(options: FleetOptions, role: Role, ports: Sequence[int], redis_url: str) -> list[str]:
    return [
        *("agent", "--redis", redis_url, "--node", f"local-{role}", "--model", MODEL, "--role", role),
        *("--ranks", ",".join(f"{LOOPBACK}:{port}" for port in ports), "--max-num-seqs", str(options.max_num_seqs)),
        *("--prefill-tokens-per-s", str(options.prefill_tokens_per_s)),
        *("--scrape-ms", str(options.report_ms), "--idle-scrape-ms", str(options.report_ms)),
    ]


def _gateway(port: int, policy: str, redis_url: str) -> list[str]:
    return [
        "gateway",
        "--redis",
        redis_url,
        "--port",
        str(port),
        "--policy",
        policy,
        "--explain",
        "--drain-s",
        "0",
    ]


def _started(commands: Sequence[Sequence[str]], stack: ExitStack) -> list[subprocess.Popen[str]]:
    """All of them, when each has said that it serves."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    processes = []
    for command in commands:
        words = [sys.executable, "-m", "forebay", "--log-level", "warning", *command]
        process = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment)  # noqa: S603 - our own
        stack.callback(_end, process)
        processes.append(process)
    for process in processes:
        assert process.stdout is not None
        if not process.stdout.readline():
            raise RuntimeError(f"did not start: {process.args!r}")
    return processes


def _end(process: subprocess.Popen[str]) -> None:
    process.terminate()
    try:
        process.wait(10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
    if process.stdout is not None:
        process.stdout.close()


async def _known(redis_url: str, ranks: int) -> None:
    """Waits until so many ranks are up; raises TimeoutError."""
    with anyio.fail_after(READY_WITHIN_S):
        async with open_store(redis_url) as store:
            while True:
                found = await status(store, SchedulerSettings())
                if sum(rank.state == RankState.UP for rank in found.ranks) == ranks:
                    break
                await anyio.sleep(POLL_S)
    await anyio.sleep(SETTLED_S)


def http_client() -> httpx.AsyncClient:
    """One for all requests, however many; each on a connection of its own, for a kept one may just have been closed."""
    limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
    return httpx.AsyncClient(trust_env=False, timeout=ANSWERED_WITHIN_S, limits=limits)
