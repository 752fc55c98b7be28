"""How one request of a run went, without its bytes. Pure."""

from __future__ import annotations

from typing import NamedTuple, Self

from tests.chaos.judging import Judgment, Observed, Verdict
from tests.chaos.workload import Asked


class Outcome(NamedTuple):
    """`began_s` is when its client sent it first, the other times are of the last try; `died` the gateways that died
    under earlier ones, `tokens` what was to come, `events` how many with text had come.
    """

    number: int
    id: str
    stream: bool
    is_long: bool
    tokens: int
    began_s: float
    sent_s: float
    first_byte_s: float | None
    ended_s: float
    judgment: Judgment
    why: str = ""
    events: int = 0
    gateway: int = 0
    died: tuple[int, ...] = ()

    @classmethod
    def of(
        cls, asked: Asked, seen: Observed, verdict: Verdict, *, began_s: float, gateway: int, died: tuple[int, ...]
    ) -> Self:
        """From what was asked, seen and thought of it."""
        return cls(
            number=asked.number,
            id=asked.id,
            stream=asked.stream,
            is_long=asked.is_long,
            tokens=len(asked.expected.ids),
            began_s=began_s,
            sent_s=seen.sent_s,
            first_byte_s=seen.first_byte_s,
            ended_s=seen.ended_s,
            judgment=verdict.judgment,
            why=verdict.why,
            events=verdict.tokens,
            gateway=gateway,
            died=died,
        )
