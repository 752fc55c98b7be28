"""Who pushes: by this the agent finds the port."""

import os
import socket
from pathlib import Path

import pytest
from forebay_stat_logger import identity
from forebay_stat_logger.identity import listening_ports
from forebay_stat_logger.pushing import Pushing

from tests.stat_logger.steps import iteration, load, taker


def test_the_ports_that_the_process_listens_on_are_told_with_its_first_answer(path: Path, pushing: Pushing) -> None:
    with taker(path) as agent:
        with socket.create_server(("127.0.0.1", 0)) as server:
            port = server.getsockname()[1]
            pushing.record(load(), iteration(), 3)
            assert port in listening_ports()
        (push,) = agent.taken()
    assert port in push["ports"]


def test_a_clock_that_is_set_while_the_process_runs_makes_it_no_other_process(
    path: Path, pushing: Pushing, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(identity, "started_at_ms", lambda: 1)
    with taker(path) as agent:
        pushing.record(load(), iteration(), 3)
        (push,) = agent.taken()
    monkeypatch.undo()
    assert push["start_ms"] == identity.started_at_ms()


def test_a_look_at_its_ports_leaves_the_sockets_of_the_process_as_they_were() -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        before = socket.getdefaulttimeout()
        socket.setdefaulttimeout(5.0)
        try:
            listening_ports()
        finally:
            socket.setdefaulttimeout(before)
        assert os.get_blocking(ours.fileno())
