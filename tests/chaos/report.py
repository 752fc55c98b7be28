"""What a whole run found, as it is kept, shown and judged. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

import msgspec

from tests.chaos import promises
from tests.chaos.figures import QUIET, Injected, Row, added_up, by_kind
from tests.chaos.kinds import CUTS, CUTS_OF_SOME
from tests.chaos.looks import GatewayKill
from tests.chaos.outcome import Outcome
from tests.chaos.partitions import Partitions
from tests.chaos.placement_times import quantile_ms, total
from tests.chaos.promises import AtRest


class StageReport(msgspec.Struct, frozen=True, kw_only=True):
    """One fleet's part. `rest` is None for a router that is not ours; `left_out` says why of each kind."""

    name: str
    outcomes: list[Outcome]
    faults: list[Injected]
    kills: list[GatewayKill]
    rest: AtRest | None
    left_out: dict[str, str]
    partitions: Partitions
    overlap: int = 1

    def rows(self) -> list[Row]:
        """Its figures by kind."""
        return by_kind(self.outcomes, self.faults)

    def broken(self) -> list[str]:
        """Its broken promises."""
        found = promises.broken_by_requests(self.outcomes, self.faults)
        if self.rest:
            found += promises.broken_by_the_rest(self.rest)
            # Of several faults at once it is not known which one made a request wait.
            found += promises.broken_by_figures(self.rows()) if self.overlap == 1 else []
        return [f"{self.name}: {each}" for each in found]


class Report(msgspec.Struct, frozen=True, kw_only=True):
    """A run: where it was, how to run it again, and its stages."""

    command: str
    seed: int
    machine: dict[str, str]
    minutes: float
    stages: list[StageReport]

    def rows(self) -> list[Row]:
        """The figures of all stages by kind."""
        return added_up(stage.rows() for stage in self.stages)

    def left_out(self) -> dict[str, str]:
        """Kinds that no stage could inject, by why not."""
        found: dict[str, list[str]] = {}
        for name, why in self.stages[0].left_out.items():
            if all(name in stage.left_out for stage in self.stages):
                found.setdefault(why, []).append(name)
        return {why: ", ".join(names) for why, names in found.items()}

    def broken(self) -> list[str]:
        """All broken promises."""
        kills = [kill for stage in self.stages for kill in stage.kills]
        return [each for stage in self.stages for each in stage.broken()] + promises.broken_by_kills(kills)

    def facts(self) -> list[tuple[str, str]]:
        """What the run comes to, in words and numbers."""
        outcomes = [each for stage in self.stages for each in stage.outcomes]
        counts = Counter(each.judgment for each in outcomes)
        rests = [stage.rest for stage in self.stages if stage.rest]
        facts = [
            ("requests", f"{len(outcomes):,}"),
            ("faults", f"{sum(len(stage.faults) for stage in self.stages)}"),
            *self._of_partitions(),
            ("answered whole, every token right", f"{counts['whole']:,}"),
            ("hung up by their clients", f"{counts['left']:,}"),
            ("ended by an error after they had begun", f"{counts['ended']:,}"),
            ("their own gateway died, tried again by their clients", f"{sum(bool(each.died) for each in outcomes):,}"),
            ("lost before the first byte", str(counts["lost"])),
            ("cut without a word", str(counts["silent"])),
            ("with a wrong, missing or repeated token", str(counts["wrong"])),
            ("never answered", str(counts["hung"])),
        ]
        if rests:
            audits = sum(rest.audits for rest in rests)
            facts += [
                (
                    "audits of the ledger, and those that found drift",
                    f"{audits:,}, {sum(len(rest.differences) for rest in rests)}",
                ),
                ("reservations left at rest", str(sum(rest.reservations for rest in rests))),
                ("starving ranks", str(sum(len(rest.starving) for rest in rests))),
            ]
        return facts + self._of_kills() + _of_redis(self.rows())

    def kept(self) -> dict[str, object]:
        """For a file: everything but the requests that went as they should."""
        stages = []
        for stage in self.stages:
            told = [each._asdict() for each in stage.outcomes if each.died or each.judgment not in ("whole", "left")]
            stages.append({**msgspec.structs.asdict(stage), "outcomes": told})
        return {
            **msgspec.structs.asdict(self),
            "stages": stages,
            "rows": self.rows(),
            "facts": dict(self.facts()),
            "left_out": self.left_out(),
            "broken": self.broken(),
        }

    def _of_partitions(self) -> list[tuple[str, str]]:
        """How many of the faults were made by what."""
        counts: Counter[str] = Counter()
        for stage in self.stages:
            for fault in stage.faults:
                counts[stage.partitions.words] += fault.kind in CUTS
                counts[f"by a TCP proxy ({', '.join(CUTS_OF_SOME)})"] += fault.kind in CUTS_OF_SOME
        return [(f"partitions {words}", str(count)) for words, count in counts.items() if count]

    def _broken_by(self, kills: Sequence[GatewayKill]) -> str:
        """What broke at other gateways is among the lost and the cut."""
        outcomes = [each for stage in self.stages for each in stage.outcomes]
        under_way = [[each for each in outcomes if each.began_s < kill.killed_s <= each.ended_s] for kill in kills]
        broke = [sum(kill.gateway in each.died for each in some) for kill, some in zip(kills, under_way, strict=True)]
        return f"{sum(broke)} of {sum(map(len, under_way))}"

    def _of_kills(self) -> list[tuple[str, str]]:
        kills = [kill for stage in self.stages for kill in stage.kills]
        if not kills:
            return []
        before, after = total(kill.before for kill in kills), total(kill.after for kill in kills)
        facts = [
            ("a gateway killed: its reservations gone after, at most", f"{max(kill.ledger_s for kill in kills):.1f} s")
        ]
        facts.append(("requests that broke with them, of those under way", self._broken_by(kills)))
        had, has = quantile_ms(before, 0.99), quantile_ms(after, 0.99)
        if had and has:
            counts = f"{max(before.values()):.0f} and {max(after.values()):.0f} placements, {len(kills)} kills"
            facts.append(
                ("the others' p99 placement in the second before and after", f"{had:.2f} and {has:.2f} ms ({counts})")
            )
        return facts


def _of_redis(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [
        (
            f"{row.kind}: failed requests, longest added time before dispatch",
            f"{sum(row.failed.values())}, {row.added_ms} ms",
        )
        for row in rows
        if row.kind in promises.REDIS_CAME_BACK
    ]


def cells(row: Row) -> list[str]:
    """A row as a table shows it."""
    injected = "-" if row.kind == QUIET else str(row.injected)
    added = "-" if row.added_ms is None else f"{row.added_ms:,}"
    counts = (row.requests, row.whole, row.left, row.retried, row.moved)
    return [row.kind, injected, *(f"{count:,}" for count in counts), _counted(row.ended), _counted(row.failed), added]


HEADINGS = (
    *("fault", "injected", "requests", "whole", "hung up", "retried", "moved", "ended by an error"),
    *("failed", "longest added time, ms"),
)


def _counted(reasons: dict[str, int]) -> str:
    return "; ".join(f"{count} {why}" for why, count in sorted(reasons.items(), key=lambda each: -each[1])) or "0"
