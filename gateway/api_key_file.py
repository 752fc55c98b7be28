"""API keys in a file, one JSON object a line, read again whenever it changes; `forebay key` writes it."""

from __future__ import annotations

import logging
import os
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

import anyio
from anyio import to_thread

from scheduler.api_keys import ApiKey, decode
from scheduler.errors import BadApiKeyError

LOOK_S = 1.0
"""How often it is looked whether the file has changed."""
NO_FILE = "Not a regular file"
"""A FIFO would be waited for until somebody writes, and a device has no end."""
MAX_BYTES = 64 << 20
"""Some 300,000 keys."""
FOR_OTHERS = stat.S_IRWXG | stat.S_IRWXO

KeysByDigest = Mapping[bytes, ApiKey]

log = logging.getLogger(__name__)


class ApiKeyFileError(OSError):
    """The file cannot be read, or is none of keys; the message names file and line, and shows nothing of it."""


class Seen(NamedTuple):
    """By which a file is known to be the one that was read."""

    inode: int
    size: int
    mtime_ns: int


class ApiKeyFile:
    """The file at `path`. `use` is given the keys of each version that can be read."""

    def __init__(self, path: str, use: Callable[[KeysByDigest], None]) -> None:
        self._path = Path(path)
        self._use = use
        self._seen: Seen | None = None

    def open(self) -> None:
        """Read it for the first time. Raises ApiKeyFileError."""
        self._use(self._read())
        warn_if_open(self._path)

    async def run(self) -> None:
        """Read it whenever it has changed. What cannot be read leaves the keys as they are, and is said once."""
        complaint = ""
        while True:
            await anyio.sleep(LOOK_S)
            try:
                changed = await to_thread.run_sync(self._changed)
            except ApiKeyFileError as error:
                if str(error) != complaint:
                    complaint = str(error)
                    log.warning("keeping the API keys that were read before: %s", error)
                continue
            complaint = ""
            if changed is not None:
                self._use(changed)
                log.info("%d API keys read from %s", len(changed), self._path)

    def _changed(self) -> KeysByDigest | None:
        """What it holds, if it is another file than the one that was read last. Raises ApiKeyFileError."""
        try:
            seen = _seen(self._path.stat())
        except OSError as error:
            raise ApiKeyFileError(f"{self._path}: {error.strerror or error}") from error
        return None if seen == self._seen else self._read()

    def _read(self) -> KeysByDigest:
        """Raises ApiKeyFileError. Of one that is none of keys it is known, too, that it was read."""
        self._seen, raw = _content(self._path)
        return _keys(self._path, raw)


def _seen(about: os.stat_result) -> Seen:
    return Seen(about.st_ino, about.st_size, about.st_mtime_ns)


def read_keys(path: Path) -> KeysByDigest:
    """The keys in a file. Raises ApiKeyFileError."""
    return _keys(path, _content(path)[1])


def _content(path: Path) -> tuple[Seen, bytes]:
    """A file's content, and by what it is known again."""
    try:
        with open(path, "rb", opener=_opened_at_once) as file:
            about = os.fstat(file.fileno())
            fault = _fault_of(about)
            if fault is None:
                return _seen(about), file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ApiKeyFileError(f"{path}: {error.strerror or error}") from error
    raise ApiKeyFileError(f"{path}: {fault}")


def _fault_of(about: os.stat_result) -> str | None:
    """Why a file is not read at all."""
    if not stat.S_ISREG(about.st_mode):
        return NO_FILE
    return f"more than {MAX_BYTES} bytes" if about.st_size > MAX_BYTES else None


def _opened_at_once(path: str, flags: int) -> int:
    return os.open(path, flags | os.O_NONBLOCK)


def _keys(path: Path, raw: bytes) -> KeysByDigest:
    try:
        return by_digest(raw)
    except BadApiKeyError as error:
        raise ApiKeyFileError(f"{path}: {error}") from error


def warn_if_open(path: Path) -> None:
    """Say so where others than the owner may read or write the file: whoever writes it lets himself in."""
    if path.stat().st_mode & FOR_OTHERS:
        log.warning("%s is open to others than its owner; chmod 600 is advised", path)


def by_digest(raw: bytes) -> KeysByDigest:
    """The keys in a file's content. Raises BadApiKeyError."""
    found: dict[bytes, ApiKey] = {}
    names: dict[str, int] = {}
    for number, key in keys_in(raw):
        if (other := names.setdefault(key.name, number)) != number:
            raise BadApiKeyError(f"line {number}: {key.name!r} is the name of the key in line {other} too")
        if found.setdefault(bytes.fromhex(key.sha256), key) is not key:
            raise BadApiKeyError(f"line {number}: the key is that of another line too")
    return found


def keys_in(raw: bytes) -> Iterator[tuple[int, ApiKey]]:
    """Each key with the number of its line; empty lines pass. Raises BadApiKeyError."""
    if len(raw) > MAX_BYTES:
        raise BadApiKeyError(f"more than {MAX_BYTES} bytes")
    for number, line in enumerate(raw.splitlines(), 1):
        if line.strip():
            try:
                yield number, decode(line)
            except BadApiKeyError as error:
                raise BadApiKeyError(f"line {number}: {error}") from error
