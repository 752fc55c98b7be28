"""Mooncake-format traces as requests: when each is sent, and prompts of the recorded lengths and shared prefixes. Pure.

A trace is JSON Lines: `timestamp` (ms), `input_length` and `output_length` (tokens), `hash_ids` (one per 512 tokens of
the prompt; equal ids stand for equal text behind equal text).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, pairwise
from random import Random

import msgspec

BLOCK_TOKENS = 512
BYTES_PER_TOKEN = 4
"""The simulated rank cuts text into pieces of four bytes."""


class Record(msgspec.Struct, frozen=True):
    """One line of a trace."""

    timestamp: int
    input_length: int
    output_length: int
    hash_ids: tuple[int, ...]


def read_trace(lines: Iterable[bytes], limit: int) -> list[Record]:
    """The first `limit` records, by time. Raises ValueError naming the line that is none."""
    decoder = msgspec.json.Decoder(Record)
    records: list[Record] = []
    for number, line in enumerate(lines, start=1):
        if len(records) == limit:
            break
        try:
            records.append(decoder.decode(line))
        except msgspec.DecodeError as error:
            raise ValueError(f"line {number}: {error}") from error
    if not records:
        raise ValueError("the trace has no requests")
    return sorted(records, key=lambda record: record.timestamp)


def arrivals_s(records: Sequence[Record]) -> list[float]:
    """When each record arrives, in seconds after the first, as recorded.

    The traces have ticks of 3 s: records of one tick are spread evenly up to the next one.
    """
    groups = [list(group) for _, group in groupby(records, key=lambda record: record.timestamp)]
    starts = [group[0].timestamp for group in groups]
    widths = [later - start for start, later in pairwise(starts)]
    widths.append(widths[-1] if widths else 0)
    return [
        (start - starts[0] + width * index / len(group)) / 1000
        for group, start, width in zip(groups, starts, widths, strict=True)
        for index in range(len(group))
    ]


def prompt(record: Record, *, less_tokens: int) -> str:
    """A text of `input_length` tokens less `less_tokens`, which the chat template adds. The same in every run."""
    text = "".join(_blocks(record.hash_ids))
    return text[: max(1, record.input_length - less_tokens) * BYTES_PER_TOKEN]


def _blocks(hash_ids: Sequence[int]) -> Iterator[str]:
    for hash_id in hash_ids:
        yield Random(hash_id).randbytes(BLOCK_TOKENS * BYTES_PER_TOKEN // 2).hex()
