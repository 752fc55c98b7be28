"""The clock readings that the mock backend writes into its text and the load client reads out of it. Pure.

They stand in the text itself, since a proxy may parse events and write them anew with only the fields it knows. Both
are nanoseconds of CLOCK_MONOTONIC, which all processes of a machine share.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

STAMP = b"t=%019d.%019d;"
"""When the chunk was sent, and when its request had arrived."""
_FOUND = re.compile(rb"t=(\d{19})\.(\d{19});")


def stamps_in(events: bytes) -> Iterator[tuple[int, int]]:
    """The two clock readings of each chunk, in order."""
    for match in _FOUND.finditer(events):
        yield int(match[1]), int(match[2])
