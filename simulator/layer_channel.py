"""The side channel over which a prefill engine writes KV into a decode engine, and tells it when it is done.

Frames are length-prefixed msgpack. Mooncake's own transport is nothing a gateway ever sees, so it is not imitated.
"""

from __future__ import annotations

import asyncio
from typing import Any, Final, Protocol, cast

import msgspec

from simulator.side_channel_frames import FrameError, Unpacker, pack

_READ_BYTES: Final = 65_536


class Hello(msgspec.Struct, frozen=True, tag=True):
    """Decode side: who answers here."""

    engine_id: str


class Layers(msgspec.Struct, frozen=True, tag=True):
    """Prefill side: write this into these blocks."""

    block_ids: tuple[int, ...]
    contents: tuple[int, ...]


class Sent(msgspec.Struct, frozen=True, tag=True):
    """Prefill side: all of this request's KV is written; or, if it `failed`, will not be."""

    name: str
    failed: bool = False


class Ack(msgspec.Struct, frozen=True, tag=True):
    """Decode side: heard."""


Frame = Hello | Layers | Sent | Ack


class LayerSink(Protocol):
    """The decode engine behind a channel."""

    engine_id: str

    def layers_written(self, block_ids: tuple[int, ...], contents: tuple[int, ...]) -> None:
        """Another engine writes into these blocks, whoever they belong to."""

    def layers_sent(self, name: str, *, failed: bool) -> None:
        """Another engine has written all KV of the request, or will not."""


class LayerChannel(asyncio.Protocol):
    """One connection of a prefill engine, among the `open_channels` while it lasts; what is no frame ends it."""

    def __init__(self, sink: LayerSink, open_channels: set[Any]) -> None:
        self._sink = sink
        self._open_channels = open_channels
        self._unpacker = Unpacker(Frame)
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who is here."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._open_channels.add(self)
        self._transport.write(pack(Hello(self._sink.engine_id)))

    def data_received(self, data: bytes) -> None:
        """Take KV and notifications."""
        transport = self._transport
        if transport is None:
            return
        try:
            for frame in self._unpacker.feed(data):
                if isinstance(frame, Layers):
                    self._sink.layers_written(frame.block_ids, frame.contents)
                elif isinstance(frame, Sent):
                    self._sink.layers_sent(frame.name, failed=frame.failed)
                    transport.write(pack(Ack()))
        except FrameError:
            transport.abort()

    def close(self) -> None:
        """This engine is gone."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other engine has hung up."""
        self._open_channels.discard(self)
        self._transport = None


async def send_layers(host: str, port: int, engine_id: str, frames: list[Frame]) -> bool:
    """Send frames to that engine and wait until it has heard the last; False where it is another one.

    Raises OSError, EOFError, FrameError.
    """
    reader, writer = await asyncio.open_connection(host, port)
    unpacker = Unpacker(Frame)
    try:
        hello = await _next(reader, unpacker)
        if not isinstance(hello, Hello) or hello.engine_id != engine_id:
            return False
        writer.write(b"".join(map(pack, frames)))
        await writer.drain()
        return isinstance(await _next(reader, unpacker), Ack)
    finally:
        writer.close()


async def _next(reader: asyncio.StreamReader, unpacker: Unpacker) -> Any:
    while data := await reader.read(_READ_BYTES):
        for frame in unpacker.feed(data):
            return frame
    raise EOFError("the other engine has hung up")
