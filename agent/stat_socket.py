"""The Unix socket that stat loggers push to: made for this user alone, one agent's at a time, gone with it."""

from __future__ import annotations

import errno
import fcntl
import logging
import os
import socket
import stat
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from agent.errors import StatSocketError

log = logging.getLogger(__name__)

OFF = "off"
_RECEIVE_BYTES = 4 << 20
_OWNER_ONLY = 0o600
_HELD = "another agent listens there"


def default_path() -> Path:
    """Where stat loggers push to that are told nothing else (vllm_plugin/forebay_stat_logger/sender.py)."""
    return Path(f"/tmp/forebay-{os.geteuid()}/stats.sock")  # noqa: S108  (the folder is checked to be this user's)


@contextmanager
def stat_socket(path: str) -> Iterator[socket.socket | None]:
    """The bound socket; None where it is switched off, or is the default one and cannot be had.

    Raises StatSocketError where it was asked for and cannot be had.
    """
    with ExitStack() as stack:
        bound = None
        if path != OFF:
            try:
                bound = stack.enter_context(_bound(Path(path) if path else _own_default()))
            except StatSocketError as error:
                if path:
                    raise
                log.info("%s; ranks are read by their pages", error)
        yield bound


def _own_default() -> Path:
    path = default_path()
    try:
        path.parent.mkdir(mode=0o700, exist_ok=True)
        about = path.parent.lstat()
    except OSError as error:
        raise StatSocketError(f"stat socket {path}: {error.strerror}") from error
    if not stat.S_ISDIR(about.st_mode) or about.st_uid != os.geteuid() or about.st_mode & 0o077:
        raise StatSocketError(f"stat socket {path}: {path.parent} is not this user's alone")
    return path


@contextmanager
def _bound(path: Path) -> Iterator[socket.socket]:
    with _locked(path), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as bound:
        try:
            _make_room(path)
            bound.setblocking(False)
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            before = os.umask(0o777 & ~_OWNER_ONLY)
            try:
                bound.bind(str(path))
            finally:
                os.umask(before)
        except StatSocketError:
            raise
        except OSError as error:
            raise StatSocketError(f"stat socket {path}: {error.strerror or error}") from error
        try:
            yield bound
        finally:
            with suppress(OSError):
                path.unlink(missing_ok=True)


def _make_room(path: Path) -> None:
    """Remove what a killed agent left. Raises StatSocketError where it is no socket, or somebody listens on it."""
    if not os.path.lexists(path):
        return
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise StatSocketError(f"stat socket {path}: there is something else of that name")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(str(path))
        except ConnectionRefusedError:
            path.unlink()
            return
        except OSError as error:
            if error.errno != errno.EPROTOTYPE:  # a stream socket, which somebody listens on
                raise
    raise StatSocketError(f"stat socket {path}: another program listens there")


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Holds the path against other agents: two that find what a killed one left must not both take its place."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        lock = os.open(path.with_name(f"{path.name}.lock"), flags, _OWNER_ONLY)
    except OSError as error:
        raise StatSocketError(f"stat socket {path}: {error.strerror}") from error
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        is_held = isinstance(error, BlockingIOError)
        raise StatSocketError(f"stat socket {path}: {_HELD if is_held else error.strerror}") from error
    try:
        yield
    finally:
        os.close(lock)
