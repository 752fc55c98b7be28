"""Sends datagrams to the agent's socket; one that cannot be taken at once is dropped and counted."""

from __future__ import annotations

import os
import socket

VARIABLE = "FOREBAY_STAT_SOCKET"


def socket_path() -> str:
    """Where the agent listens: as the variable says, else in a folder of this user's."""
    return os.environ.get(VARIABLE) or f"/tmp/forebay-{os.geteuid()}/stats.sock"  # noqa: S108  (the agent makes it)


class Sender:
    """One socket to `path`, where the agent may come and go; `dropped` datagrams were taken by nobody."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.setblocking(False)
        self._is_connected = False
        self.dropped = 0

    def send(self, datagram: bytes) -> bool:
        """False where the agent has not read what is there, so that it would take the datagram later. Never waits."""
        try:
            if not self._is_connected:
                self._socket.connect(self._path)
                self._is_connected = True
            self._socket.send(datagram)
        except BlockingIOError:
            self.dropped += 1
            return False
        except OSError:
            self._is_connected = False  # the next one goes to whoever listens there then
            self.dropped += 1
        return True

    def close(self) -> None:
        """Send no more."""
        self._socket.close()
