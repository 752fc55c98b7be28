"""Which life of an engine a page shows. Pure.

The text must change whenever the engine restarted, never otherwise, and not depend on the agent's own life: an agent
that restarts must find the same text, or it would drop the ledger entries of a healthy rank.

- One API server: the page has `process_start_time_seconds` and `*_created`, and the incarnation is made of both. So
  several engines behind one server have a life each, and a restarted server ends all of them, as in vLLM. An engine
  replaced behind a living server is missed; stock vLLM stops the two together.
- One of the two is missing (series without `*_created`, a proxy that drops `process_*`): the other one.
- Several API servers (`--api-server-count`, so prometheus_client's multiprocess mode): neither is there, and the
  incarnation is `unstamped`. Then the port says it: it refuses connections while the servers start, which takes vLLM
  longer than an agent takes between two looks.

In all cases a counter that goes backwards is a restart too. What the page does not stamp gets a suffix of the caller's
making, which is lost with the agent: the next one calls the same life `unstamped` again. On unstamped pages a restart
is missed if no look met a refusal (the agent was away, or heard nothing) and the counters are past their old values by
the first look after it.
"""

from __future__ import annotations

import msgspec

from agent.metrics_page import EngineSample

UNSTAMPED = "unstamped"


class Incarnation(msgspec.Struct, frozen=True):
    """One life of an engine; `text` is its name in the pool."""

    stamp: str
    suffix: str = ""

    @property
    def text(self) -> str:
        """The stamp, and where that was not enough the suffix."""
        return f"{self.stamp}+{self.suffix}" if self.suffix else self.stamp


def stamp(process_start_s: float | None, created_s: float | None) -> str:
    """The part of an incarnation that the page gives: milliseconds and microseconds since the rank's epoch."""
    parts = []
    if process_start_s is not None:
        parts.append(f"p{round(process_start_s * 1e3)}")
    if created_s is not None:
        parts.append(f"e{round(created_s * 1e6)}")
    return "-".join(parts) or UNSTAMPED


def next_incarnation(
    known: Incarnation,
    before: EngineSample,
    after: EngineSample,
    page_stamp: str,
    fresh_suffix: str,
    *,
    was_refused: bool,
) -> Incarnation:
    """The incarnation of `after`, read later than `before`, which belonged to `known`.

    `was_refused` is whether nobody listened on the port at some time between the two.
    """
    if page_stamp != known.stamp:
        return Incarnation(page_stamp)
    if went_backwards(before, after) or (page_stamp == UNSTAMPED and was_refused):
        return Incarnation(page_stamp, fresh_suffix)
    return known


def went_backwards(before: EngineSample, after: EngineSample) -> bool:
    """Whether a counter fell, which counters of one life never do."""
    return (
        after.steps < before.steps
        or after.generation_tokens < before.generation_tokens
        or after.prompt_tokens < before.prompt_tokens
    )
