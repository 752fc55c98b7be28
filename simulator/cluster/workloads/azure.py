"""Traces of Azure's form: times and lengths, and nothing of what prompts have in common.

CSV with the header TIMESTAMP,ContextTokens,GeneratedTokens; a timestamp is ISO 8601, UTC where it names no zone.
Source: github.com/Azure/AzurePublicDataset, AzureLLMInferenceTrace.
"""

from __future__ import annotations

from collections.abc import Iterable
from datetime import UTC, datetime
from itertools import count, islice

from simulator.cluster.request import BLOCK_TOKENS, SimRequest
from simulator.cluster.workloads.errors import TraceError

HEADER = ("TIMESTAMP", "ContextTokens", "GeneratedTokens")
LARGEST_TOKENS = 1 << 26


def azure(lines: Iterable[bytes], file: str) -> list[SimRequest]:
    """The requests of a trace in its order; raises TraceError naming `file` and the line that is none.

    No two prompts share a block.
    """
    requests: list[SimRequest] = []
    fresh = count()
    for number, line in enumerate(lines, start=1):
        try:
            cells = tuple(cell.strip() for cell in line.decode().split(","))
            if number == 1:
                _check_header(cells)
                continue
            request = _request(cells, len(requests), fresh)
        except ValueError as error:
            raise TraceError(file, number, str(error)) from error
        if requests and request.arrival_s < requests[-1].arrival_s:
            raise TraceError(file, number, f"{cells[0]} is before the last line's time")
        requests.append(request)
    return requests


def _check_header(cells: tuple[str, ...]) -> None:
    if cells != HEADER:
        raise ValueError(f"expected the header {','.join(HEADER)}")


def _request(cells: tuple[str, ...], number: int, fresh: count[int]) -> SimRequest:
    if len(cells) != len(HEADER):
        raise ValueError(f"{len(cells)} values, expected {','.join(HEADER)}")
    prompt_tokens = _tokens(cells, 1)
    return SimRequest(
        number=number,
        arrival_s=_seconds(cells[0]),
        prompt_tokens=prompt_tokens,
        output_tokens=_tokens(cells, 2),
        blocks=tuple(islice(fresh, prompt_tokens // BLOCK_TOKENS)),
    )


def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise ValueError(f"{HEADER[0]} {text!r}: expected a time such as 2023-11-16 18:17:03.97") from error
    return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()


def _tokens(cells: tuple[str, ...], column: int) -> int:
    text = cells[column]
    if not (text.isascii() and text.isdigit() and len(text) < 12 and 1 <= int(text) <= LARGEST_TOKENS):
        raise ValueError(f"{HEADER[column]} {text!r}: expected a number between 1 and {LARGEST_TOKENS}")
    return int(text)
