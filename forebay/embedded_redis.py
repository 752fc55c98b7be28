"""fakeredis behind a TCP port, for machines without redis-server.

fakeredis has a TCP server of its own, but it closes the connection after any error reply. Here an error is a reply
like another, as NOSCRIPT has to be.
"""

from __future__ import annotations

import socketserver
from collections.abc import Iterator
from contextlib import closing, suppress

from fakeredis import FakeRedisConnection, FakeServer
from fakeredis._clients._tcp_server import encode_reply
from fakeredis._helpers import SimpleError
from fakeredis._socket import FakeSocket

RECEIVE_BYTES = 65_536


class EmbeddedRedis(socketserver.ThreadingTCPServer):
    """A Redis server within this process, empty at the start; one thread per connection.

    A command that blocks blocks its own connection only. Replies leave only after a command came, so there is no
    publish/subscribe.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self, host: str, port: int) -> None:
        super().__init__((host, port), _Connection)
        self.store = FakeServer(version=(7, 0))


class _Connection(socketserver.BaseRequestHandler):
    server: EmbeddedRedis

    def handle(self) -> None:
        # RESP2 as a new connection to a real server speaks it, until the client says HELLO.
        connection = FakeRedisConnection(server=self.server.store, protocol=2)
        with closing(connection.get_socket()) as commands, suppress(ConnectionError):
            while data := self.request.recv(RECEIVE_BYTES):
                try:
                    commands.sendall(data)
                except SimpleError as error:
                    # Not the protocol, or the inline form of it, which fakeredis does not read.
                    self.request.sendall(encode_reply(error, protocol=2))
                    return
                self.request.sendall(b"".join(_replies(commands)))


def _replies(commands: FakeSocket) -> Iterator[bytes]:
    assert commands.responses is not None
    while not commands.responses.empty():
        reply = commands.responses.get()
        # fakeredis has no public word for what HELLO has chosen.
        yield encode_reply(reply, commands._client_info.protocol_version)  # noqa: SLF001
