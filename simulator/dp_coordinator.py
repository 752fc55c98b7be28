"""The coordinator of an external data-parallel group, which rank 0's process hosts, and what is said with it.

A rank says its number; once all have, the coordinator tells each to go, and takes nobody any more: a rank that is
started anew belongs to no life of the group that began without it. What vLLM says there is other; what follows from it
is the same.
"""

from __future__ import annotations

import asyncio
from typing import cast

import msgspec

_LONGEST = 4096


class Hello(msgspec.Struct, frozen=True, tag="hello"):
    """A rank is there."""

    rank: int
    size: int


class Go(msgspec.Struct, frozen=True, tag="go"):
    """All ranks are."""


class Refused(msgspec.Struct, frozen=True, tag="refused"):
    """A rank does not belong here."""

    why: str


class Lost(msgspec.Struct, frozen=True, tag="lost"):
    """A rank has ended, so no step of the group does."""

    rank: int


Frame = Hello | Go | Refused | Lost
_decoder = msgspec.json.Decoder(Frame)


class FrameError(ValueError):
    """Bytes that are none of these."""


def pack(frame: Frame) -> bytes:
    """A frame as a line."""
    return msgspec.json.encode(frame) + b"\n"


class Lines:
    """Cuts what comes into frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Frame]:
        """The frames that are whole now. Raises FrameError."""
        *lines, self._rest = (self._rest + data).split(b"\n")
        if len(self._rest) > _LONGEST:
            raise FrameError("a line without end")
        try:
            return [_decoder.decode(line) for line in lines]
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            raise FrameError(str(error)) from error


class Coordinator:
    """One life of a group of `size` ranks."""

    def __init__(self, size: int) -> None:
        self.size = size
        self._links: dict[int, Link] = {}
        self._has_gone = False
        self._is_closed = False
        self._open: set[Link] = set()

    def link(self) -> Link:
        """One connection, as a listener makes them."""
        return Link(self)

    def hello(self, link: Link, hello: Hello) -> None:
        """A rank is there; refused where it does not belong to this life of the group."""
        if hello.size != self.size:
            link.end(f"rank {hello.rank} is of a group of {hello.size}, this one has {self.size} ranks")
        elif self._has_gone:
            link.end(f"rank {hello.rank} comes to a group of an older life, which runs without it")
        elif hello.rank in self._links:
            link.end(f"rank {hello.rank} has been here before, and cannot come anew alone")
        else:
            self._links[hello.rank], link.rank = link, hello.rank
            if len(self._links) == self.size:
                self._has_gone = True
                self._tell(Go())

    def opened(self, link: Link) -> None:
        """A connection is there; it may come after all others were closed."""
        self._open.add(link)
        if self._is_closed:
            link.abort()

    def closed(self, link: Link) -> None:
        """A connection is gone, and its rank with it; what it said counts on, for it cannot come anew alone."""
        self._open.discard(link)
        if link.rank is not None and self._has_gone:
            self._tell(Lost(link.rank))

    def close(self) -> None:
        """The process ends."""
        self._is_closed = True
        for link in list(self._open):
            link.abort()

    def _tell(self, frame: Frame) -> None:
        for link in self._links.values():
            link.send(frame)


class Link(asyncio.Protocol):
    """One connection of a rank; what is no frame ends it."""

    def __init__(self, coordinator: Coordinator) -> None:
        self._coordinator = coordinator
        self._lines = Lines()
        self._transport: asyncio.Transport | None = None
        self.rank: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """It may yet be anybody: who only tries the port says nothing."""
        # uvloop's transports are no subclasses of asyncio's.
        self._transport = cast("asyncio.Transport", transport)
        self._coordinator.opened(self)

    def data_received(self, data: bytes) -> None:
        """Take a rank's hello."""
        try:
            for frame in self._lines.feed(data):
                if isinstance(frame, Hello) and self.rank is None:
                    self._coordinator.hello(self, frame)
        except FrameError:
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """The rank has ended."""
        self._coordinator.closed(self)

    def send(self, frame: Frame) -> None:
        """Say something, if anybody is there."""
        if self._transport is not None and not self._transport.is_closing():
            self._transport.write(pack(frame))

    def end(self, why: str) -> None:
        """Refuse the rank."""
        self.send(Refused(why))
        if self._transport is not None:
            self._transport.close()

    def abort(self) -> None:
        """Drop the connection."""
        if self._transport is not None:
            self._transport.abort()
