"""Reads a trace file, whatever it is called: its first line says of which form it is."""

from __future__ import annotations

from pathlib import Path
from random import Random

from simulator.cluster.request import SimRequest
from simulator.cluster.workloads.azure import HEADER, azure
from simulator.cluster.workloads.errors import TraceError
from simulator.cluster.workloads.mooncake import mooncake


def read_trace(path: Path, chance: Random) -> list[SimRequest]:
    """The requests of the file, one at least; raises TraceError."""
    try:
        with path.open("rb") as lines:
            first = lines.readline()
            lines.seek(0)
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
