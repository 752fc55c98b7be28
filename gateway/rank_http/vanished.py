"""Has TCP notice that the machine at the other end is gone.

One that loses its power or its network closes nothing, and TCP alone takes a quarter of an hour to give up what it has
sent, and waits for ever for what was not sent yet.
"""

from __future__ import annotations

import socket
import sys
from typing import Final

LOOKS: Final = 3
"""How often a machine that has nothing to say is asked within the time that it has."""


def expect_answers(descriptor: int, within_s: float) -> None:
    """From now on this connection is lost when the other machine has answered nothing of TCP's for so long.

    That is also when it has no room for what is sent to it for so long. A process that is slow, or frozen, answers: its
    kernel does. RFC 5482, RFC 9293 section 3.8.4; only Linux lets all of it be set. Raises OSError for what is closed.
    """
    # The socket that uvloop shows takes ten microseconds for each option: it duplicates the descriptor.
    connection = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP, fileno=descriptor)
    try:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        if sys.platform == "linux":
            every_s = max(1, int(within_s / LOOKS))
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, every_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, every_s)
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, int(within_s * 1000))
    finally:
        connection.detach()
