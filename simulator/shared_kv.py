"""KV that several ranks on one machine share, found by the blocks' hashes: a directory with a file for each block.

It stands for LMCache, Mooncake's store and their like, of which a gateway sees nothing. Nothing is ever thrown out:
whoever made the directory takes it away.
"""

from __future__ import annotations

from hashlib import sha256
from pathlib import Path
from typing import Literal
from uuid import uuid4

from simulator.settings import RankSettings

Leg = Literal["prefill", "decode"]


class SharedKv:
    """One model's blocks of one size. Strict ranks leave word here of the requests they were asked for as well."""

    def __init__(self, directory: str, model: str, block_size_tokens: int) -> None:
        """Raises OSError where the directory cannot be written."""
        name = sha256(model.encode(errors="backslashreplace")).hexdigest()[:16]
        self._path = Path(directory) / f"{name}-{block_size_tokens}"
        try:
            self._path.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise OSError(f"cannot use the directory {directory} of --kv-store: {error.strerror}") from error

    def get(self, key: int) -> int | None:
        """The content of the block with that key; None where it is not here."""
        try:
            return int((self._path / f"{key:x}").read_bytes())
        except FileNotFoundError:
            return None

    def put(self, key: int, content: int) -> None:
        """Keep a block."""
        self._write(f"{key:x}", b"%d" % content)

    def asked(self, leg: Leg, request_id: str) -> None:
        """A leg of the request is here."""
        self._write(_word(leg, request_id), b"")

    def was_asked(self, leg: Leg, request_id: str) -> bool:
        """Whether a leg of the request was here."""
        return (self._path / _word(leg, request_id)).exists()

    def _write(self, name: str, content: bytes) -> None:
        part = self._path / f"part-{uuid4().hex}"
        part.write_bytes(content)
        part.rename(self._path / name)


def shared_kv(settings: RankSettings) -> SharedKv | None:
    """The shared KV that the settings name, if any. Raises OSError where it cannot be written."""
    return SharedKv(settings.kv_store, settings.model, settings.block_size_tokens) if settings.kv_store else None


def _word(leg: Leg, request_id: str) -> str:
    return f"{leg}-{sha256(request_id.encode(errors='backslashreplace')).hexdigest()[:32]}"
