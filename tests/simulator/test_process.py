"""A rank as a process: its ready line, its end, its bad options."""

import signal
import subprocess
import sys

import pytest

from tests.simulator.rank_process import DEADLINE_S, read_all, request, running_rank


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_it_at_once_and_closes_connections(number: signal.Signals) -> None:
    with running_rank() as rank, rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 10_000, "stream": True}))
        assert b"200 OK" in client.recv(65536)
        rank.process.send_signal(number)
        assert rank.process.wait(DEADLINE_S) == 0
        assert b"[DONE]" not in read_all(client)


@pytest.mark.parametrize(("option", "value"), [("--speed", "0"), ("--role", "both"), ("--kv-blocks", "3")])
def test_a_bad_option_is_named_and_ends_with_two(option: str, value: str) -> None:
    command = [sys.executable, "-m", "forebay", "rank", option, value]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 2
    assert option in done.stderr
    assert done.stdout == ""


def test_an_address_in_use_is_said_plainly() -> None:
    with running_rank() as rank:
        command = [sys.executable, "-m", "forebay", "rank", "--port", str(rank.port)]
        done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE_S, check=False)
    assert done.returncode == 1
    assert f"Error: cannot listen on 127.0.0.1 port {rank.port}: Address already in use\n" == done.stderr
