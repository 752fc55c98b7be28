"""The side channel of an engine: other engines read the KV it keeps, and say when they have it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any, Protocol, cast

from simulator.side_channel_frames import Claim, Contents, Done, FrameError, Heartbeat, Read, Unpacker, Welcome, pack

OnClaimed = Callable[[tuple[int, ...]], None]
"""Takes what was claimed."""


class KvSource(Protocol):
    """What the channel needs of the engine behind it."""

    engine_id: str

    def read_kv(self, kv_request_id: str, block_ids: tuple[int, ...]) -> tuple[int, ...] | None:
        """What these blocks hold now; None where there are no such blocks."""

    def claim_kv(self, claim: Claim, answer: OnClaimed) -> None:
        """Call with what the KV of a name holds, now or when it is there."""

    def kv_done(self, kv_request_id: str) -> None:
        """The request's KV is needed no longer."""

    def kv_heartbeat(self, kv_request_id: str, now_s: float) -> None:
        """The request's KV is still wanted."""


class SideChannel(asyncio.Protocol):
    """One connection of another engine, among the `open_channels` while it lasts; what is no frame ends it."""

    def __init__(self, source: KvSource, block_size_tokens: int, open_channels: set[Any]) -> None:
        self._source = source
        self._block_size = block_size_tokens
        self._open_channels = open_channels
        self._unpacker = Unpacker()
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Say who is here."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._open_channels.add(self)
        self._transport.write(pack(Welcome(self._source.engine_id, self._block_size)))

    def data_received(self, data: bytes) -> None:
        """Answer reads, take notifications."""
        transport = self._transport
        if transport is None:
            return
        try:
            for frame in self._unpacker.feed(data):
                if isinstance(frame, Read):
                    contents = self._source.read_kv(frame.kv_request_id, frame.block_ids)
                    transport.write(pack(Contents(frame.number, contents)))
                elif isinstance(frame, Claim):
                    self._source.claim_kv(frame, partial(self._give, frame.number))
                elif isinstance(frame, Done):
                    self._source.kv_done(frame.kv_request_id)
                elif isinstance(frame, Heartbeat):
                    self._source.kv_heartbeat(frame.kv_request_id, asyncio.get_running_loop().time())
        except FrameError:
            transport.abort()

    def _give(self, number: int, contents: tuple[int, ...]) -> None:
        if self._transport is not None:
            self._transport.write(pack(Contents(number, contents)))

    def close(self) -> None:
        """This engine is gone."""
        if self._transport is not None:
            self._transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other engine is gone; its leases end by themselves."""
        self._open_channels.discard(self)
        self._transport = None
