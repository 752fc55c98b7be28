"""Which ports are free, on real sockets."""

import socket

from forebay.ports import free_ports, free_row, obstacles


def test_a_port_that_another_socket_listens_on_is_named_with_the_reason() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        assert obstacles([port]) == {port: "Address already in use"}
    assert obstacles([port]) == {}


def test_free_ports_are_different_and_free() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert obstacles(ports) == {}


def test_a_free_row_is_found_beyond_what_is_taken() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        first = free_row(2, port - 101)  # 100 further on its second port is the taken one
    assert first is not None
    assert first > port
    assert obstacles([first, first + 1]) == {}


def test_there_is_no_row_beyond_the_last_port() -> None:
    assert free_row(2, 65_500) is None
