"""One store and one pool in it, driven by calls as gateways and agents make them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, NamedTuple

from scheduler import calls
from scheduler.calls import Call, Reply, ReportRow, report_row
from scheduler.decision import Ask
from scheduler.keys import PoolKeys
from scheduler.messages import RankState, Source
from scheduler.prefix_calibration import CacheBelief
from scheduler.reporter import CLAIM_MS
from scheduler.reservation import ID_MODULUS
from scheduler.settings import SchedulerSettings
from scheduler.store import Store
from scheduler.view import Delta, PoolView, fold
from tests.samples import card, report

LEASE_MS = SchedulerSettings().lease_ms
POOL = "meta/a {model}"
"""A name with what could break a key: a slash, a space, braces."""
AGENT = "node-1/0a"
RATE = 1_000.0

Elapse = Callable[["World", int], Awaitable[None]]
"""How `ms` go by on a store's own clock."""


class Told(NamedTuple):
    """A reply of report.lua."""

    refused: dict[str, str]
    cardless: list[str]
    ended: list[str]


class Head(NamedTuple):
    """The fields of the `head` key."""

    epoch: str
    last_ms: int
    pool_ms: int
    version: int


class World:
    """A pool in a store. Its epoch is begun by `begin`; every call carries it unless told otherwise.

    `real`: the store's clock also runs by itself.
    """

    def __init__(self, store: Store, elapse: Elapse, *, real: bool = True) -> None:
        self.store, self._elapse, self.real = store, elapse, real
        self.keys = PoolKeys(POOL)
        self.epoch = "e1"

    async def run(self, call: Call) -> Reply:
        """One script call."""
        (reply,) = await self.store.run([call])
        return reply

    async def begin(self, epoch: str = "e1", live: Sequence[str] = ()) -> str:
        """Opens the pool; `live`: gateways whose sets go with an unreadable epoch."""
        found: bytes = await self.run(calls.open_pool(self.keys, epoch, live))
        self.epoch = found.decode()
        return self.epoch

    async def elapse(self, ms: int) -> None:
        """The store's clock moves, and nobody calls."""
        await self._elapse(self, ms)

    async def passes(self, ms: int) -> None:
        """Pool time moves by `ms`, as under steady calls; one call with a longer lease does for many."""
        await self.elapse(ms)
        await self.drain("nobody", lease_ms=4 * (ms + LEASE_MS))

    async def report(
        self, *rows: ReportRow, owner: str = AGENT, claim_ms: int = CLAIM_MS, epoch: str | None = None
    ) -> Told | None:
        """One node's report of rows made by `sample`; None for a resync."""
        reply = await self.run(calls.report(self.keys, epoch or self.epoch, LEASE_MS, owner, claim_ms, rows))
        if reply[0] == b"resync":
            return None
        refused, cardless, ended = ([word.decode() for word in part] for part in reply[1:4])
        return Told(dict(zip(refused[::2], refused[1::2], strict=True)), cardless, ended)

    async def drain(self, rank: str, *, undo: bool = False, lease_ms: int = LEASE_MS) -> bytes:
        reply = await self.run(calls.drain(self.keys, self.epoch, lease_ms, rank, undo=undo))
        verdict: bytes = reply[0]
        return verdict

    async def reap(self, gateway: str, limit: int = 500) -> Reply:
        return await self.run(calls.reap(self.keys, self.epoch, LEASE_MS, gateway, limit))

    async def snapshot(self, epoch: str = "", version: int = -1) -> Delta | None:
        """What changed since a version; None for a pool without epoch."""
        reply = await self.run(calls.snapshot(self.keys, LEASE_MS, epoch, version))
        return None if reply[0] == b"closed" else Delta.read(reply)

    async def view(self) -> PoolView:
        delta = await self.snapshot()
        assert delta is not None
        return fold(PoolView(), delta)[0]

    async def pool_ms(self) -> int:
        """Pool time as of the last script that wrote."""
        return (await self.head()).pool_ms

    async def head(self) -> Head:
        epoch, *numbers = (await self.store.command("GET", self.keys.head)).split()
        return Head(epoch.decode(), *map(int, numbers))

    async def load_row(self, rank: str, incarnation: str = "i1") -> list[int] | None:
        """The fields of a `load` row but for its progress time, which depends on the clock; None: there is no row."""
        row: bytes | None = await self.store.command("HGET", self.keys.load, f"{rank} {incarnation}")
        if row is None:
            return None
        fields = [int(field) for field in row.split()]
        return [*fields[:2], *fields[3:]]

    async def contents(self) -> dict[str, Reply]:
        """All that the ledger holds but for `head`, to see that nothing changed."""
        keys = self.keys
        hashes = (keys.gate, keys.load, keys.hist, keys.group, keys.seen, keys.card, keys.drain, keys.live("g"))
        held = {key: sorted(await self.store.command("HGETALL", key)) for key in hashes}
        held[keys.lease] = await self.store.command("ZRANGEBYSCORE", keys.lease, "-inf", "+inf")
        return held


class NumberedGateway:
    """One gateway of a world, under one name; it numbers its calls as the scripts demand."""

    def __init__(self, world: World, name: str = "g") -> None:
        self.world, self.name, self.number = world, name, 0

    async def join(self, held: Mapping[int, str] | None = None, former: Sequence[str] = (), epoch: str = "") -> Reply:
        """A resync in one piece."""
        self.number = 0
        return await self.state(held or {}, former, epoch=epoch)

    async def state(
        self, held: Mapping[int, str], former: Sequence[str] = (), number: int | None = None, epoch: str = ""
    ) -> Reply:
        """One piece of a resync."""
        return await self._run(calls.resync, former, held, number=number, epoch=epoch)

    async def place(
        self,
        ask: Ask,
        reservation: int = 1,
        instead_of: int | None = None,
        number: int | None = None,
        epoch: str = "",
    ) -> Reply:
        return await self._run(calls.place, reservation, ask, instead_of, number=number, epoch=epoch)

    async def rebind(
        self, reservation: int, record: str, ask: Ask, number: int | None = None, epoch: str = ""
    ) -> Reply:
        return await self._run(calls.rebind, reservation, record, ask, number=number, epoch=epoch)

    async def advance(self, held: Mapping[int, str], number: int | None = None, epoch: str = "") -> Reply:
        return await self._run(calls.advance, held, number=number, epoch=epoch)

    async def release(self, *reservations: int, number: int | None = None, epoch: str = "") -> Reply:
        return await self._run(calls.release, reservations, number=number, epoch=epoch)

    async def renew(self, *reservations: int, leave: bool = False, number: int | None = None, epoch: str = "") -> Reply:
        """A renewal that claims to hold exactly these reservations."""
        claim = (len(reservations), sum(reservations) % ID_MODULUS, "leave" if leave else "stay")
        return await self._run(calls.renew, *claim, number=number, epoch=epoch)

    def next_head(self) -> calls.Head:
        self.number += 1
        return calls.Head(self.world.epoch, LEASE_MS, self.name, self.number)

    async def _run(self, make: Callable[..., Call], *args: Any, number: int | None, epoch: str) -> Reply:
        head = self.next_head()
        head = head._replace(epoch=epoch or head.epoch, number=head.number if number is None else number)
        return await self.world.run(make(self.world.keys, head, *args))

    async def held(self) -> dict[int, str]:
        """The live set under this name."""
        cells = iter(await self.world.store.command("HGETALL", self.world.keys.live(self.name)))
        return {int(name): record.decode() for name, record in zip(cells, cells, strict=True)}


def sample(
    rank: str,
    incarnation: str = "i1",
    *,
    state: str = "up",
    age_ms: int = 0,
    requests: int = 0,
    running: int = 0,
    kv_tokens: int = 0,
    rate: float = RATE,
    with_card: bool = True,
    computed_tokens: int | None = None,
    belief: CacheBelief | None = None,
    source: Source = Source.PAGE,
) -> ReportRow:
    """A row of a report, with the rank's card unless told otherwise; `running` are among the `requests`."""
    told = report(
        rank,
        incarnation,
        state=RankState(state),
        age_ms=age_ms,
        running=running,
        waiting=requests - running,
        kv_used_tokens=kv_tokens,
        prefill_tokens_per_s=rate,
        computed_tokens=computed_tokens,
        source=source,
    )
    return report_row(told, card(rank, incarnation) if with_card else None, belief=belief)
