"""`forebay up` as a process of its own, with what it printed and what it started."""

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import openai
from click.testing import CliRunner

from forebay.main import main
from tests.polling import until_now
from tests.ports import free_row

START_S = 60.0
FOREBAY = (sys.executable, "-m", "forebay")
SMALL = ("--prefill", "0", "--decode", "0", "--mixed", "1", "--gateways", "1")
"""The least that serves."""


def environment(**variables: str) -> dict[str, str]:
    """Ours, without what a developer may have set for Forebay."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("FOREBAY_")}
    return ours | variables


def forebay(*arguments: str, **variables: str) -> "subprocess.CompletedProcess[str]":
    """Runs a command to its end."""
    return subprocess.run(
        [*FOREBAY, *arguments],
        env=environment(**variables),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )


class Up:
    """One running `forebay up`; `said` is its standard output, `complained` its standard error."""

    def __init__(self, folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> None:
        self.port = free_row(2)
        self._out, self._err = folder / "up.out", folder / "up.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*FOREBAY, "up", "--port", str(self.port), "--speed", "50", *arguments],
                env=environment(**(variables or {})),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def said(self) -> str:
        return self._out.read_text(errors="replace")

    @property
    def complained(self) -> str:
        return self._err.read_text(errors="replace")

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, f"ended with {self.process.returncode}:\n{self.complained}"
            return "curl" in self.said and self.said.endswith("\n")

        until_now(ready, "forebay up is ready", within_s=START_S)

    @property
    def redis_url(self) -> str:
        found = re.search(r"^forebay up is ready: redis (\S+), gateways ", self.said, re.MULTILINE)
        assert found, self.said
        return found[1]

    @property
    def gateways(self) -> list[str]:
        found = re.search(r"^forebay up is ready: .*, gateways (.+)$", self.said, re.MULTILINE)
        assert found, self.said
        return found[1].split()

    def status(self) -> dict[str, Any]:
        """What the command says; it is not run as a process, for tests ask again and again."""
        ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
        done = CliRunner().invoke(main, ["status", "--json", "--redis", self.redis_url], env=ours)
        assert done.exit_code == 0, done.output
        status: dict[str, Any] = json.loads(done.stdout)
        return status

    def rank_of_a_chat(self, gateway: str) -> str:
        """Has a short chat through the gateway; returns the rank that answered it."""
        return self._chat(gateway)["x-forebay-decode"]

    def ranks(self, role: str) -> list[str]:
        """The names of the ranks of a role."""
        return [rank["rank"] for rank in self.status()["ranks"] if rank["role"] == role]

    def gateway_of_a_chat(self, url: str) -> str:
        """Has a short chat; returns the gateway that placed it."""
        return self._chat(url)["x-forebay-gateway"]

    def _chat(self, gateway: str) -> Mapping[str, str]:
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0) as client:
            answer = client.chat.completions.with_raw_response.create(
                model="sim",
                messages=[{"role": "user", "content": "Hello"}],
                max_tokens=4,
                extra_headers={"x-forebay-explain": "1"},
            )
            assert answer.parse().choices[0].message.content
            return answer.headers

    def children(self) -> list[int]:
        """The processes it has started, as the kernel knows them."""
        return children_of(self.process.pid)

    def end(self) -> int:
        """Sends SIGTERM; returns the exit status."""
        self.process.terminate()
        return self.process.wait(START_S)


@contextmanager
def up_running(folder: Path, *arguments: str, variables: Mapping[str, str] | None = None) -> Iterator[Up]:
    """A ready `forebay up`, ended by force if need be."""
    up = Up(folder, *arguments, variables=variables)
    try:
        up.wait_until_ready()
        yield up
    finally:
        up.process.kill()
        up.process.wait()


def is_alive(pid: int) -> bool:
    """Whether the process runs; one that has ended and that nobody has waited for does not."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except (FileNotFoundError, ProcessLookupError):
        return False
    return state != "Z"


def all_gone(pids: list[int]) -> None:
    """Waits until none of the processes runs."""
    until_now(lambda: not any(map(is_alive, pids)), "all children have ended")


def children_of(pid: int) -> list[int]:
    return [int(child) for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


def command_line(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
