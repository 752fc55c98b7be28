"""What the same faults came to behind several routers: docs/reliability_peers.md. Pure."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import msgspec

from tests.chaos.figures import QUIET, Injected, Row, short
from tests.chaos.kinds import MENDED_WITHIN_S
from tests.chaos.outcome import Outcome

ENDED_AS_IF_WHOLE = re.compile(r"no \[DONE\]|: complete$|(characters|tokens) are missing$")
"""HTTP says that all of it came, and so may the answer itself."""
VARIES = re.compile(r"\d+ (?=events|bytes|characters|tokens)|\(?https?://\S*|None ")
REASONS_SHOWN, REASON_CHARACTERS = 12, 110


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """Of a run: requests per second, seconds from one fault to the next, and how often each kind comes (`rounds`)."""

    seed: int
    rounds: int
    rate: float
    every_s: float


class Trial(msgspec.Struct, frozen=True, kw_only=True):
    """One router's run, as it is kept. `outcomes` are only those that went wrong."""

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
    def of(cls, outcomes: Iterable[Outcome]) -> Lost:
        """Of all these together."""
        return cls(**Counter(map(_way, outcomes)))

    def __str__(self) -> str:
        named = zip(self, WAYS.values(), strict=True)
        return ", ".join(f"{count} {name}" for count, name in named if count) or "0"


WAYS = {name: name.replace("_", " ") for name in Lost._fields} | {"as_if_whole": "ended as if whole"}
HEADINGS = (
    *("router", "seed", "requests", "whole", "hung up", "ended by an error"),
    *(*WAYS.values(), "longest added time, ms"),
)

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
[reliability.md](reliability.md) shows, where the faults are explained too. Partitions are made by a TCP proxy before
each rank here: connections are taken all the same, and what was sent meanwhile comes when they end.

Machine: {machine}.

## What it came to

A request is *whole* if its status is 200 and each token, its finish reason, its usage and `[DONE]` are right. *Hung up*
are those whose client left by itself. *Ended by an error* had begun, and then said in the stream that something went
wrong, by an error or by `abort` as its finish reason: with its rank gone a request can come to nothing better, unless
its router carries it over to another rank. The others are losses:

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
{faults} faults in each run, each kind {rounds} times. Which requests meet a fault depends on the seed and on where the
router has put them: how far the runs of a router lie apart says how much a figure may be trusted.
"""

BY_KIND = """\
All runs together. A loss belongs to the last fault that had begun when the request ended, unless that had been repaired
more than {mended_s:g} s before the request was sent.
"""

TOLD = """\
Of all that ended by an error or was lost: what the answer said, or how the connection ended (*garbled*: by what is no
HTTP), without what differs from one to the next.
"""

STARTED = """\
All have the same two deadlines where they know them: 1 s to connect, 6 s without a byte. Health is looked at once a
second where a router does so. Beyond addresses, ports and logging these are the options, or lines of the configuration,
that were given; all else is as it comes, retries, circuit breakers and the choice of a rank too:
"""


def page(trials: Sequence[Trial], *, ranks: int, patience_s: float) -> str:
    """The whole page. Plans differ in their seeds only."""
    first = trials[0]
    routers = {trial.router: [each for each in trials if each.router == trial.router] for trial in trials}
    parts = [
        INTRODUCTION.format(
            options=_options(trials),
            minutes=sum(trial.minutes for trial in trials),
            ranks=ranks,
            plan=f"{first.plan.rate:g} requests a second, a fault each {first.plan.every_s:g} s",
            machine="; ".join(dict.fromkeys(_machine(trial) for trial in trials)),
            patience_s=patience_s,
        ),
        _table(HEADINGS, map(totals, trials)),
        READING.format(faults=sum(row.injected for row in first.rows), rounds=first.plan.rounds),
        "## Losses by kind of fault",
        BY_KIND.format(mended_s=MENDED_WITHIN_S),
        _table(("fault", *routers), _by_kind(routers)),
        "## What clients were told",
        TOLD,
        *(_reasons(name, some) for name, some in routers.items()),
        "## How each was started",
        STARTED,
        *(_started(some[0]) for some in routers.values()),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def totals(trial: Trial) -> list[str]:
    """A run's line, as `HEADINGS` has it."""
    rows, lost = trial.rows, Lost.of(trial.outcomes)
    ended = sum(sum(row.ended.values()) for row in rows)
    counts = (sum(row.requests for row in rows), sum(row.whole for row in rows), sum(row.left for row in rows), ended)
    added = max((row.added_ms for row in rows if row.added_ms is not None), default=None)
    longest = "-" if added is None else f"{added:,}"
    named = [f"{trial.router} {trial.version}", str(trial.plan.seed)]
    return [*named, *(f"{count:,}" for count in (*counts, *lost)), longest]


def _by_kind(routers: Mapping[str, Sequence[Trial]]) -> list[list[str]]:
    met = {
        name: [(_met(each, trial.faults), each) for trial in some for each in trial.outcomes]
        for name, some in routers.items()
    }
    kinds = {fault.kind for some in routers.values() for trial in some for fault in trial.faults}
    return [
        [kind, *(str(Lost.of(each for found, each in some if found == kind)) for some in met.values())]
        for kind in (*sorted(kinds), QUIET)
    ]


def _met(each: Outcome, faults: Iterable[Injected]) -> str:
    """The kind of fault that a loss is put down to: what had begun by its end, rather than what it was sent into."""
    begun = [
        fault for fault in faults if fault.begin_s <= each.ended_s and each.sent_s <= fault.repaired_s + MENDED_WITHIN_S
    ]
    return max(begun, key=lambda fault: fault.begin_s).kind if begun else QUIET


def _way(each: Outcome) -> str:
    """The field of `Lost` that counts it."""
    if each.judgment in ("silent", "wrong") and ENDED_AS_IF_WHOLE.search(each.why):
        return "as_if_whole"
    return "broken_off" if each.judgment == "silent" else each.judgment


def _reasons(router: str, trials: Iterable[Trial]) -> str:
    found = Counter[str]()
    for trial in trials:
        found.update(_alike(f"{WAYS[_way(each)]}: {short(each.why)}") for each in trial.outcomes)
        for why, count in (each for row in trial.rows for each in row.ended.items()):
            found[_alike(f"ended: {why}")] += count
    shown = found.most_common(REASONS_SHOWN)
    lines = [f"- {count} `{reason[:REASON_CHARACTERS]}`" for reason, count in shown]
    rest = found.total() - sum(count for _, count in shown)
    return "\n".join([f"{router}:", "", *(lines or ["- nothing"]), *([f"- {rest} others"] if rest else [])])


def _alike(reason: str) -> str:
    return " ".join(VARIES.sub("", reason).split())


def _started(trial: Trial) -> str:
    lines = [f"{trial.router}:", "", "```", *trial.turned_on, "```"]
    return "\n".join([*lines, *(["", f"It could not be asked for: {trial.lacks}."] if trial.lacks else [])])


def _machine(trial: Trial) -> str:
    return ", ".join(f"{name} {value}" for name, value in trial.machine.items())


def _options(trials: Sequence[Trial]) -> str:
    plan = trials[0].plan
    seeds = " ".join(f"--seed {seed}" for seed in dict.fromkeys(trial.plan.seed for trial in trials))
    return f"{seeds} --rounds {plan.rounds} --rate {plan.rate:g} --every-s {plan.every_s:g}"


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, ["---"] * len(headings), *rows))
