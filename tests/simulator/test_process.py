"""A rank as a process: its ready line, its end, its bad options."""

import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from tests.simulator.rank_process import (
    DEADLINE_S,
    RankProcess,
    eventually,
    parse,
    read_all,
    request,
    running_rank,
)

ASK = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True}
PATHS = (("/v1/completions", ASK), ("/v1/chat/completions", {**ASK, "messages": [{"role": "user", "content": "x"}]}))


@contextmanager
def asking(rank: RankProcess, path: str, body: object) -> Iterator[socket.socket]:
    """A client whose request the engine is working on."""
    before = rank.state()["in_engine"]
    with rank.connect() as client:
        client.sendall(request("POST", path, body))
        eventually(lambda: rank.state()["in_engine"] > before)
        yield client


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize(("path", "body"), PATHS)
def test_a_signal_cuts_streams_short_and_leaves_the_rest_unanswered(
    number: signal.Signals, path: str, body: dict[str, object]
) -> None:
    options = {"stream": True, "stream_options": {"include_usage": True}}
    with running_rank() as rank, asking(rank, path, {**body, **options}) as stream, asking(rank, path, body) as whole:
        got = stream.recv(65536)
        while b'"finish_reason":null' not in got:
            got += stream.recv(65536)
        rank.process.send_signal(number)
        reply = parse(got + read_all(stream))
        *_, cut, last = reply.events()
        assert cut["choices"][0]["finish_reason"] == "abort"
        assert last["usage"]["completion_tokens"] > 0
        assert read_all(whole) == b""
        assert rank.process.wait(DEADLINE_S) == 0


@pytest.mark.parametrize(("path", "body"), PATHS)
def test_a_stream_without_a_token_ends_without_a_word_of_it(path: str, body: dict[str, object]) -> None:
    with running_rank("--speed", "0.001") as rank, asking(rank, path, {**body, "stream": True}) as stream:
        rank.process.terminate()
        events = parse(read_all(stream)).events()
        assert [event["choices"][0]["delta"]["role"] for event in events] == ["assistant"] * path.count("chat")


def says_nothing(client: socket.socket) -> bool:
    client.settimeout(0.2)
    with pytest.raises(TimeoutError):
        client.recv(1)
    client.settimeout(DEADLINE_S)
    return True


def test_a_rank_that_lingers_says_nothing_until_its_clients_leave() -> None:
    with running_rank("--linger-s", "60") as rank:
        with asking(rank, "/v1/completions", ASK) as whole, rank.connect() as idle:
            rank.process.terminate()
            assert read_all(idle) == b""
            with pytest.raises(ConnectionRefusedError):
                rank.connect()
            assert says_nothing(whole)
            assert rank.process.poll() is None
        assert rank.process.wait(DEADLINE_S) == 0


def test_a_rank_lingers_no_longer_than_it_was_told_to() -> None:
    with running_rank("--linger-s", "0.3") as rank, asking(rank, "/v1/completions", ASK) as whole:
        rank.process.terminate()
        assert says_nothing(whole)
        assert read_all(whole) == b""
        assert rank.process.wait(DEADLINE_S) == 0


def test_a_frozen_rank_leaves_streams_without_a_word() -> None:
    with running_rank("--linger-s", "60") as rank:
        with asking(rank, "/v1/completions", {**ASK, "stream": True}) as stream:
            assert rank.post("/sim/fault", {"kind": "freeze"}).status == 200
            while stream.recv(65536):
                stream.settimeout(0.2)
                try:
                    stream.recv(1, socket.MSG_PEEK)
                except TimeoutError:
                    break
            rank.process.terminate()
            assert says_nothing(stream)
        assert rank.process.wait(DEADLINE_S) == 0


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
