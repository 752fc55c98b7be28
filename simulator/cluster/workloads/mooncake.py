"""Traces of Mooncake's form: lengths, and which prefixes requests share. Pure.

JSON Lines: `timestamp` (ms), `input_length` and `output_length` (tokens), `hash_ids` (one for each 512 tokens of the
prompt, the last perhaps shorter; equal ids stand for equal text behind equal text).
Source: github.com/kvcache-ai/Mooncake, FAST25-release/traces.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from itertools import groupby, pairwise
from random import Random
from typing import Annotated

import msgspec
from msgspec import Meta

from simulator.cluster.request import BLOCK_ID_BYTES, BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.errors import TraceError

Tokens = Annotated[int, Meta(ge=1, le=1 << 26)]


class Record(msgspec.Struct, frozen=True):
    """One line."""

    timestamp: Annotated[float, Meta(ge=0, le=1e15)]
    input_length: Tokens
    output_length: Tokens
    hash_ids: tuple[Annotated[int, Meta(ge=0)], ...]


def mooncake(lines: Iterable[bytes], file: str, chance: Random) -> list[SimRequest]:
    """The requests of a trace in its order; raises TraceError naming `file` and the line that is none.

    The traces have ticks of 3 s; requests of one tick come at random times up to the next.
    """
    records: list[Record] = []
    decoder = msgspec.json.Decoder(Record)
    for number, line in enumerate(lines, start=1):
        try:
            record = decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            raise TraceError(file, number, str(error)) from error
        _check(record, records[-1] if records else record, file, number)
        records.append(record)
    return [
        SimRequest(
            number=number,
            arrival_s=arrival_s,
            prompt_tokens=record.input_length,
            output_tokens=record.output_length,
            blocks=record.hash_ids[: record.input_length // BLOCK_TOKENS],
        )
        for number, (record, arrival_s) in enumerate(zip(records, _arrivals_s(records, chance), strict=True))
    ]


def _check(record: Record, before: Record, file: str, number: int) -> None:
    if record.timestamp < before.timestamp:
        raise TraceError(
            file, number, f"timestamp {record.timestamp:g} is before {before.timestamp:g}, the last line's"
        )
    blocks = math.ceil(record.input_length / BLOCK_TOKENS)
    if len(record.hash_ids) != blocks:
        found = f"{len(record.hash_ids)} hash_ids for {record.input_length} tokens"
        raise TraceError(file, number, f"{found}, expected one for each {BLOCK_TOKENS}, which is {blocks}")
    # msgspec bounds no integer beyond 63 bits.
    if (largest := max(record.hash_ids)).bit_length() > 8 * BLOCK_ID_BYTES:
        raise TraceError(file, number, f"hash_ids: {largest} has more than {8 * BLOCK_ID_BYTES} bits")


def _arrivals_s(records: Sequence[Record], chance: Random) -> list[float]:
    ticks = [(start, len(list(group))) for start, group in groupby(record.timestamp for record in records)]
    widths = [later - start for (start, _), (later, _) in pairwise(ticks)]
    widths.append(widths[-1] if widths else 0.0)
    return [
        (start + offset) / 1000
        for (start, count), width in zip(ticks, widths, strict=True)
        for offset in sorted(chance.random() * width for _ in range(count))
    ]
