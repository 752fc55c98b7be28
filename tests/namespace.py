"""A network namespace that sockets can listen in, behind a veth pair, and that can be cut off: its packets vanish.

It has no name and no process. A thread of ours is in it, and the kernel removes it, and with it the pair, when that
thread and the last of its sockets are gone. Of a run that was killed nothing is left behind: at once, or, if it was cut
off then, when TCP has given up what was under way, which takes a minute or two.
"""

from __future__ import annotations

import asyncio
import ctypes
import errno
import os
import random
import shutil
import socket
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from ipaddress import IPv4Network
from pathlib import Path
from typing import Final

from tests.polling import until_now
from tests.ports import bound

NETWORK: Final = IPv4Network("198.18.0.0/15")
"""Reserved for benchmarks (RFC 2544). Each pair has a /30 of it."""
PAIRS: Final = range(NETWORK.num_addresses // 4)
TRIES: Final = 100
HERE, THERE, NOWHERE = "02:00:00:00:00:01", "02:00:00:00:00:02", "02:00:00:00:00:03"
"""Of each pair our end, the other, and nobody: what is sent to that address is dropped without a word."""
INSIDE: Final = "forebay"
NOT_ROOT, NO_IP = "this user is not root", "ip is not installed (Debian: iproute2)"
ANSWERS_WITHIN_S: Final = 2.0

_CLONE_NEWNET: Final = 0x40000000


class Namespace:
    """Made by `namespace`. Who listens in it is reached at `address`, by way of our `device`."""

    def __init__(self, inside: ThreadPoolExecutor, number: int) -> None:
        first = NETWORK.network_address + 4 * number
        self.device, self.address = _device(number), str(first + 2)
        self._inside, self._ours = inside, str(first + 1)

    def open(self) -> None:
        """Packets pass when this returns."""
        _ip(*_up(self.device, self._ours), _neighbour(self.device, self.address, THERE))
        lines = (*_up(INSIDE, self.address), _neighbour(INSIDE, self._ours, HERE))
        self._inside.submit(_ip, *lines).result()
        state = Path("/sys/class/net", self.device, "operstate")
        until_now(lambda: state.read_text() == "up\n", f"{self.device} is up")

    def bound(self, port: int) -> socket.socket:
        """A socket with this port there (0: any). It is used out here, and so is what it accepts."""
        return self._inside.submit(bound, self.address, port).result()

    async def cut(self) -> None:
        """Packets vanish in both directions, and nobody is told."""
        await self._lead_to(NOWHERE, NOWHERE)

    async def mend(self) -> None:
        """They arrive again."""
        await self._lead_to(THERE, HERE)

    async def _lead_to(self, there: str, here: str) -> None:
        """Packets are sent to these hardware addresses. A link that is down or a route that leads nowhere would be an
        error at once for who sends, and asking for addresses would end in one after three seconds.
        """
        loop = asyncio.get_running_loop()
        await asyncio.gather(
            loop.run_in_executor(None, _ip, _neighbour(self.device, self.address, there)),
            loop.run_in_executor(self._inside, _ip, _neighbour(INSIDE, self._ours, here)),
        )


@contextmanager
def namespace() -> Iterator[Namespace]:
    """One that is there until the block ends. Raises OSError where it cannot be made."""
    with ThreadPoolExecutor(1, "namespace") as inside:
        inside.submit(_enter_a_new_one).result()
        number = inside.submit(_pair, os.getpid()).result()
        try:
            made = Namespace(inside, number)
            made.open()
            yield made
        finally:
            _ip(f"link delete {_device(number)}")


@cache
def hindrance() -> str:
    """Why no namespace can be had here; empty where one can, which is tried."""
    if os.geteuid() != 0:
        return NOT_ROOT
    if shutil.which("ip") is None:
        return NO_IP
    try:
        with namespace() as made, made.bound(0) as listener:
            listener.listen()
            socket.create_connection(listener.getsockname(), ANSWERS_WITHIN_S).close()
    except OSError as error:
        return f"this machine lets none be made, or not be reached: {error}"
    return ""


def _enter_a_new_one() -> None:
    """This thread does, and no other. `os.unshare` is there from Python 3.12 on."""
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, f"unshare: {os.strerror(code)}")


def _pair(pid: int) -> int:
    """Makes a pair, one end with this process. Its number is its own: the kernel lets no two devices have one name."""
    for number in random.sample(PAIRS, TRIES):
        ends = f"{INSIDE} address {THERE} type veth peer name {_device(number)} address {HERE} netns {pid}"
        try:
            _ip(f"link add {ends}")
        except OSError as error:
            if os.strerror(errno.EEXIST) not in str(error):
                raise
        else:
            return number
    raise OSError(f"{TRIES} parts of {NETWORK} are all in use")


def _device(number: int) -> str:
    return f"forebay{number}"


def _up(device: str, address: str) -> tuple[str, str]:
    return f"address add {address}/30 dev {device}", f"link set {device} up"


def _neighbour(device: str, address: str, hardware_address: str) -> str:
    return f"neighbour replace {address} lladdr {hardware_address} dev {device} nud permanent"


def _ip(*lines: str) -> None:
    """Runs `ip` where this thread is. Raises OSError with what it said."""
    command = ["ip", "-batch", "-"]
    # In a session of its own, else Ctrl-C would end it too.
    done = subprocess.run(
        command, input="\n".join(lines), capture_output=True, text=True, check=False, start_new_session=True
    )
    if done.returncode:
        raise OSError(f"ip {'; '.join(lines)}: {done.stderr.strip()}")
