"""Starts what is measured, and waits until each target answers a request."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path

import anyio
import httpx
import msgspec

from forebay.bench.errors import TargetError
from forebay.bench.limited_key import limited_key
from forebay.bench.mock_wire import MODEL
from forebay.bench.peers import CONFIG, recipe
from forebay.bench.processes import Processes
from forebay.bench.settings import PEERS, BenchSettings, ChunkTimes
from forebay.bench.target import Entrance, Target
from forebay.children import Child
from forebay.local_redis import answers_ping, local_redis_url
from forebay.ports import LOOPBACK, free_ports

RANKS = 4
"""Ports of the backend; all are one process."""
PATIENCE_S = 20.0
RETRY_S = 0.05
ASK = {"model": MODEL, "max_tokens": 1, "messages": [{"role": "user", "content": "ready?"}]}
AGENT_OPTIONS = ("--max-num-seqs", "100000", "--kv-capacity-tokens", "1000000000", "--prefill-tokens-per-s", "1e9")
"""Ranks that are never full, since none of what is measured is to wait for one."""
KEY_FILE = "{key file}"
"""Among a gateway's options, stands for the path of a file with a key; its clients show that key."""
GATEWAY_OPTIONS = {
    "forebay": ("--drain-s", "0.5"),
    "forebay-pace": ("--drain-s", "0.5", "--pace"),
    "forebay-keys": ("--drain-s", "0.5", "--api-keys", KEY_FILE),
}
"""Forebay's gateways by the name of their target. A feature that is to have a row of its own adds one."""


async def start_backend(chunk_times: ChunkTimes, running: Processes) -> Target:
    """The mock backend, which is the target `direct` too. Raises TargetError."""
    ports = [str(port) for port in free_ports(RANKS)]
    backend = await running.forebay(
        "mock backend", "bench-backend", "--chunk-times", chunk_times, "--ports", ",".join(ports)
    )
    addresses = tuple(f"{LOOPBACK}:{port}" for port in ports)
    await _answers(addresses, backend)
    return Target("direct", (Entrance(addresses),), {"backend": backend})


async def start_forebay(
    backends: Sequence[str], gateways: int, folder: Path, running: Processes, wants: Callable[[str], bool]
) -> list[Target]:
    """Gateways, in each wanted of `GATEWAY_OPTIONS`'s ways, over one agent and a Redis of their own.

    Raises TargetError.
    """
    (redis_port,) = free_ports(1)
    redis = await running.forebay("redis", "local-redis", "--port", str(redis_port))
    with anyio.move_on_after(PATIENCE_S) as patience:
        await answers_ping(redis_port)
    if patience.cancelled_caught:
        raise TargetError(_why_not("redis", redis))
    url = local_redis_url(redis_port)
    agent = await running.forebay(
        *("agent", "agent", "--redis", url, "--model", MODEL, "--role", "mixed", "--node", "bench"),
        *("--ranks", ",".join(backends), *AGENT_OPTIONS),
    )
    targets = []
    for name, options in GATEWAY_OPTIONS.items():
        if not wants(name):
            continue
        key_file = folder / f"{name}.keys"
        key = limited_key(key_file) if KEY_FILE in options else ""
        words = [str(key_file) if word == KEY_FILE else word for word in options]
        entrances = []
        for port in free_ports(gateways):
            gateway = await running.forebay(name, "gateway", "--redis", url, "--port", str(port), *words)
            entrances.append(Entrance((f"{LOOPBACK}:{port}",), gateway))
        for entrance in entrances:
            await _answers(entrance.addresses, entrance.process, key)
        targets.append(Target(name, tuple(entrances), {"agent": agent, "redis": redis}, key))
    return targets


def peer_paths(settings: BenchSettings) -> dict[str, str]:
    """The programs of the peers that were asked for and are there."""
    asked = [name for name in PEERS if settings.wants(name)]
    paths = {name: shutil.which(settings.peer.get(name, name)) for name in asked}
    return {name: path for name, path in paths.items() if path}


async def start_peer(name: str, path: str, backends: Sequence[str], folder: Path, running: Processes) -> Target:
    """Another proxy. Raises TargetError with the end of its log."""
    port, metrics_port = free_ports(2)
    made = recipe(name, path, port, metrics_port, backends)
    home = anyio.Path(folder / name)
    await home.mkdir()
    config = home / "config"
    await config.write_text(made.config)
    command = [str(config) if word == CONFIG else word for word in made.command]
    child = await running.other(name, command, cwd=str(home))
    address = f"{LOOPBACK}:{port}"
    await _answers((address,), child)
    return Target(name, (Entrance((address,), child),))


async def _answers(addresses: Sequence[str], process: Child | None, key: str = "") -> None:
    """Return once a completion is answered at each address."""
    assert process is not None
    body = msgspec.json.encode(ASK)
    headers = {"authorization": f"Bearer {key}"} if key else {}
    with anyio.move_on_after(PATIENCE_S):
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE_S, headers=headers) as client:
            for address in addresses:
                while not await _is_answered(client, f"http://{address}/v1/chat/completions", body):
                    if process.process.returncode is not None:
                        raise TargetError(_why_not(process.name, process))
                    await anyio.sleep(RETRY_S)
        return
    raise TargetError(_why_not(process.name, process))


async def _is_answered(client: httpx.AsyncClient, url: str, body: bytes) -> bool:
    try:
        answer = await client.post(url, content=body, headers={"content-type": "application/json"})
    except httpx.TransportError:
        return False
    return answer.is_success


def _why_not(name: str, process: Child) -> str:
    if process.process.returncode is not None:
        return process.describe_end()
    said = "\n".join(f"  {line}" for line in process.last_lines)
    return f"{name} answers nothing after {PATIENCE_S:g} s\n{said}".rstrip()
