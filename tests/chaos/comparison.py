"""What the same faults came to behind several routers: docs/reliability_peers.md. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import msgspec

from tests.chaos.figures import BAD, QUIET, Injected, Row
from tests.chaos.outcome import Outcome

ENDED_AS_IF_WHOLE = re.compile(r"no \[DONE\]|: complete$|(characters|tokens) are missing$")
"""HTTP says that all of it came, and so may the answer itself."""
VARIES = re.compile(r"\d+ (?=events|bytes)|\(?https?://\S*")
REASONS_SHOWN, REASON_CHARACTERS = 12, 110


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """What is the same for all routers. Requests per second, seconds from one fault to the next."""

    seed: int
    rounds: int
    rate: float
    every_s: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One router's run, as it is kept. `outcomes` are only those that went wrong, for who looks into them."""

    router: str
    version: str
    turned_on: tuple[str, ...]
    lacks: str
    plan: Plan
    minutes: float
    machine: dict[str, str]
    rows: list[Row]
    faults: list[Injected]
    outcomes: list[Outcome]


class Lost(NamedTuple):
    """How many requests went wrong, by how: see the page's words."""

    lost: int = 0
    broken_off: int = 0
    as_if_whole: int = 0
    wrong: int = 0
    hung: int = 0

    @classmethod
    def of(cls, rows: Iterable[Row]) -> Lost:
        """Of all these kinds of faults together."""
        found = Counter[str]()
        for row in rows:
            for reason, count in row.failed.items():
                found[_way(reason)] += count
        return cls(**found)

    def __str__(self) -> str:
        named = zip(self, HEADINGS_OF_LOST, strict=True)
        return ", ".join(f"{count} {name}" for count, name in named if count) or "0"


HEADINGS_OF_LOST = ("lost", "broken off", "ended as if whole", "wrong", "hung")
HEADINGS = ("router", "requests", "whole", "hung up", "ended by an error", *HEADINGS_OF_LOST, "longest added time, ms")

INTRODUCTION = """\
# The same faults behind other routers

```sh
.venv/bin/python -m tests.chaos.compare --keep FOLDER {options} --page docs/reliability_peers.md
```

In a clone; it took {minutes:.0f} minutes with these routers on the PATH, or named by `--program NAME=PATH`.

Each router in turn is alone before {ranks} simulated vLLM ranks, which are killed, frozen, cut off and confused as by
`make chaos`, by a seeded schedule while clients ask: the same ranks, faults and requests for all,
{plan}. Of Forebay it is one gateway, its agent and a Redis. Faults of
what only Forebay has (agents, Redis, several gateways) are left out, so this is less than
[reliability.md](reliability.md) shows, where the faults are explained too.

Machine: {machine}.

## What it came to

A request is *whole* if its status is 200 and each token, its finish reason, its usage and `[DONE]` are right. *Hung up*
are those whose client left by itself. *Ended by an error* had begun, and then said in the stream that something went
wrong: with its rank gone a request can come to nothing better, unless its router carries it over to another rank. The
others are losses:

- *lost*: another status, no answer at all, or nothing but an error. The client had nothing of an answer yet, so another
  rank could have served it
- *broken off*: the connection broke, or HTTP did, in the midst of the answer, which a client can tell from HTTP alone
- *ended as if whole*: HTTP says that all has come, but it has not, and nothing says so
- *wrong*: other tokens, or a body that cannot be read
- *hung*: no whole answer within {patience_s:g} s

Time is *added* to a request by what its first byte, an error's too, comes later than such requests' do in this run when
nothing is wrong.
"""

READING = """\
{faults} faults a router, each kind {rounds} times, in one run each. Which requests meet a fault depends on where the
router has put them, so a router that loses three here may lose one or six in the next run.
"""

BY_KIND = """\
A request belongs to the fault that was there when it was sent, or came before its end, or had been repaired shortly
before.
"""

STARTED = """\
All have the same two deadlines where they know them: 1 s to connect, 6 s without a byte. Health is looked at once a
second where a router does so. Beyond addresses, ports and logging these are the options, or lines of the configuration,
that were given; all else is as it comes, retries, circuit breakers and the choice of a rank too:
"""


def page(trials: Sequence[Trial], *, ranks: int, patience_s: float) -> str:
    """The whole page; trials must be of one plan."""
    first = trials[0]
    faults = sum(row.injected for row in first.rows)
    parts = [
        INTRODUCTION.format(
            options=_options(first.plan),
            minutes=sum(trial.minutes for trial in trials),
            ranks=ranks,
            plan=_said(first.plan),
            machine="; ".join(dict.fromkeys(_machine(trial) for trial in trials)),
            patience_s=patience_s,
        ),
        _table(HEADINGS, map(totals, trials)),
        READING.format(faults=faults, rounds=first.plan.rounds),
        "## Losses by kind of fault",
        BY_KIND,
        _table(("fault", *(trial.router for trial in trials)), _by_kind(trials)),
        "## What clients were told",
        *(_reasons(trial) for trial in trials),
        "## How each was started",
        STARTED,
        *(_started(trial) for trial in trials),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def totals(trial: Trial) -> list[str]:
    """A router's line, as `HEADINGS` has it."""
    rows, lost = trial.rows, Lost.of(trial.rows)
    ended = sum(sum(row.ended.values()) for row in rows)
    counts = (sum(row.requests for row in rows), sum(row.whole for row in rows), sum(row.left for row in rows), ended)
    added = max((row.added_ms for row in rows if row.added_ms is not None), default=None)
    longest = "-" if added is None else f"{added:,}"
    return [f"{trial.router} {trial.version}", *(f"{count:,}" for count in (*counts, *lost)), longest]


def _by_kind(trials: Sequence[Trial]) -> list[list[str]]:
    kinds = sorted({row.kind for trial in trials for row in trial.rows}, key=lambda kind: (kind == QUIET, kind))
    return [
        [kind, *(str(Lost.of(row for row in trial.rows if row.kind == kind)) for trial in trials)] for kind in kinds
    ]


def _way(reason: str) -> str:
    judgment, _, why = reason.partition(": ")
    assert judgment in BAD, reason
    if judgment in ("silent", "wrong") and ENDED_AS_IF_WHOLE.search(why):
        return "as_if_whole"
    return "broken_off" if judgment == "silent" else judgment


def _reasons(trial: Trial) -> str:
    found = Counter[str]()
    for row in trial.rows:
        for reason, count in [*((f"ended: {why}", count) for why, count in row.ended.items()), *row.failed.items()]:
            found[" ".join(VARIES.sub("", reason).split())] += count
    lines = [f"- {count} `{reason[:REASON_CHARACTERS]}`" for reason, count in found.most_common(REASONS_SHOWN)]
    rest = found.total() - sum(count for _, count in found.most_common(REASONS_SHOWN))
    return "\n".join([f"{trial.router}:", "", *(lines or ["- nothing"]), *([f"- {rest} others"] if rest else [])])


def _started(trial: Trial) -> str:
    lines = [f"{trial.router}:", "", "```", *trial.turned_on, "```"]
    return "\n".join([*lines, *(["", f"It could not be asked for: {trial.lacks}."] if trial.lacks else [])])


def _machine(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.machine.items())


def _options(plan: Plan) -> str:
    return f"--seed {plan.seed} --rounds {plan.rounds} --rate {plan.rate:g} --every-s {plan.every_s:g}"


def _said(plan: Plan) -> str:
    return f"{plan.rate:g} requests a second, a fault each {plan.every_s:g} s, seed {plan.seed}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))
