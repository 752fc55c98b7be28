"""`forebay proxy` as a process of its own, with what it said, and simulated ranks behind it."""

import re
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx

from tests.e2e.up_process import FOREBAY, START_S, children_of, environment
from tests.polling import until_now


class Proxy:
    """A running one; `said` is its standard output, `complained` its standard error. Port 0 is another once ready."""

    def __init__(self, folder: Path, port: int, command: Sequence[str], variables: Mapping[str, str]) -> None:
        self.port = port
        self._out, self._err = folder / f"proxy-{port}.out", folder / f"proxy-{port}.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                command, env=environment(**variables), stdin=subprocess.DEVNULL, stdout=out, stderr=err
            )
        self.http = httpx.Client(base_url=self.url, trust_env=False, timeout=START_S)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def said(self) -> str:
        return self._out.read_text()

    @property
    def complained(self) -> str:
        return self._err.read_text()

    @property
    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.complained
            return self.said.endswith("\n")

        until_now(ready, "the proxy is ready", within_s=START_S)
        found = re.search(r"http://127\.0\.0\.1:(\d+)", self.said)
        assert found, self.said
        self.port = int(found[1])
        self.http.base_url = self.url

    def health(self) -> dict[str, Any]:
        answer = self.http.get("/healthcheck")
        assert answer.status_code == 200
        return dict(answer.json())

    def change(self, what: str, role: str, instances: str | list[str]) -> dict[str, Any]:
        """POSTs to /instances/`what`; returns the answer, which is a success."""
        answer = self.http.post(f"/instances/{what}", json={"type": role, "instances": instances})
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def complete(self, prompt: str = "Once upon a time", **fields: Any) -> httpx.Response:
        """One completion; its head names the ranks."""
        body = {"model": "sim", "prompt": prompt, "max_tokens": 4, **fields}
        return self.http.post("/v1/completions", json=body, headers={"x-forebay-explain": "1"})

    def end(self) -> int:
        """Sends SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(START_S)


@contextmanager
def running(folder: Path, port: int, command: Sequence[str], **variables: str) -> Iterator[Proxy]:
    """A proxy that may not be ready, ended by force if need be."""
    proxy = Proxy(folder, port, command, variables)
    try:
        with proxy.http:
            yield proxy
    finally:
        proxy.process.kill()
        proxy.process.wait()


@contextmanager
def proxy_running(folder: Path, port: int, *words: str, **variables: str) -> Iterator[Proxy]:
    """One that is ready and says which ranks served."""
    with running(folder, port, command_of(port, *words), **variables) as proxy:
        proxy.wait_until_ready()
        yield proxy


def command_of(port: int, *words: str) -> list[str]:
    """That of a proxy that says which ranks served."""
    return [*FOREBAY, "proxy", "--port", str(port), "--explain", *words]


@contextmanager
def many_ranks(role: str, speed: float, addresses: Sequence[str]) -> Iterator["subprocess.Popen[bytes]"]:
    """Simulated ranks at these addresses, all in one process."""
    command = [sys.executable, "-m", "tests.e2e.ep.ranks_node", role, str(speed), "0", *addresses]
    process = subprocess.Popen(command, env=environment(), stdin=subprocess.DEVNULL)
    try:
        yield process
    finally:
        process.kill()
        process.wait()
