"""The options of `forebay bench`. Pure."""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

Measure = Literal["streams", "requests", "bodies", "many", "memory", "gateways"]
ChunkTimes = Literal["steps", "even"]
GATEWAY_TARGETS = ("forebay", "forebay-pace", "forebay-keys")
"""This gateway as it is, with the event tap that can be switched on, and asked with a key that has limits."""
PEERS = ("nginx", "haproxy", "vllm-router", "smg")
"""The other proxies it knows how to start."""
QUICK_MEASURES: tuple[Measure, ...] = ("streams", "requests")
QUICK_SHARE = 4
"""A quick run sends so many times fewer chunks and requests."""


class BenchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is measured, on what, and how long; each field's description is its help text."""

    quick: Annotated[
        bool, Meta(description="a run of about a minute: streams and requests only, a quarter of the chunks of each")
    ] = False
    target: Annotated[
        tuple[str, ...], Meta(description="targets to measure, by name; without any, all that are found")
    ] = ()
    peer: Annotated[
        dict[str, str], Meta(description=f"NAME=PATH: a peer's program, if not on the PATH: {', '.join(PEERS)}")
    ] = {}
    measure: Annotated[tuple[Measure, ...], Meta(description="what to measure; without any, everything")] = ()
    rounds: Annotated[int, Meta(ge=1, le=100, description="rounds; each visits every target once")] = 3
    streams: Annotated[int, Meta(ge=1, le=1_000, description="streams at once; ten times as many are held idle")] = 100
    rate: Annotated[float, Meta(ge=0.1, le=1_000, description="chunks per second of each stream")] = 100.0
    chunk_times: Annotated[
        ChunkTimes,
        Meta(description="steps: chunks of all streams at once, as an engine's step makes them; even: each alone"),
    ] = "steps"
    chunks: Annotated[
        tuple[Annotated[int, Meta(ge=2, le=100_000)], ...],
        Meta(description="SHORT,LONG: chunks of the two kinds of streams whose difference is the slope"),
    ] = (64, 512)
    connections: Annotated[int, Meta(ge=1, le=1_000, description="clients that wait for each answer, not streamed")] = (
        16
    )
    requests: Annotated[int, Meta(ge=1, le=1_000_000, description="requests of all of them, not streamed")] = 2_000
    json: Annotated[str, Meta(description="file for the report as JSON")] = ""
    plot: Annotated[str, Meta(description="file for the plot, an SVG image")] = ""
    page: Annotated[str, Meta(description="Markdown page, in which the part between two marks is written anew")] = ""

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if len(self.chunks) != 2 or not 2 <= self.chunks[0] < self.chunks[1] <= 100_000:
            raise ValueError("chunks: expected SHORT,LONG with 2 <= SHORT < LONG <= 100000")
        if unknown := sorted(set(self.peer) - set(PEERS)):
            raise ValueError(f"peer: {unknown[0]!r} is none of {', '.join(PEERS)}")
        known = ("direct", *GATEWAY_TARGETS, *PEERS)
        if unknown := sorted(set(self.target) - set(known)):
            raise ValueError(f"target: {unknown[0]!r} is none of {', '.join(known)}")

    @property
    def measures(self) -> tuple[Measure, ...]:
        """What is to be measured, a quick run's choice included."""
        every: tuple[Measure, ...] = ("memory", "streams", "requests", "bodies", "many", "gateways")
        return self.measure or (QUICK_MEASURES if self.quick else every)

    def wants(self, target: str) -> bool:
        """Whether this target was asked for."""
        return not self.target or target in self.target
