"""Reads a trace file, whatever it is called: its first line says of which form it is."""

from __future__ import annotations

from codecs import BOM_UTF8
from collections.abc import Iterable, Iterator
from pathlib import Path
from random import Random

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.azure import HEADER, azure
from simulator.cluster.workloads.errors import TraceError
from simulator.cluster.workloads.mooncake import mooncake


def read_trace(path: Path, chance: Random) -> list[SimRequest]:
    """The requests of the file, one at least; raises TraceError."""
    try:
        with path.open("rb") as file:
            first = file.readline()
            file.seek(len(BOM_UTF8) if first.startswith(BOM_UTF8) else 0)
            first, lines = first.removeprefix(BOM_UTF8), _to_the_last(file, str(path))
            if first.lstrip().startswith(b"{"):
                requests = mooncake(lines, str(path), chance)
            elif HEADER[0].encode() in first:
                requests = azure(lines, str(path))
            elif first:
                raise TraceError(
                    str(path), 1, f"neither a JSON object, as of Mooncake, nor the header {','.join(HEADER)}"
                )
            else:
                requests = []
    except OSError as error:
        raise TraceError(str(path), None, error.strerror or str(error)) from error
    if not requests:
        raise TraceError(str(path), None, "the trace has no requests")
    return requests


def _to_the_last(lines: Iterable[bytes], file: str) -> Iterator[bytes]:
    """The lines but for blank ones at the end; raises TraceError where there is one before the end."""
    blank = None
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            blank = blank or number
        elif blank:
            raise TraceError(file, blank, "an empty line")
        else:
            yield line
