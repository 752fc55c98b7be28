"""Which cases a benchmark has: how many streams or requests, of what size, through how many gateways. Pure."""

from __future__ import annotations

import msgspec

from forebay.bench.settings import QUICK_SHARE, BenchSettings

KILOBYTE = 1_000
SMALL_BODY_BYTES = 2 * KILOBYTE
LARGER_BODIES_BYTES = (16 * KILOBYTE, 220 * KILOBYTE)
MANY_STREAMS = (400, 1_000)
IDLE_STREAMS_TIMES = 10
"""So many times more streams are held idle than sent."""
GATEWAYS = 4
STREAMS_PER_GATEWAY = 50
GATEWAYS_RATE = 25.0
"""Chunks per second of a stream where several gateways are compared: four of them have to share this machine."""


class StreamCase(msgspec.Struct, frozen=True, kw_only=True):
    """Streams of two lengths: their difference in CPU is the cost of the chunks alone."""

    name: str
    streams: int
    rate: float
    short_chunks: int
    long_chunks: int
    body_bytes: int = SMALL_BODY_BYTES
    gateways: int = 1


class RequestCase(msgspec.Struct, frozen=True, kw_only=True):
    """Requests that are not streamed, by clients that wait for each answer."""

    name: str
    connections: int
    requests: int
    body_bytes: int = SMALL_BODY_BYTES
    gateways: int = 1


class MemoryCase(msgspec.Struct, frozen=True, kw_only=True):
    """Streams that are open and send nothing."""

    name: str
    streams: int
    body_bytes: int = SMALL_BODY_BYTES
    gateways: int = 1


Case = StreamCase | RequestCase | MemoryCase


def cases(settings: BenchSettings) -> list[Case]:
    """The cases in the order they are measured.

    Memory comes first: later a process has room left over from earlier streams. Many streams send as many chunks as few
    do, at the same rate in all, so that the load generators are not what is measured.
    """
    share = QUICK_SHARE if settings.quick else 1
    streams = StreamCase(
        name=f"{settings.streams} streams",
        streams=settings.streams,
        rate=settings.rate,
        short_chunks=max(2, settings.chunks[0] // share),
        long_chunks=max(3, settings.chunks[1] // share),
    )
    requests = RequestCase(
        name=f"requests, {settings.connections} at once",
        connections=settings.connections,
        requests=max(1, settings.requests // share),
    )
    idle_streams = IDLE_STREAMS_TIMES * settings.streams
    by_measure: dict[str, list[Case]] = {
        "memory": [MemoryCase(name=f"{idle_streams} idle streams", streams=idle_streams)],
        "streams": [streams],
        "requests": [requests],
        "bodies": [case for body_bytes in LARGER_BODIES_BYTES for case in _larger(body_bytes, streams, requests)],
        "many": [_spread(streams, count) for count in MANY_STREAMS],
        "gateways": [_several(streams, count) for count in (1, GATEWAYS)],
    }
    return [case for measure in settings.measures for case in by_measure[measure]]


def _larger(body_bytes: int, streams: StreamCase, requests: RequestCase) -> tuple[Case, Case]:
    size = f"{body_bytes // KILOBYTE} KB"
    # The chunks are the same; what differs comes before the first one.
    shorter = {"short_chunks": max(2, streams.short_chunks // 4), "long_chunks": max(3, streams.long_chunks // 4)}
    return (
        msgspec.structs.replace(streams, name=f"{streams.name}, {size}", body_bytes=body_bytes, **shorter),
        msgspec.structs.replace(
            requests, name=f"{requests.name}, {size}", body_bytes=body_bytes, requests=max(1, requests.requests // 2)
        ),
    )


def _spread(streams: StreamCase, count: int) -> StreamCase:
    times = max(1.0, count / streams.streams)
    return msgspec.structs.replace(
        streams,
        name=f"{count} streams",
        streams=count,
        rate=streams.rate / times,
        short_chunks=max(2, round(streams.short_chunks / times)),
        long_chunks=max(3, round(streams.long_chunks / times)),
    )


def _several(streams: StreamCase, gateways: int) -> StreamCase:
    return msgspec.structs.replace(
        streams,
        name=f"{gateways} x {STREAMS_PER_GATEWAY} streams",
        streams=gateways * STREAMS_PER_GATEWAY,
        rate=GATEWAYS_RATE,
        short_chunks=max(2, streams.short_chunks // 4),
        long_chunks=max(3, streams.long_chunks // 4),
        gateways=gateways,
    )
