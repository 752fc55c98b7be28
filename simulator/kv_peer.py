"""One other engine, as the engine that pulls KV from it sees it: its side channel and the reads under way."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any, Final, cast

from simulator.bootstrap import BootstrapError, address_of
from simulator.side_channel_frames import Claim, Contents, Frame, FrameError, Read, Unpacker, Welcome, pack
from simulator.transfer_params import RemoteKv

_RETRY_S: Final = 0.1

OnContents = Callable[[Contents | None], None]
"""Takes the answer to a read, or None where it will never come."""


class KvPeer(asyncio.Protocol):
    """`known` once it has said that it is the engine it was taken for; `lost` for ever when the connection ends.

    What is sent before that waits for it. Without an engine id whoever is there is the one. `stranger` is the engine
    met in its place.
    """

    def __init__(self, remote: RemoteKv, block_size_tokens: int) -> None:
        self.engine_id = remote.engine_id
        self.known = False
        self.lost = False
        self.stranger = ""
        self._host, self._port = remote.host, remote.port
        self._bootstrap_url = remote.bootstrap_url
        self._block_size = block_size_tokens
        self._settled = asyncio.Event()
        self._transport: asyncio.Transport | None = None
        self._unpacker = Unpacker()
        self._unsent: list[bytes] = []
        self._reads: dict[int, OnContents] = {}

    async def shake_hands(self, deadline_s: float) -> None:
        """Connect, trying again and again as ZMQ does, until it is known or lost."""
        try:
            async with asyncio.timeout(deadline_s):
                if self._bootstrap_url:
                    found = await address_of(self._bootstrap_url, self.engine_id)
                    self._host, self._port = found or ("", 0)
                if _is_port(self._port):
                    await self._connect()
                    await self._settled.wait()
        except (TimeoutError, BootstrapError):
            pass
        if not self.known:
            self._lose()

    def read(self, number: int, order_request_id: str, block_ids: tuple[int, ...], on_contents: OnContents) -> None:
        """Ask what these blocks hold; `number` tells the reads apart."""
        self._reads[number] = on_contents
        self.send(Read(number, order_request_id, block_ids))

    def claim(self, number: int, key: str, on_contents: OnContents) -> None:
        """Ask for the KV of a name, which may be there later."""
        self._reads[number] = on_contents
        self.send(Claim(number, key))

    def send(self, frame: Frame) -> None:
        """Send a frame, now or once the engine is known."""
        if self.known and self._transport is not None:
            self._transport.write(pack(frame))
        elif not self.lost:
            self._unsent.append(pack(frame))

    def close(self) -> None:
        """Hang up."""
        if self._transport is not None:
            self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Somebody is there."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        """The welcome, then answers to reads."""
        try:
            for frame in self._unpacker.feed(data):
                if isinstance(frame, Welcome):
                    self._meet(frame)
                elif isinstance(frame, Contents):
                    self._reads.pop(frame.number)(frame)
        except FrameError:
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        """The other engine is gone, and with it what was asked."""
        self._lose()

    async def _connect(self) -> None:
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: self, self._host, self._port)
            except (OSError, ValueError):  # nobody there (yet), or a name that is none
                await asyncio.sleep(_RETRY_S)
            else:
                return

    def _meet(self, welcome: Welcome) -> None:
        engine_id = self.engine_id or welcome.engine_id
        if (welcome.engine_id, welcome.block_size_tokens) != (engine_id, self._block_size):
            self.stranger = welcome.engine_id
            self.close()
            return
        self.known = True
        self._settled.set()
        if self._transport is not None:
            self._transport.writelines(self._unsent)
        self._unsent.clear()

    def _lose(self) -> None:
        self.lost = True
        self._settled.set()
        self.close()
        self._transport = None
        self._unsent.clear()
        reads, self._reads = self._reads, {}
        for on_contents in reads.values():
            on_contents(None)


def _is_port(port: Any) -> bool:
    return type(port) is int and 0 < port < 65_536
