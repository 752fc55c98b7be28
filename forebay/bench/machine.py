"""Where and when a benchmark ran: the machine, the versions of what took part, the day."""

from __future__ import annotations

import os
import platform
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

import anyio

VERSION_TIMEOUT_S = 10.0


async def machine(peers: Mapping[str, str]) -> dict[str, str]:
    """What is known of this machine, and the day (UTC); `peers` are the programs, by name."""
    found = {
        "cpu": _cpu_model(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "python": platform.python_version(),
    }
    found |= {package: version(package) for package in ("forebay", "uvloop", "uvicorn", "redis")}
    for name, path in peers.items():
        found[name] = await _version(name, path)
    return found | {"date": datetime.now(tz=UTC).date().isoformat()}


def _cpu_model() -> str:
    match = re.search(r"^model name\s*: (.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return match[1] if match else platform.machine()


async def _version(name: str, path: str) -> str:
    # Not every program tells its version, but a Python package's is in the name of a folder beside it.
    package = f"lib/python*/site-packages/{name.replace('-', '_')}-*.dist-info"
    async for folder in anyio.Path(path).parent.parent.glob(package):
        return folder.name.removesuffix(".dist-info").rpartition("-")[2]
    with anyio.move_on_after(VERSION_TIMEOUT_S):
        done = await anyio.run_process([path, "-v"], check=False)
        said = (done.stdout + done.stderr).decode(errors="replace")
        if found := re.search(r"\d+\.\d+(?:\.\d+)*", said):
            return found[0]
    return "unknown"
