"""Changes to a file of API keys: one at a time, and whole or not at all."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import NamedTemporaryFile

import click

from gateway.api_key_file import FOR_OTHERS, by_digest
from scheduler.api_keys import ApiKey, encode
from scheduler.errors import BadApiKeyError

OWNER_ALONE = 0o600


class KeyFileEdits:
    """The file at `path`; lines that are not concerned stay in their order. All raise click.ClickException."""

    def __init__(self, path: str) -> None:
        self._path = Path(path).resolve()

    def all(self) -> tuple[Sequence[ApiKey], Mapping[str, str]]:
        """The keys, by name; a file with anything else is none."""
        return sorted(self._read(), key=lambda key: key.name), {}

    def add(self, key: ApiKey) -> None:
        """One more line."""
        with self._locked():
            keys = self._read() if self._path.exists() else []
            if any(each.name == key.name for each in keys):
                raise click.ClickException(f"there is a key called {key.name!r}")
            self._write([*keys, key])

    def change(self, name: str, changed: Callable[[ApiKey], ApiKey]) -> None:
        """Another line in the place of one."""
        with self._locked():
            keys = self._read()
            self._require(keys, name)
            self._write([changed(each) if each.name == name else each for each in keys])

    def remove(self, name: str) -> None:
        """One line less."""
        with self._locked():
            keys = self._read()
            self._require(keys, name)
            self._write([each for each in keys if each.name != name])

    def _require(self, keys: Sequence[ApiKey], name: str) -> None:
        if not any(each.name == name for each in keys):
            raise click.ClickException(f"there is no key called {name!r}")

    @contextmanager
    def _locked(self) -> Iterator[None]:
        """Nobody else's change comes between. The folder is locked, for the file is another one each time."""
        try:
            folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            raise click.ClickException(f"{self._path.parent}: {error.strerror}") from error
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            yield
        finally:
            os.close(folder)

    def _read(self) -> list[ApiKey]:
        try:
            return list(by_digest(self._path.read_bytes()).values())
        except OSError as error:
            raise click.ClickException(f"{self._path}: {error.strerror}") from error
        except BadApiKeyError as error:
            raise click.ClickException(f"{self._path}: {error}") from error

    def _write(self, keys: Sequence[ApiKey]) -> None:
        try:
            with NamedTemporaryFile(dir=self._path.parent, prefix=f".{self._path.name}.", delete=False) as file:
                try:
                    file.writelines(encode(key) + b"\n" for key in keys)
                    self._keep_owner_and_mode(file.fileno())
                    file.flush()
                    os.fsync(file.fileno())
                    Path(file.name).replace(self._path)
                except BaseException:
                    Path(file.name).unlink()
                    raise
        except OSError as error:
            raise click.ClickException(f"{self._path}: {error.strerror}") from error

    def _keep_owner_and_mode(self, new: int) -> None:
        """A gateway that could read the file before still can."""
        mode = OWNER_ALONE
        if self._path.exists():
            about = self._path.stat()
            mode = about.st_mode & 0o777
            with suppress(PermissionError):
                os.fchown(new, about.st_uid, about.st_gid)
        os.fchmod(new, mode)
        if mode & FOR_OTHERS:
            click.echo(f"{self._path} is open to others than its owner; chmod 600 is advised", err=True)
