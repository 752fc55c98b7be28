"""`forebay agent --auto` beside vLLM servers, whose place simulated ranks take under vLLM's command line."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from uuid import uuid4

import pytest

from scheduler.admin import Status, status
from scheduler.messages import RankState
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.gateway.gateway_process import forebay_process, warnings_of
from tests.polling import until
from tests.ports import free_ports
from tests.servers import RedisServer, needs_redis, redis_server

pytestmark = needs_redis

ROOT = Path(__file__).parents[3]
VLLM = """\
import sys
from forebay.main import main
given = dict(zip(sys.argv[1:], sys.argv[2:]))
options = ["--port", given["--port"], "--model", given["--served-model-name"]]
if "--kv-transfer-config" in given:
    options += ["--role", "prefill" if "kv_producer" in given["--kv-transfer-config"] else "decode"]
main(["rank", *options])
"""
FAST = ("--scrape-ms", "50", "--idle-scrape-ms", "50")
NIXL = '{"kv_connector": "NixlConnector", "kv_role": "%s"}'


@pytest.fixture
def model() -> str:
    """Other servers may run on this machine, of other tests too."""
    return f"m-{uuid4().hex[:8]}"


@contextmanager
def vllm(folder: Path, model: str, port: int, *options: str) -> Iterator[subprocess.Popen[bytes]]:
    """A server that looks like one of vLLM's, and is a simulated rank."""
    script = folder / "vllm"
    script.write_text(VLLM)
    command = [sys.executable, str(script), "serve", "org/model", "--served-model-name", model, "--port", str(port)]
    process = subprocess.Popen([*command, *options], cwd=ROOT, env={"PYTHONPATH": str(ROOT)}, stderr=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def ranks(redis: RedisServer) -> Status:
    async with open_store(redis.url) as store:
        return await status(store, SchedulerSettings())


async def until_there_are(redis: RedisServer, expected: set[tuple[str, str, str]]) -> None:
    async def there_are() -> bool:
        return {(rank.rank, rank.role, rank.state) for rank in (await ranks(redis)).ranks} == expected

    await until(there_are, f"the ranks are {expected}", pause_s=0.1)


async def test_servers_are_found_with_their_roles_and_come_and_go(tmp_path: Path, model: str) -> None:
    ports = free_ports(3)
    names = [f"127.0.0.1:{port}" for port in ports]
    with ExitStack() as stack:
        redis = stack.enter_context(redis_server(tmp_path))
        agent = stack.enter_context(
            forebay_process(tmp_path, "agent", "--redis", redis.url, "--auto", "--model", model, *FAST)
        )
        await until(lambda: "no vLLM server runs on this node yet" in agent.err.read_text(), "the agent looks")
        stack.enter_context(vllm(tmp_path, model, ports[0], "--kv-transfer-config", NIXL % "kv_producer"))
        decode = stack.enter_context(vllm(tmp_path, model, ports[1], "--kv-transfer-config", NIXL % "kv_consumer"))
        stack.enter_context(vllm(tmp_path, model, ports[2], "--kv-transfer-config", NIXL % "kv_both"))
        both = [(names[0], "prefill", "up"), (names[1], "decode", "up")]
        await until_there_are(redis, set(both))
        await until(lambda: "give --role" in agent.err.read_text(), "what is not told is asked for")
        decode.kill()
        await until_there_are(redis, {both[0], (names[1], "decode", RankState.DOWN)})
        with vllm(tmp_path, model, ports[1], "--kv-transfer-config", NIXL % "kv_consumer"):
            await until_there_are(redis, set(both))
        cards = {rank.rank: rank for rank in (await ranks(redis)).ranks}
        assert len({cards[name].agent for name in names[:2]}) == 2
    assert len([line for line in warnings_of(agent) if "give --role" in line]) == 1
