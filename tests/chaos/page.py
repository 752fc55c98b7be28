"""docs/reliability.md. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tests.chaos.figures import QUIET
from tests.chaos.kinds import KINDS
from tests.chaos.report import HEADINGS, Report, cells

INTRODUCTION = """\
# What happens when things die

Written by `make chaos ARGS="{command}"`: real gateways, agents, redis-servers and simulated ranks on one machine, under
load, while a seeded schedule of faults kills, freezes, cuts off and confuses them. A simulated rank's next token is a
hash of all tokens before it, so each answer is checked token by token.

A request counts as *whole* if its status is 200 and every token, its finish reason, its usage and `[DONE]` are right.
One whose client has had an event when its rank dies may end by the error event of its API, and by nothing else: no
silence, no cut. An error after a mere head is a request *lost*, as is any other status. Time is *added* to a request by
what its first byte comes later than such requests' do when nothing is wrong: what a failed attempt took is part of it.
*Retried* is counted by the gateways; *moved* are requests whose own gateway died: their clients send them again, to the
next one, after the pauses of OpenAI's Python client (0.5 s at first, up to a quarter of it less). A request belongs to
the fault that was there when it was sent, or came before its end, or had been repaired {mended:g} s ago at most. The
ledger is compared with a recount of its own reservations twice a second, both read at one instant. Resets, delays and
garbage are made by a TCP proxy before each rank and each use of Redis. Gateways wait 6 s for a rank's first byte
(`--first-byte-ms`), and agents call 2 s without progress a stall (`--stall-ms`).
"""
IN_NAMESPACES = """\
Each of these proxies listens in a network namespace of its own, behind a veth pair. In a partition all packets of that
pair vanish, in both directions and without a word: nothing answers who connects, and what was sent comes when TCP sends
it again, up to as long after the partition as it lasted. `agent-blind` is about some of a rank's connections only: the
proxies take them and pass nothing on."""
BY_PROXY = """\
Partitions are made by these proxies too, not in network namespaces ({because}): they take connections, and pass nothing
on until the partition is over."""


def page(report: Report, mended_s: float) -> str:
    """The whole page."""
    machine = ", ".join(f"{name} {value}" for name, value in report.machine.items())
    fleets = "; ".join(stage.name for stage in report.stages)
    broken, rows = report.broken(), report.rows()
    parts = [
        INTRODUCTION.format(command=report.command, mended=mended_s),
        _partitions(report),
        f"Machine: {machine}. Seed {report.seed}, {report.minutes:.0f} minutes. Fleets: {fleets}.",
        "## What it came to",
        _table(("", ""), report.facts()),
        "\n".join(["Broken promises:", "", *(f"- {each}" for each in broken)]) if broken else "No promise was broken.",
        "## By kind of fault",
        _table(HEADINGS, map(cells, rows)),
        "## What the faults are",
        _table(("fault", "what happens"), [(row.kind, KINDS[row.kind].does) for row in rows if row.kind != QUIET]),
        *_left_out(report),
    ]
    return "\n\n".join(part.strip("\n") for part in parts) + "\n"


def _partitions(report: Report) -> str:
    """All stages run on one machine, so they make them alike."""
    cuts = report.stages[0].partitions
    return IN_NAMESPACES if cuts.means == "namespaces" else BY_PROXY.format(because=cuts.because)


def _left_out(report: Report) -> list[str]:
    found = report.left_out()
    return ["\n".join(["Left out:", "", *(f"- {names}: {why}" for why, names in found.items())])] if found else []


def _table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    rule = ["---", *("---" for _ in headings[1:])]
    return "\n".join(f"| {' | '.join(row)} |" for row in (headings, rule, *rows))
