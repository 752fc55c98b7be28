"""Gateways and agents as the processes users start, with what they print."""

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx

from tests.polling import until_now
from tests.ports import free_port

START_S = 30.0


class ForebayProcess(NamedTuple):
    """A running `forebay` command; what it said goes to files."""

    process: "subprocess.Popen[bytes]"
    out: Path
    err: Path
    port: int

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def status(self, path: str) -> int:
        """The status of a GET, 0 if there is no answer."""
        try:
            return httpx.get(self.url + path, trust_env=False, timeout=START_S).status_code
        except httpx.TransportError:
            return 0

    def wait_until_ready(self) -> str:
        """The ready line."""

        def ready() -> bool:
            assert self.process.poll() is None, self.err.read_text()
            return self.out.read_text().endswith("\n")

        until_now(ready, "the process is ready", within_s=START_S)
        return self.out.read_text()


@contextmanager
def forebay_process(folder: Path, command: str, *options: str) -> Iterator[ForebayProcess]:
    """A `forebay` command that runs until the block ends."""
    name = f"{command}-{len(list(folder.iterdir()))}"
    out, err = folder / f"{name}.out", folder / f"{name}.err"
    ours = {key: value for key, value in os.environ.items() if not key.startswith("FOREBAY_")}
    port = free_port() if command == "gateway" else 0
    # Where nobody looks for it in a load balancer, no gateway stays for one.
    listen = ("--port", str(port), "--lame-duck-ms", "0") if port else ()
    with out.open("wb") as stdout, err.open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "forebay", command, *listen, *options],
            env=ours,
            stdin=subprocess.DEVNULL,
            stdout=stdout,
            stderr=stderr,
        )
    try:
        yield ForebayProcess(process, out, err, port)
    finally:
        if process.poll() is None:
            process.terminate()
        try:
            process.wait(START_S)
        finally:
            process.kill()


def warnings_of(process: ForebayProcess) -> list[str]:
    """The lines of its log at WARNING or above."""
    return re.findall(r"^.* (?:WARNING|ERROR|CRITICAL) .*$", process.err.read_text(), re.MULTILINE)
