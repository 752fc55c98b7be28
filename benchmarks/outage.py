"""What an outage of Redis costs: goodput before, during and after ten seconds without it (docs/design.md, invariant 7).

    python -m benchmarks.outage

Starts a redis-server and `forebay up` on 8 simulated ranks, measures what the fleet carries with all ranks kept busy,
then offers 90 % of that and kills Redis for ten seconds; it comes back empty. An answer is good if its first token came
within 1 s + twice the idle prefill time. Prints, per repetition, the share of good answers among the requests sent in
each window, and the medians of the ratios.
"""

from __future__ import annotations

import os
import re
import shutil
import socket
import statistics
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from random import Random

import anyio
import click
import httpx

from benchmarks.replay import encoded_chat
from benchmarks.stream import Answer, stream_chat

RANKS = 8
PROMPT_TOKENS = 2048
OUTPUT_TOKENS = 32
IDLE_PREFILL_S = 0.020 + PROMPT_TOKENS / 8000
GOOD_TTFT_S = 1.0 + 2 * IDLE_PREFILL_S
SATURATE_S = 10.0
LOAD = 0.9
WINDOWS_S = {"with Redis": (2.0, 10.0), "without": (10.0, 20.0), "back, empty": (20.0, 30.0)}
START_TIMEOUT_S = 60.0
PLACED_ALONE = re.compile(r"^forebay_gateway_placements_degraded_total\{[^}]*\} (\S+)$", re.MULTILINE)


class Fleet:
    """A running `forebay up`, and the redis-server under it, which can be ended and started again."""

    def __init__(self, port: int, gateway_port: int) -> None:
        self._port = port
        self.gateways = [f"http://127.0.0.1:{gateway_port + i}" for i in range(2)]
        self._redis: subprocess.Popen[bytes] | None = None
        self.start_redis()

    @property
    def redis_url(self) -> str:
        """Where the ledger is."""
        return f"redis://127.0.0.1:{self._port}/0"

    def start_redis(self) -> None:
        """An empty server, on the same port as before."""
        path = shutil.which("redis-server")
        if path is None:
            raise click.ClickException("redis-server is not installed")
        words = [path, "--port", str(self._port), "--bind", "127.0.0.1", "--save", "", "--loglevel", "warning"]
        self._redis = subprocess.Popen(words, stdout=subprocess.DEVNULL)  # noqa: S603 - our own words

    def kill_redis(self) -> None:
        """Ends it as a crash would."""
        if self._redis is not None:
            self._redis.kill()
            self._redis.wait()


@contextmanager
def fleet() -> Iterator[Fleet]:
    """Everything started and serving; ended when the context is left."""
    running = Fleet(_free_port(), _free_port())
    port = running.gateways[0].rpartition(":")[2]
    words = ["up", "--redis", running.redis_url, "--mixed", str(RANKS), "--prefill", "0", "--decode", "0"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    process = subprocess.Popen(  # noqa: S603 - our own words
        [sys.executable, "-m", "forebay", *words, "--port", port],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
        env=environment,
    )
    try:
        assert process.stdout is not None
        deadline_s = time.monotonic() + START_TIMEOUT_S
        while "is ready" not in (line := process.stdout.readline()):
            if not line and (process.poll() is not None or time.monotonic() > deadline_s):
                raise click.ClickException("forebay up did not start")
        yield running
    finally:
        process.terminate()
        process.wait()
        running.kill_redis()


class Load:
    """Requests to the gateways in turn, each with a prompt of its own."""

    def __init__(self, client: httpx.AsyncClient, gateways: list[str], seed: int) -> None:
        self._client, self._gateways, self._chance = client, gateways, Random(seed)
        self.answers: list[Answer] = []

    async def one(self) -> None:
        """Sends one request and keeps its answer."""
        word = f"{self._chance.getrandbits(64):016x}"
        body = encoded_chat("sim", (word * (PROMPT_TOKENS // 4))[: PROMPT_TOKENS * 4], OUTPUT_TOKENS)
        url = self._gateways[len(self.answers) % len(self._gateways)]
        self.answers.append(await stream_chat(self._client, url, body))

    async def saturated_rps(self) -> float:
        """Requests per second that the fleet carries with six in each rank."""
        start_s = time.monotonic()

        async def loop() -> None:
            while time.monotonic() - start_s < SATURATE_S:
                await self.one()

        async with anyio.create_task_group() as tasks:
            for _ in range(6 * RANKS):
                tasks.start_soon(loop)
        return len(self.answers) / (time.monotonic() - start_s)

    async def offered(self, rps: float, running: Fleet) -> dict[str, float]:
        """Share of good answers by window, at random arrivals of `rps`, with Redis ended and started on the way."""
        start_s = time.monotonic()
        killed_s, started_s = (start_s + at_s for at_s in WINDOWS_S["without"])
        end_s = start_s + WINDOWS_S["back, empty"][1]
        actions = [(killed_s, running.kill_redis), (started_s, running.start_redis)]
        at_s = start_s
        async with anyio.create_task_group() as tasks:
            while (at_s := at_s + self._chance.expovariate(rps)) < end_s:
                while actions and at_s >= actions[0][0]:
                    await anyio.sleep(max(0.0, actions[0][0] - time.monotonic()))
                    actions.pop(0)[1]()
                await anyio.sleep(max(0.0, at_s - time.monotonic()))
                tasks.start_soon(self.one)
        return {name: self._good(start_s + begin, start_s + end) for name, (begin, end) in WINDOWS_S.items()}

    def _good(self, begin_s: float, end_s: float) -> float:
        sent = [answer for answer in self.answers if begin_s <= answer.sent_s < end_s]
        return sum(not answer.error and answer.ttft_s <= GOOD_TTFT_S for answer in sent) / len(sent)

    def errors(self) -> str:
        """How many requests failed, by kind."""
        kinds = Counter(answer.error for answer in self.answers if answer.error)
        return ", ".join(f"{count} x {kind}" for kind, count in kinds.items()) or "no errors"

    async def placed_alone(self) -> float:
        """How many requests the gateways have placed without the shared ledger, since they started."""
        pages = [(await self._client.get(f"{url}/metrics")).text for url in self._gateways]
        return sum(float(count) for page in pages for count in PLACED_ALONE.findall(page))


def _free_port() -> int:
    """A port that is free now, and so is the next one."""
    while True:
        with socket.socket() as probe, socket.socket() as neighbour:
            probe.bind(("127.0.0.1", 0))
            port: int = probe.getsockname()[1]
            try:
                neighbour.bind(("127.0.0.1", port + 1))
            except OSError:
                continue
            return port


async def measure(repetitions: int, load: float) -> None:
    """Runs all of it and prints it."""
    limits = httpx.Limits(max_connections=None)
    with fleet() as running:
        async with httpx.AsyncClient(trust_env=False, timeout=60, limits=limits) as client:
            rps = await Load(client, running.gateways, seed=0).saturated_rps()
            click.echo(f"saturated: {rps:.1f} requests/s; offered: {load * rps:.1f}, good within {GOOD_TTFT_S:.2f} s")
            rows = []
            for seed in range(1, repetitions + 1):
                sender = Load(client, running.gateways, seed)
                rows.append(await sender.offered(load * rps, running))
                shares = "  ".join(f"{name} {share:.3f}" for name, share in rows[-1].items())
                click.echo(f"  {seed}: {shares}  ({len(sender.answers)} requests, {sender.errors()})")
            click.echo(f"placed without the ledger: {await sender.placed_alone():.0f} requests")
    for name in ("without", "back, empty"):
        ratios = [row[name] / row["with Redis"] for row in rows]
        spread = f"{min(ratios):.3f} to {max(ratios):.3f}"
        click.echo(f"goodput {name} / with Redis: median {statistics.median(ratios):.3f} ({spread})")


@click.command()
@click.option("--repetitions", type=click.IntRange(1, 20), default=3, show_default=True)
@click.option("--load", type=click.FloatRange(0.1, 1.5), default=LOAD, show_default=True, help="share of saturation")
def main(repetitions: int, load: float) -> None:
    """Measure what ten seconds without Redis cost."""
    anyio.run(measure, repetitions, load)


if __name__ == "__main__":
    main()
