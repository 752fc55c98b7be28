"""A load test's report."""

from __future__ import annotations

import msgspec

from forebay.load_test.figures import Figures
from forebay.load_test.own_load import OwnLoad


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """What was asked for and what came of it; times in milliseconds. `doubts`: why the figures may be the client's."""

    machine: dict[str, str]
    urls: tuple[str, ...]
    model: str
    options: dict[str, object]
    warmed_up: int
    most_at_once: int
    figures: Figures
    own_load: OwnLoad
    doubts: str
    over_time: tuple[tuple[float, float], ...]
    """Second of the test, and the mean TTFT in ms of the requests sent around then."""
