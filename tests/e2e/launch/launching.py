"""Agents that launch ranks, as processes, and what is left of them."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from tests.agent.launch.marked import MARK, end_marked, marked, new_mark
from tests.e2e.launch.fake_vllm import CALLS, ROLE, put_on_path
from tests.gateway.gateway_process import ForebayProcess, forebay_process
from tests.polling import PATIENCE_S, until_now
from tests.ports import free_port

ROOT = Path(__file__).parents[3]
TEMPLATES = ROOT / "deploy" / "launch"
FAST = ("--scrape-ms", "50", "--idle-scrape-ms", "50", "--stop-timeout-s", "600")


class Launched:
    """An agent that launches, and all processes that come of it."""

    def __init__(self, agent: ForebayProcess, mark: str) -> None:
        self.agent, self.mark = agent, mark

    @property
    def said(self) -> str:
        return self.agent.err.read_text()

    def processes(self) -> dict[int, str]:
        """Of its ranks and their keepers."""
        return {pid: line for pid, line in marked(self.mark).items() if pid != self.agent.process.pid}

    def pid_of(self, what: str) -> int:
        """The one process with these words in its command line."""
        (pid,) = (pid for pid, line in self.processes().items() if what in line)
        return pid

    def rank_pid(self, port: int) -> int:
        return self.pid_of(f"forebay rank --port {port} ")

    def keeper_pid(self, port: int) -> int:
        """The parent of a rank's first process."""
        stat = Path(f"/proc/{self.rank_pid(port)}/stat").read_text()
        return int(stat.rpartition(")")[2].split()[1])

    def ranks(self, *ports: int) -> dict[int, int]:
        """The processes of those of these ranks that run now, by port."""
        found = {}
        for port in ports:
            with suppress(ValueError):
                found[port] = self.rank_pid(port)
        return found

    def exit_code(self) -> int:
        """That of the agent, once it has ended; nothing is left then."""
        code = self.agent.process.wait(PATIENCE_S)
        assert self.processes() == {}
        return code

    def tell(self, received: signal.Signals) -> None:
        os.kill(self.agent.process.pid, received)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        """Waits; says what the agent said, and what runs, where it is in vain."""
        try:
            until_now(holds, what, pause_s=0.05)
        except AssertionError as error:
            raise AssertionError(f"{error}\n{self.said}\n{self.processes()}") from error

    def until_said(self, text: str, times: int = 1) -> None:
        self.until(lambda: self.said.count(text) >= times, f"the agent says {text!r}")

    def until_nothing_is_left(self) -> None:
        self.until(lambda: not self.processes(), "all its processes have ended")


@contextmanager
def launched(
    folder: Path, monkeypatch: pytest.MonkeyPatch, redis_url: str, template: Path, role: str, *options: str
) -> Iterator[Launched]:
    """An agent on `template` whose `vllm` is a simulated rank of model sim; its processes do not outlive the block."""
    mark, name = new_mark(), f"{role}-{len(list(folder.iterdir()))}"
    calls, logs = folder / f"{name}-calls", folder / f"{name}-logs"
    calls.mkdir()
    vllm = put_on_path(folder)
    with monkeypatch.context() as environment:
        for variable, value in {
            MARK: mark,
            CALLS: str(calls),
            ROLE: role,
            "MODEL": "m",
            "SERVED_NAME": "sim",
            "PYTHONPATH": f"{ROOT}:{ROOT / 'vllm_plugin'}",
            "PATH": f"{vllm}:{os.environ['PATH']}",
        }.items():
            environment.setenv(variable, value)
        options = ("--redis", redis_url, "--model", "sim", "--role", role, "--launch", str(template), *FAST, *options)
        options = ("--dp-rpc-port", str(free_port()), "--log-dir", str(logs), *options)
        process = forebay_process(folder, "agent", *options)
        agent = process.__enter__()
    started = Launched(agent, mark)
    try:
        yield started
    finally:
        agent.process.kill()
        end_marked(mark)
        process.__exit__(None, None, None)
