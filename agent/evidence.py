"""What one look at a rank's port can show. A closed set: health.py says what follows from each. Pure."""

from __future__ import annotations

import msgspec

from agent.metrics_page import MetricsPage


class Answered(msgspec.Struct, frozen=True):
    """`/health` did not complain and `/metrics` gave a page of engines.

    `asked_at_s` is the monotonic time at which the page was asked for. What the page shows is at least as new, so an
    age measured from here is never too young, and a reservation that the engine may not have seen yet still counts.
    """

    page: MetricsPage
    asked_at_s: float


class Healthy(msgspec.Struct, frozen=True):
    """`/health` did not complain, when it was asked at this monotonic time; the page was not read."""

    asked_at_s: float


class Refused(msgspec.Struct, frozen=True):
    """Nothing listens on the port any more."""

    detail: str = "connection refused"


class EngineDead(msgspec.Struct, frozen=True):
    """`/health` answered 503: the API server knows that its engine is dead (or is rescaling)."""

    detail: str = "/health answers 503"


class Broken(msgspec.Struct, frozen=True):
    """Not what a healthy rank answers: a reset, an error status, too long an answer, a page without engines."""

    detail: str


class Unanswered(msgspec.Struct, frozen=True):
    """The port took the connection and gave no whole answer in time; asked and given up at these monotonic times.

    Frozen processes look so: the kernel takes connections for them.
    """

    detail: str
    from_s: float
    until_s: float


class Silent(msgspec.Struct, frozen=True):
    """No way to the host, or no connection in time: nothing about the rank itself."""

    detail: str


PageEvidence = Answered | Refused | EngineDead | Broken | Unanswered | Silent
Evidence = PageEvidence | Healthy
