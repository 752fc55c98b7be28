"""Which ports are free, on real sockets."""

import socket

from forebay.ports import free_ports, obstacles


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
