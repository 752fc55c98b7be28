"""A gateway of several processes on one port."""

import os
import re
import signal
import socket
import subprocess
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import httpx
import pytest

from tests.e2e.up_process import FOREBAY, SMALL, START_S, Up, all_gone, command_line, environment, up_running
from tests.e2e.workers_process import KEY, Workers, stream, stream_on_each, workers_running
from tests.polling import until_now
from tests.ports import free_port

LONG = 400
"""Tokens of a stream that outlasts what a test does meanwhile."""


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up_running(tmp_path_factory.mktemp("up"), *SMALL, "--speed", "5") as running:
        yield running


@pytest.fixture
def workers(up: Up, tmp_path: Path) -> Iterator[Workers]:
    with workers_running(tmp_path, up.redis_url) as running:
        yield running


@pytest.fixture(scope="module")
def unharmed(up: Up, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workers]:
    """For tests that leave them as they were."""
    with workers_running(tmp_path_factory.mktemp("workers"), up.redis_url) as running:
        yield running


def gateways_of(up: Up, workers: Workers) -> set[str]:
    """The workers' names in Redis, as `forebay status` shows them."""
    address = f"127.0.0.1:{workers.port}"
    return {f"{gateway['gateway']}@{address}" for gateway in up.status()["gateways"] if gateway["address"] == address}


def test_each_worker_is_a_gateway_of_its_own_and_gets_clients(up: Up, unharmed: Workers) -> None:
    names = gateways_of(up, unharmed)
    assert len(names) == 2
    with stream_on_each(unharmed, LONG) as streams:
        assert {each.gateway for each in streams} == names
    assert unharmed.get("/admin/state").json()["gateway"] in names
    assert not [pid for pid in unharmed.children if KEY in command_line(pid)]


def test_one_line_says_that_all_are_ready(unharmed: Workers) -> None:
    assert unharmed.out == f"gateway ready: 2 workers on {unharmed.url}\n"


def test_metrics_are_those_of_all_workers_whichever_is_asked(up: Up, workers: Workers) -> None:
    served = [up.gateway_of_a_chat(workers.url)]
    while len(set(served)) < 2 and len(served) < 100:
        served.append(up.gateway_of_a_chat(workers.url))
    assert len(set(served)) == 2
    route = "pool=sim route=/v1/chat/completions status=200"
    for _ in range(4):
        counted = workers.counted()
        assert counted[f"forebay_gateway_requests_total {route}"] == len(served)
        assert counted["forebay_gateway_e2e_seconds_count pool=sim"] == len(served)
        assert counted["forebay_gateway_e2e_seconds_bucket le=+Inf pool=sim"] == len(served)
        assert sum(n for line, n in counted.items() if line.startswith("forebay_gateway_placements_total")) == len(
            served
        )
    with stream(workers.url, LONG), stream(workers.url, LONG):
        until_now(lambda: workers.gauge("forebay_gateway_reservations") == 2, "both reservations are shown")
    assert (workers.gauge("forebay_gateway_workers"), workers.gauge("forebay_gateway_ready")) == (2, 1)


def test_a_worker_that_is_killed_is_replaced_and_the_others_serve_on(up: Up, workers: Workers) -> None:
    before, counted = gateways_of(up, workers), workers.counted()
    with stream_on_each(workers, LONG) as opened:
        os.kill(workers.children[0], signal.SIGKILL)
        ended = {}
        for each in opened:
            try:
                ended[each.gateway] = each.rest().rstrip().endswith("[DONE]")
            except httpx.TransportError:
                ended[each.gateway] = False
    assert ended.keys() == before
    assert sorted(ended.values()) == [False, True]

    def replaced() -> bool:
        nonlocal counted
        now = workers.counted()
        assert {line for line, n in counted.items() if now.get(line, 0) < n} == set()
        counted = now
        gateways = gateways_of(up, workers)
        return len(gateways) == 2 and gateways != before and workers.gauge("forebay_gateway_workers") == 2

    until_now(replaced, "another worker serves", within_s=START_S)
    assert counted["forebay_gateway_worker_restarts_total"] == 1
    assert up.status()["reservations"] == 0
    assert "was ended by SIGKILL; another is started in 0 s" in workers.log
    assert len(workers.out.splitlines()) == 1


def test_connections_that_wait_outlive_the_worker_that_could_have_taken_them(workers: Workers) -> None:
    first, second = workers.children
    for pid in (first, second):
        os.kill(pid, signal.SIGSTOP)
    with socket.create_connection(("127.0.0.1", workers.port), START_S) as waiting:
        waiting.sendall(b"GET /readyz HTTP/1.1\r\nHost: g\r\n\r\n")
        for pid in (first, second):
            os.kill(pid, signal.SIGKILL)
        assert waiting.recv(64).startswith(b"HTTP/1.1 ")


def test_on_sigterm_every_worker_says_on_new_connections_that_it_is_not_ready(up: Up, tmp_path: Path) -> None:
    patient = ("--lame-duck-ms", "1000000", "--drain-s", "1000")
    with workers_running(tmp_path, up.redis_url, *patient) as workers, stream(workers.url, LONG) as running:
        workers.process.terminate()
        stopping = set[str]()

        def both_say_so() -> bool:
            state = workers.get("/admin/state").json()
            if state["stopping"]:
                stopping.add(state["gateway"])
            return len(stopping) == 2

        until_now(both_say_so, "both workers have heard of it")
        assert [workers.get("/readyz").status_code for _ in range(4)] == [503] * 4
        assert running.rest().rstrip().endswith("[DONE]")
        workers.process.terminate()
        assert workers.process.wait(START_S) == 0


def test_on_sigterm_streams_finish_and_nothing_is_left(workers: Workers) -> None:
    children = workers.children
    with stream(workers.url, LONG) as running:
        workers.process.terminate()
        assert running.rest().rstrip().endswith("[DONE]")
    assert workers.process.wait(START_S) == 0
    all_gone(children)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.1", workers.port))


def test_a_second_signal_cuts_what_still_runs_and_tells_the_clients(up: Up, tmp_path: Path) -> None:
    with workers_running(tmp_path, up.redis_url) as workers, stream(workers.url, 4000) as running:
        workers.process.send_signal(signal.SIGINT)
        stopping = "stopping; requests that may run on"
        until_now(lambda: workers.log.count(stopping) == len(workers.children), "the first signal has come to all")
        workers.process.send_signal(signal.SIGINT)
        assert '"code":503' in running.rest()
        assert workers.process.wait(START_S) == 0


def test_a_supervisor_that_is_killed_leaves_no_worker_behind(workers: Workers) -> None:
    children = workers.children
    assert len(children) == 2
    workers.process.kill()
    all_gone(children)


def test_a_port_that_is_taken_is_named(up: Up, unharmed: Workers) -> None:
    second = run(up.redis_url, unharmed.port)
    assert second.returncode == 1
    assert f"cannot listen on 127.0.0.1 port {unharmed.port}" in second.stderr


@pytest.mark.parametrize(
    ("redis_url", "options", "why"),
    [
        ("ftp://x", "", "unknown scheme"),
        ("rediss://127.0.0.1:1?ssl_ca_certs=none.pem", "", "ssl_ca_certs: No such file or directory"),
        ("redis://127.0.0.1:1", "--tls-cert none.pem --tls-key none.pem", "--tls-cert: cannot use none.pem"),
        ("redis://127.0.0.1:1", "--rank-ca none.pem", "--rank-ca: cannot use none.pem"),
    ],
)
def test_what_cannot_be_used_is_refused_once(redis_url: str, options: str, why: str) -> None:
    done = run(redis_url, free_port(), *options.split())
    assert done.returncode == 2, done.stderr
    assert done.stderr.count(why) == 1


def test_workers_that_do_not_start_end_it_with_1_and_a_line_that_says_so(tmp_path: Path) -> None:
    without_store = Workers(tmp_path, f"redis://127.0.0.1:{free_port()}")

    def all_are_killed_at_once() -> bool:
        with suppress(ProcessLookupError, FileNotFoundError):
            for pid in without_store.children:
                os.kill(pid, signal.SIGKILL)
        return without_store.process.poll() is not None

    until_now(all_are_killed_at_once, "it has given up", within_s=START_S)
    assert without_store.process.returncode == 1
    last = without_store.log.splitlines()[-1]
    assert re.fullmatch(r"Error: worker-\d \(pid \d+\) was ended by SIGKILL; it did not start 3 times in a row", last)
    assert without_store.out == ""


def run(redis_url: str, port: int, *options: str) -> "subprocess.CompletedProcess[str]":
    """Two workers, run to their end."""
    return subprocess.run(
        [*FOREBAY, "gateway", "--workers", "2", "--port", str(port), *options],
        env=environment(FOREBAY_REDIS=redis_url),
        capture_output=True,
        text=True,
        timeout=START_S,
        check=False,
    )
