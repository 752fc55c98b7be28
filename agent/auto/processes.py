"""The processes of this node that are vLLM servers, by their command lines in /proc."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import msgspec

API_SERVER = "vllm.entrypoints.openai.api_server"
VLLM = re.compile(r"(?:.*/)?vllm|vllm\.entrypoints\.cli\.main")
STARTERS = re.compile(r"(?:.*/)?(?:python[0-9.]*|vllm)")

READ = (
    *("VLLM_API_KEY", "VLLM_DP_SIZE", "VLLM_DP_RANK", "VLLM_DP_MASTER_IP", "VLLM_DP_MASTER_PORT"),
    *("VLLM_NIXL_SIDE_CHANNEL_PORT", "VLLM_MOONCAKE_BOOTSTRAP_PORT"),
)
"""All that is kept of a process's environment."""


class ServerProcess(msgspec.Struct, frozen=True):
    """A process, its arguments from `serve` on, and what of its environment is read; `folder` is where it runs."""

    pid: int
    words: tuple[str, ...]
    environment: dict[str, str]
    folder: Path


def server_words(command: list[str]) -> tuple[str, ...] | None:
    """What a command tells a vLLM server; None if it starts none. Pure.

    `vllm serve ...`, as a script of an interpreter or by itself, and `python -m` with vLLM's modules that serve.
    """
    if not STARTERS.fullmatch(command[0]):
        return None  # it only speaks of one: ssh, docker, an editor
    for place, word in enumerate(command[:-1]):
        if word == "-m" and command[place + 1] == API_SERVER:
            return tuple(command[place + 2 :])
        if VLLM.fullmatch(word) and command[place + 1] == "serve":
            return tuple(command[place + 2 :])
    return None


def server_processes(proc: Path = Path("/proc")) -> Iterator[ServerProcess]:
    """Those that run now and that this user may look at. Children that vLLM forks have titles, or no such parent."""
    found = {}
    for folder in proc.iterdir():
        if folder.name.isdigit() and (process := _server_process(folder)) is not None:
            found[process.pid] = process
    for process in found.values():
        # A server's own children repeat its command line until they have set their titles.
        if _parent(proc / str(process.pid)) not in found:
            yield process


def _server_process(folder: Path) -> ServerProcess | None:
    try:
        command = (folder / "cmdline").read_bytes().decode(errors="replace").rstrip("\0").split("\0")
        words = server_words(command)
        if words is None:
            return None
        lines = (folder / "environ").read_bytes().decode(errors="replace").split("\0")
        environment = dict(line.partition("=")[::2] for line in lines)
        kept = {name: environment[name] for name in READ if name in environment}
        return ServerProcess(int(folder.name), words, kept, (folder / "cwd").readlink())
    except OSError:
        return None  # it has ended, or is another user's


def _parent(folder: Path) -> int:
    try:
        # The name in brackets may hold anything, so what is behind the last bracket counts.
        return int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    except (OSError, IndexError, ValueError):
        return 0
