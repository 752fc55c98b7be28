"""One pool on a VirtualStore, driven by single script calls that may be lost on their way, or come late."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import NamedTuple

from scheduler import calls
from scheduler.calls import Call, Reply, ReportRow, report_row
from scheduler.keys import PoolKeys
from scheduler.messages import RankReport, RankState
from scheduler.reporter import CLAIM_MS
from scheduler.reservation import ID_MODULUS
from scheduler.settings import SchedulerSettings
from scheduler.view import Delta
from simulator.store import VirtualStore
from tests.invariants.mutation import script_text
from tests.invariants.recount import Count, count_of
from tests.samples import card, report

LEASE_MS = SchedulerSettings().lease_ms
POOL = "sim"
AGENT = "node/1"
STEADY_MS = 400
"""How often an agent that has nothing new reports."""


class Fate(StrEnum):
    """What becomes of a call and its reply."""

    ARRIVES = "arrives"
    REQUEST_LOST = "request lost"
    REPLY_LOST = "reply lost"
    LATE = "late"


class LostError(Exception):
    """No reply came; the caller cannot know whether its call was applied."""


class Sample(NamedTuple):
    """What an agent says of one rank."""

    rank: str
    incarnation: str = "i1"
    state: str = "up"
    age_ms: int = 0
    requests: int = 0
    kv_tokens: int = 0
    rate: float = 1_000.0

    def report(self) -> RankReport:
        """The same on its way to the store; all requests run."""
        return report(
            self.rank,
            self.incarnation,
            state=RankState(self.state),
            age_ms=self.age_ms,
            running=self.requests,
            kv_used_tokens=self.kv_tokens,
            prefill_tokens_per_s=self.rate,
        )


class LossyPool:
    """The pool; `late` holds calls that are still on their way."""

    def __init__(self, lease_ms: int = LEASE_MS) -> None:
        self.store = VirtualStore(now_ms=1_700_000_000_000, text_of=script_text)
        self.keys = PoolKeys(POOL)
        self.lease_ms = lease_ms
        self.late: list[Call] = []
        self.epochs = 0
        self._ids = 0

    def fresh_id(self) -> int:
        """A reservation id; they are spread so that sums of a few pass 2^48."""
        self._ids += 1
        return self._ids * 0x9E3779B97F4B % ID_MODULUS

    def send(self, call: Call, fate: Fate = Fate.ARRIVES) -> Reply:
        """The reply; raises LostError when none comes."""
        if fate is Fate.LATE:
            self.late.append(call)
        if fate in {Fate.LATE, Fate.REQUEST_LOST}:
            raise LostError
        reply = self.store.call(call)
        if fate is Fate.REPLY_LOST:
            raise LostError
        return reply

    def open(self) -> str:
        """The pool's epoch; a new one where there is none, as scheduler/opening.py does."""
        self.epochs += 1
        epoch: bytes = self.send(calls.open_pool(self.keys, f"e{self.epochs}", self.gate()))
        return epoch.decode()

    def tell(self, *rows: ReportRow, owner: str = AGENT, epoch: str | None = None) -> Reply:
        """One report.lua call with rows as they go over the wire."""
        return self.send(calls.report(self.keys, epoch or self.open(), self.lease_ms, owner, CLAIM_MS, rows))

    def report(self, *samples: Sample, owner: str = AGENT) -> Reply:
        """A report with cards; what it says has ended is reaped, as scheduler/reporter.py does. Returns the reply."""
        reply = self.tell(*(with_card(sample) for sample in samples), owner=owner)
        for gateway in reply[3]:
            while self.reap(gateway.decode())[1]:
                pass
        return reply

    def reap(self, gateway: str, limit: int = 500) -> Reply:
        return self.send(calls.reap(self.keys, self.open(), self.lease_ms, gateway, limit))

    def drain(self, rank: str, *, undo: bool = False) -> Reply:
        return self.send(calls.drain(self.keys, self.open(), self.lease_ms, rank, undo=undo))

    def snapshot(self, epoch: str = "", version: int = -1) -> Delta:
        return Delta.read(self.send(calls.snapshot(self.keys, self.lease_ms, epoch, version)))

    def lives_on(self, ms: int, *samples: Sample, every_ms: int = STEADY_MS) -> None:
        """Time goes by with nobody about but an agent that reports steadily."""
        for _ in range(0, ms, every_ms):
            self.store.now_ms += every_ms
            self.report(*samples)

    # --- what is in the store -----------------------------------------------------------------------------------

    def rows(self, key: str) -> dict[str, str]:
        """A hash as text."""
        return {field.decode(): value.decode() for field, value in self.store.data.get(key.encode(), {}).items()}

    def gate(self) -> dict[str, tuple[int, int, int]]:
        """By name: last number, count, sum of ids."""
        found = {}
        for name, row in self.rows(self.keys.gate).items():
            number, count, total = map(int, row.split())
            found[name] = (number, count, total)
        return found

    def leases(self) -> dict[str, int]:
        """By name: the pool time at which the lease ends."""
        return {name.decode(): int(ends) for name, ends in self.store.data.get(self.keys.lease.encode(), {}).items()}

    def live(self) -> dict[str, dict[int, str]]:
        """By name: reservations and their records; empty sets left out."""
        prefix = self.keys.live("").encode()
        names = [key.removeprefix(prefix).decode() for key in self.store.data if key.startswith(prefix)]
        sets = {name: {int(i): record for i, record in self.rows(self.keys.live(name)).items()} for name in names}
        return {name: held for name, held in sets.items() if held}

    def loads(self) -> dict[str, list[int]]:
        """By life: a load row's eight numbers."""
        return {life: [int(cell) for cell in row.split()] for life, row in self.rows(self.keys.load).items()}

    def count(self) -> Count:
        """What the ledger says it adds up to; what is nothing is left out."""
        return count_of(self.rows(self.keys.load), self.rows(self.keys.group))

    @property
    def pool_ms(self) -> int:
        return int(self.store.data[self.keys.head.encode()].split()[2])


def with_card(sample: Sample) -> ReportRow:
    return report_row(sample.report(), card(sample.rank, sample.incarnation))


def stems(names: Mapping[str, object]) -> set[str]:
    """The gateways behind names like "gateway.3"."""
    return {name.rpartition(".")[0] for name in names}
