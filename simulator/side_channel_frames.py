"""What a decode rank and a prefill rank say to each other about KV: length-prefixed msgpack. Pure.

The prefill side says `Welcome` once a connection is there. NIXL's own protocol (ZMQ and RDMA) is nothing a gateway
ever sees, so it is not imitated.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

_LENGTH_BYTES: Final = 4
_MOST_BYTES: Final = 1 << 28


class Welcome(msgspec.Struct, frozen=True, tag=True):
    """Prefill side: who answers here."""

    engine_id: str
    block_size_tokens: int


class Read(msgspec.Struct, frozen=True, tag=True):
    """Decode side: what do these blocks hold; `kv_request_id` says whose they should be."""

    number: int
    kv_request_id: str
    block_ids: tuple[int, ...]


class Contents(msgspec.Struct, frozen=True, tag=True):
    """Prefill side: the answer to the read or claim of that number; None where there are no such blocks."""

    number: int
    contents: tuple[int, ...] | None


class Claim(msgspec.Struct, frozen=True, tag=True):
    """Decode side of legs that come at once: what does the KV of that name hold, when it is there."""

    number: int
    key: str


class Done(msgspec.Struct, frozen=True, tag=True):
    """Decode side: the request's KV is needed no longer."""

    kv_request_id: str


class Heartbeat(msgspec.Struct, frozen=True, tag=True):
    """Decode side: the request's KV is still wanted."""

    kv_request_id: str


Frame = Welcome | Read | Claim | Contents | Done | Heartbeat


class FrameError(ValueError):
    """The bytes are no frames."""


def pack(frame: msgspec.Struct) -> bytes:
    """The frame's bytes."""
    body = msgspec.msgpack.encode(frame)
    return len(body).to_bytes(_LENGTH_BYTES, "big") + body


class Unpacker:
    """Cuts a byte stream into frames of this `kind`."""

    def __init__(self, kind: Any = Frame) -> None:
        self._kind = kind
        self._data = bytearray()

    def feed(self, data: bytes) -> Iterator[Any]:
        """The frames complete by now; raises FrameError."""
        self._data += data
        while len(self._data) >= _LENGTH_BYTES:
            size = int.from_bytes(self._data[:_LENGTH_BYTES], "big")
            if size > _MOST_BYTES:
                raise FrameError(f"a frame of {size} bytes")
            if len(self._data) < _LENGTH_BYTES + size:
                return
            body = bytes(self._data[_LENGTH_BYTES : _LENGTH_BYTES + size])
            del self._data[: _LENGTH_BYTES + size]
            try:
                yield msgspec.msgpack.decode(body, type=self._kind)
            except msgspec.DecodeError as error:
                raise FrameError(str(error)) from error
