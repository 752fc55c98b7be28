"""A gateway of several processes on one port."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.up_process import SMALL, Up, all_gone, children_of, command_line, environment, up_running
from tests.polling import until_now
from tests.servers import free_port

KEY = "hunter2-hunter2"


class Workers:
    """`forebay gateway --workers 2` beside a running `forebay up`."""

    def __init__(self, up: Up, folder: Path) -> None:
        self.port = free_port()
        self._log = folder / "workers.log"
        command = [sys.executable, "-m", "forebay", "gateway", "--workers", "2", "--port", str(self.port), "--explain"]
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, env=environment(FOREBAY_REDIS=up.redis_url, FOREBAY_ADMIN_KEY=KEY), stdout=log, stderr=log
            )
        until_now(lambda: f"gateway ready: 2 workers on 127.0.0.1 port {self.port}" in self.log, "they are ready")

    @property
    def log(self) -> str:
        return self._log.read_text()

    @property
    def children(self) -> list[int]:
        return children_of(self.process.pid)


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up_running(tmp_path_factory.mktemp("up"), *SMALL) as running:
        yield running


@pytest.fixture
def workers(up: Up, tmp_path: Path) -> Iterator[Workers]:
    running = Workers(up, tmp_path)
    try:
        yield running
    finally:
        running.process.kill()
        running.process.wait()


def test_each_worker_is_a_gateway_of_its_own_and_both_get_clients(up: Up, workers: Workers) -> None:
    address = f"127.0.0.1:{workers.port}"
    mine = {gateway["gateway"] for gateway in up.status()["gateways"] if gateway["address"] == address}
    assert len(mine) == 2
    served = set[str]()

    def both_have_served() -> bool:
        served.add(up.gateway_of_a_chat(f"http://{address}"))
        return served == {f"{gateway}@{address}" for gateway in mine}

    until_now(both_have_served, "both workers have served")
    assert not [pid for pid in workers.children if KEY in command_line(pid)]


def test_a_signal_ends_all_workers_with_0(workers: Workers) -> None:
    children = workers.children
    assert len(children) == 2
    workers.process.terminate()
    assert workers.process.wait(30) == 0
    all_gone(children)


def test_a_worker_that_dies_is_named_and_ends_them_all_with_1(workers: Workers) -> None:
    children = workers.children
    os.kill(children[0], signal.SIGKILL)
    assert workers.process.wait(30) == 1
    assert "was ended by SIGKILL" in workers.log
    all_gone(children)
