"""Real agent processes, real simulated ranks, a real store."""

import itertools
import re
import signal
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from forebay.embedded_redis import EmbeddedRedis
from scheduler.admin import RankStatus, status
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import Store, open_store
from tests.polling import until
from tests.ports import free_ports
from tests.servers import BINARY, RedisServer, needs_redis, redis_server
from tests.simulator.rank_process import RankProcess, request, running_rank

PATIENCE_S = 30.0


class AgentProcess:
    """One `forebay agent`; its log is followed in a thread."""

    def __init__(self, process: "subprocess.Popen[str]") -> None:
        self.process = process
        self.log = ""
        self.ready_line = ""
        self._threads = [threading.Thread(target=self._follow_log), threading.Thread(target=self._follow_output)]
        for thread in self._threads:
            thread.start()

    def _follow_log(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.log += line

    def _follow_output(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self.ready_line += line

    async def until_ready(self) -> None:
        await until(lambda: self.ready_line != "", f"the agent is ready: {self.log}", within_s=PATIENCE_S)

    async def until_logged(self, text: str) -> None:
        await until(lambda: text in self.log, f"the agent logs {text!r}", within_s=PATIENCE_S)

    def end(self, how: signal.Signals = signal.SIGTERM) -> int:
        """Send a signal and wait; the exit code."""
        self.process.send_signal(how)
        code = self.process.wait(PATIENCE_S)
        for thread in self._threads:
            thread.join()
        return code


@contextmanager
def running_agent(url: str, *ports: int, node: str = "node-a", model: str = "tiny") -> Iterator[AgentProcess]:
    ranks = ",".join(f"127.0.0.1:{port}" for port in ports)
    command = [sys.executable, "-m", "forebay", "agent", "--redis", url, "--model", model, "--role", "mixed"]
    command += ["--ranks", ranks, "--node", node, "--scrape-ms", "50", "--idle-scrape-ms", "50"]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        agent = AgentProcess(process)
        try:
            yield agent
        finally:
            if process.poll() is None:
                agent.end()


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    """A store's URL: redis-server where it is installed, else the embedded one."""
    if BINARY is not None:
        with redis_server(tmp_path) as server:
            yield server.url
        return
    with EmbeddedRedis("127.0.0.1", 0) as embedded:
        serving = threading.Thread(target=embedded.serve_forever, kwargs={"poll_interval": 0.01})
        serving.start()
        yield f"redis://127.0.0.1:{embedded.server_address[1]}"
        embedded.shutdown()
        serving.join()


class Ranks:
    """The ranks of a store, as an operator sees them."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def now(self) -> dict[str, RankStatus]:
        return {rank.rank: rank for rank in (await status(self._store, SchedulerSettings())).ranks}

    async def until_state(self, port: int, state: RankState | None, *, besides: str = "") -> RankStatus | None:
        """Wait until the rank is in this state (None: not in the pool), in an incarnation other than `besides`."""
        found: RankStatus | None = None

        async def holds() -> bool:
            nonlocal found
            found = (await self.now()).get(f"127.0.0.1:{port}")
            if found is None:
                return state is None
            return found.state is state and found.incarnation != besides

        await until(holds, f"rank {port} is {state}", within_s=PATIENCE_S)
        return found


@pytest.fixture
async def ranks(url: str) -> AsyncIterator[Ranks]:
    async with open_store(url) as store:
        yield Ranks(store)


@pytest.fixture
def rank() -> Iterator[RankProcess]:
    with running_rank("--model", "tiny") as rank:
        yield rank


async def test_an_agent_registers_its_rank_reports_its_load_and_takes_it_away_on_sigterm(
    url: str, ranks: Ranks, rank: RankProcess
) -> None:
    with running_agent(url, rank.port) as agent:
        await agent.until_ready()
        assert agent.ready_line == "agent node-a reports 1 mixed rank to pool tiny\n"
        up = await ranks.until_state(rank.port, RankState.UP)
        assert up is not None
        assert (up.pool, up.agent, up.kv_capacity_tokens) == ("tiny", "node-a", 524_288)
        body = {"model": "tiny", "prompt": [5] * 1000, "max_tokens": 9000, "ignore_eos": True}
        with closing(rank.connect()) as client:
            client.sendall(request("POST", "/v1/completions", body))

            async def shows() -> bool:
                now = (await ranks.now())[up.rank]
                return now.requests == 1 and now.kv_tokens >= 1000

            await until(shows, "the foreign request shows in the pool", within_s=PATIENCE_S)
        assert agent.end() == 0
        await ranks.until_state(rank.port, None)


async def test_a_killed_rank_is_down_and_its_successor_another_incarnation(url: str, ranks: Ranks) -> None:
    (port,) = free_ports(1)
    with running_agent(url, port):
        with running_rank("--model", "tiny", "--port", str(port)) as rank:
            first = await ranks.until_state(port, RankState.UP)
            assert first is not None
            rank.process.kill()
            down = await ranks.until_state(port, RankState.DOWN)
            assert down is not None
            assert down.incarnation == first.incarnation
        with running_rank("--model", "tiny", "--port", str(port)):
            await ranks.until_state(port, RankState.UP, besides=first.incarnation)


async def test_of_two_agents_that_claim_a_rank_the_second_is_refused_with_both_names(
    url: str, ranks: Ranks, rank: RankProcess
) -> None:
    with running_rank("--model", "tiny") as own, running_agent(url, rank.port) as first:
        await first.until_ready()
        with running_agent(url, rank.port, own.port, node="node-b") as second:
            await second.until_logged(
                f"rank 127.0.0.1:{rank.port} is claimed by agent node-a; this agent, node-b, is refused"
            )
            await second.until_ready()
            assert f"waiting for 127.0.0.1:{rank.port}" in second.ready_line
            now = await ranks.now()
            assert {now[f"127.0.0.1:{each.port}"].agent for each in (rank, own)} == {"node-a", "node-b"}
            assert first.end() == 0
            await second.until_logged(f"rank 127.0.0.1:{rank.port} is now agent node-b's")
            assert second.log.count("is claimed by") == 1


async def test_an_agent_that_was_killed_finds_the_same_incarnation(url: str, ranks: Ranks, rank: RankProcess) -> None:
    with running_agent(url, rank.port) as killed:
        before = await ranks.until_state(rank.port, RankState.UP)
        killed.end(signal.SIGKILL)
    with running_agent(url, rank.port) as successor:
        await successor.until_ready()
        after = await ranks.until_state(rank.port, RankState.UP)
    assert before is not None
    assert after is not None
    assert after.incarnation == before.incarnation


@needs_redis
async def test_an_agent_outlives_its_store_with_one_line_for_each_way(tmp_path: Path, rank: RankProcess) -> None:
    server = RedisServer(tmp_path)
    with running_agent(server.url, rank.port) as agent:
        await agent.until_logged("node node-a cannot report")
        assert agent.ready_line == ""
        server.start()
        try:
            await agent.until_ready()
            server.restart()
            async with open_store(server.url) as store:
                await Ranks(store).until_state(rank.port, RankState.UP)
        finally:
            server.stop()
        assert agent.process.poll() is None
    ways = re.findall(r"node node-a (cannot report|reports again)", agent.log)
    assert ways[:2] == ["cannot report", "reports again"]
    assert all(one != other for one, other in itertools.pairwise(ways))


@needs_redis
def test_a_wrong_password_ends_the_agent_with_the_reason_though_no_rank_is_up_yet(tmp_path: Path) -> None:
    with redis_server(tmp_path, "--requirepass", "right", password="right") as server:
        url = f"redis://:wrong@{server.address}"
        with running_agent(url, *free_ports(1)) as agent:
            assert agent.process.wait(PATIENCE_S) == 1
    assert "invalid username-password pair" in agent.log
    assert "wrong@" not in agent.log


async def test_a_store_that_is_away_is_told_though_no_rank_is_up_yet() -> None:
    rank_port, store_port = free_ports(2)
    with running_agent(f"redis://127.0.0.1:{store_port}", rank_port) as agent:
        await agent.until_logged("node node-a: Redis does not answer: ")
        assert agent.end() == 0
