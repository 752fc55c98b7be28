"""`forebay gateway --workers N` as a process of its own, with what it said, started and counts."""

import re
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import NamedTuple

import httpx
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.up_process import FOREBAY, START_S, children_of, environment
from tests.polling import until_now
from tests.ports import free_port

KEY = "hunter2-hunter2"

Labels = tuple[tuple[str, str], ...]


class Workers:
    """A running one; `out` is its standard output, `log` its standard error."""

    def __init__(self, folder: Path, redis_url: str, *options: str) -> None:
        self.port = free_port()
        self._out, self._err = folder / "workers.out", folder / "workers.err"
        with self._out.open("wb") as out, self._err.open("wb") as err:
            self.process = subprocess.Popen(
                [*FOREBAY, "gateway", "--workers", "2", "--port", str(self.port), "--explain", *options],
                env=environment(FOREBAY_REDIS=redis_url, FOREBAY_ADMIN_KEY=KEY),
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=err,
            )

    @property
    def out(self) -> str:
        return self._out.read_text()

    @property
    def log(self) -> str:
        return self._err.read_text()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def children(self) -> list[int]:
        return children_of(self.process.pid)

    def wait_until_ready(self) -> None:
        def ready() -> bool:
            assert self.process.poll() is None, self.log
            return self.out.endswith("\n")

        until_now(ready, "the workers are ready", within_s=START_S)

    def get(self, path: str) -> httpx.Response:
        """On a connection of its own."""
        return httpx.get(self.url + path, headers={"Authorization": f"Bearer {KEY}"}, trust_env=False, timeout=START_S)

    def counted(self) -> dict[str, float]:
        """What /metrics shows of all that only grows, by line; of no gauge, and of no time."""
        return {
            f"{sample.name} {' '.join(f'{name}={value}' for name, value in sorted(sample.labels.items()))}".strip(): (
                sample.value
            )
            for family in text_string_to_metric_families(self.get("/metrics").text)
            if family.type in {"counter", "histogram"}
            for sample in family.samples
            if not sample.name.endswith("_created")
        }

    def gauge(self, name: str) -> float:
        """What /metrics shows under this name."""
        found = re.search(rf"^{name} (\S+)$", self.get("/metrics").text, re.MULTILINE)
        assert found, name
        return float(found[1])


class Stream(NamedTuple):
    """The stream of an answer, begun."""

    response: httpx.Response
    lines: Iterator[str]

    @property
    def gateway(self) -> str:
        """The gateway that serves it."""
        return str(self.response.headers["x-forebay-gateway"])

    def rest(self) -> str:
        """All that is still to come. Raises httpx.TransportError when it breaks off."""
        return "\n".join(self.lines)


@contextmanager
def stream(url: str, tokens: int) -> Iterator[Stream]:
    """A stream that has brought its first event."""
    body = {"model": "sim", "prompt": "Once", "max_tokens": tokens, "stream": True, "ignore_eos": True}
    with (
        httpx.Client(trust_env=False, timeout=START_S) as client,
        client.stream("POST", f"{url}/v1/completions", json=body, headers={"x-forebay-explain": "1"}) as response,
    ):
        assert response.status_code == 200
        lines = response.iter_lines()
        next(lines)
        yield Stream(response, lines)


@contextmanager
def stream_on_each(workers: Workers, tokens: int) -> Iterator[list[Stream]]:
    """A stream that has begun on each of the two workers."""
    found: dict[str, Stream] = {}
    with ExitStack() as streams:

        def both() -> bool:
            each = streams.enter_context(stream(workers.url, tokens))
            found[each.gateway] = each
            return len(found) == 2

        until_now(both, "both workers have got a stream")
        yield list(found.values())


@contextmanager
def workers_running(folder: Path, redis_url: str, *options: str) -> Iterator[Workers]:
    """Two workers that are ready, ended by force if need be."""
    workers = Workers(folder, redis_url, *options)
    try:
        workers.wait_until_ready()
        yield workers
    finally:
        workers.process.kill()
        workers.process.wait()
