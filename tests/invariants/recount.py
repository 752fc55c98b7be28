"""What the ledger must add up to, counted anew in Python from the reservations alone.

Written down from the words of docs/design.md, "What load is", and of scripts/weights.lua, not from the script: a
request waits for its prefill until `prefill_done`; it is a request on its rank until released, on a prefill rank until
its prefill is done; it is dispatched from `dispatched` on, its decode leg from `prefill_done` on, or from when its rank
has it and waits for the prefill. Its KV is not in the engine until the first token (prefill leg: until the prefill is
done), then the prompt is in it, and half of the output is growth to come; the prefill leg holds the prompt until the
first token.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import NamedTuple

from scheduler.decision import Place, RequestShape
from scheduler.messages import Phase

PLACED, DISPATCHED, PREFILL_DONE, FIRST_TOKEN = range(4)


class Sums(NamedTuple):
    """What reservations weigh on one life of a rank: a `load` row without its progress time."""

    queued: int = 0
    prompts: int = 0
    requests: int = 0
    dispatched: int = 0
    unseen_kv: int = 0
    engine_kv: int = 0
    growth: int = 0

    def plus(self, other: Sums) -> Sums:
        return Sums(*(one + more for one, more in zip(self, other, strict=True)))


class GroupSums(NamedTuple):
    """Queued tokens, requests and KV tokens of a DP group."""

    queued: int = 0
    requests: int = 0
    kv: int = 0


class Count(NamedTuple):
    """The whole ledger: by "<rank> <incarnation>", and by group; what adds up to nothing is left out."""

    lives: dict[str, Sums]
    groups: dict[str, GroupSums]


def whole(phase: int, uncached: int, prompt: int, output: int) -> Sums:
    if phase == FIRST_TOKEN:
        return Sums(requests=1, dispatched=1, engine_kv=prompt, growth=output // 2)
    waits = phase < PREFILL_DONE
    return Sums(
        queued=uncached if waits else 0,
        prompts=1 if waits else 0,
        requests=1,
        dispatched=1 if phase >= DISPATCHED else 0,
        unseen_kv=prompt + output,
    )


def prefill(phase: int, uncached: int, prompt: int, _output: int) -> Sums:
    if phase == FIRST_TOKEN:
        return Sums()
    if phase == PREFILL_DONE:
        return Sums(engine_kv=prompt)
    return Sums(queued=uncached, prompts=1, requests=1, dispatched=int(phase == DISPATCHED), unseen_kv=prompt)


def decode(phase: int, _uncached: int, prompt: int, output: int) -> Sums:
    if phase == FIRST_TOKEN:
        return Sums(requests=1, dispatched=1, engine_kv=prompt, growth=output // 2)
    return Sums(requests=1, dispatched=int(phase == PREFILL_DONE), unseen_kv=prompt + output)


def waiting_decode(phase: int, uncached: int, prompt: int, output: int) -> Sums:
    return decode(max(phase, PREFILL_DONE), uncached, prompt, output)


def recount(records: Iterable[str]) -> Count:
    """Adds up reservations given in the ledger's spelling (see scripts/weights.lua)."""
    lives: dict[str, Sums] = {}
    groups: dict[str, GroupSums] = {}
    for record in records:
        phase, uncached, prompt, output, *legs = record.split()
        for kind, rank, incarnation, group in zip(*(iter(legs),) * 4, strict=True):
            weigh = {"m": whole, "p": prefill, "d": decode, "w": waiting_decode}[kind]
            sums = weigh(int(phase), int(uncached), int(prompt), int(output))
            life = f"{rank} {incarnation}"
            lives[life] = lives.get(life, Sums()).plus(sums)
            if group != "-":
                had = groups.get(group, GroupSums())
                kv = had.kv + sums.unseen_kv + sums.engine_kv + sums.growth
                groups[group] = GroupSums(had.queued + sums.queued, had.requests + sums.requests, kv)
    return _count(lives, groups)


def count_of(load_rows: Mapping[str, str], group_cells: Mapping[str, str]) -> Count:
    """What the ledger itself says it adds up to: `load` rows by life, and the cells "<group>:q|n|k"."""
    rows = {life: [int(cell) for cell in row.split()] for life, row in load_rows.items()}
    names = {field.rpartition(":")[0] for field in group_cells}
    return _count(
        {life: Sums(*row[:2], *row[3:]) for life, row in rows.items()},
        {name: GroupSums(*(int(group_cells.get(f"{name}:{part}", 0)) for part in "qnk")) for name in names},
    )


def record_of(place: Place, shape: RequestShape, phase: Phase) -> str:
    """What a user of a gateway holds, in the ledger's spelling."""
    legs = (f"{leg.kind} {leg.card.rank} {leg.card.incarnation} {leg.card.dp_group or '-'}" for leg in place.legs)
    return " ".join([f"{phase:d} {shape.prompt_tokens} {shape.prompt_tokens} {shape.output_tokens}", *legs])


def _count(lives: dict[str, Sums], groups: dict[str, GroupSums]) -> Count:
    return Count(
        {life: sums for life, sums in lives.items() if any(sums)},
        {group: sums for group, sums in groups.items() if any(sums)},
    )
