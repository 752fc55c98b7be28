"""Who pushes: by this the agent finds the port."""

import socket
from pathlib import Path

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
