"""A gateway's side of the protocol as a few plain calls, each of which may get lost.

It follows the words of scheduler/writer.py and of the scripts: calls are numbered; after any doubt nothing is sent but
a resync under the next name, in pieces, which names the former ones.
"""

from __future__ import annotations

from collections.abc import Callable

from scheduler import calls
from scheduler.calls import Call, Head, Reply
from scheduler.decision import Ask
from scheduler.reservation import ID_MODULUS
from tests.invariants.lossy_pool import Fate, LossyPool, LostError


class RefusedError(Exception):
    """The store answered: resync."""


class RawGateway:
    """`live`: what it holds, by id, in the ledger's spelling. `in_doubt` until it stated all and lost nothing since."""

    def __init__(self, pool: LossyPool, stem: str) -> None:
        self.pool, self.stem = pool, stem
        self.live: dict[int, str] = {}
        self.in_doubt = True
        self.names: list[str] = []
        self.epoch = ""
        self.number = 0
        self.pieces: list[dict[int, str]] = []
        self.is_stating = False
        self._statements = 0
        self._known: set[int] = set()
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    @property
    def name(self) -> str:
        return self.names[-1]

    def before_first_token(self) -> list[int]:
        """The pairs it holds that may still be rebound."""
        return sorted(i for i, record in self.live.items() if record.split()[-4] == "d" and record < "3")

    def join(self, fate: Fate = Fate.ARRIVES, piece: int = 500) -> RawGateway:
        """A whole resync; `fate` is that of its first piece."""
        self.begin(piece)
        self.state(fate)
        while self.is_stating:
            self.state()
        return self

    def begin(self, piece: int = 500) -> None:
        """Takes the next name and cuts the live set into pieces; `state` sends them."""
        epoch = self.pool.open()
        if epoch != self.epoch:
            self.epoch, self.names = epoch, []
        self._statements += 1
        self.names.append(f"{self.stem}.{self._statements}")
        self.number, self.in_doubt, self.is_stating = 0, True, True
        self._known, self._changed, self._gone = set(self.live), set(), set()
        held = list(self.live.items())
        self.pieces = [dict(held[first : first + piece]) for first in range(0, len(held), piece)] or [{}]

    def state(self, fate: Fate = Fate.ARRIVES) -> None:
        """Sends the next piece; after the last one the gateway is in no doubt, and says what changed meanwhile."""
        former = self.names[:-1]
        self._say(calls.resync, former, self.pieces.pop(0), fate=fate)
        if self.pieces:
            return
        self.in_doubt = self.is_stating = False
        for name in former:
            self.pool.reap(name)
        self.names = self.names[-1:]
        if changed := {i: self.live[i] for i in self._changed if i in self.live}:
            self._say(calls.advance, changed)
        if self._gone:
            self._say(calls.release, self._gone)
        self._known = set(self.live)

    def place(self, ask: Ask, fate: Fate = Fate.ARRIVES, instead_of: int | None = None) -> Reply:
        """place.lua's reply; what it placed is held from now on, and what that is instead of no more."""
        reservation = self.pool.fresh_id()
        self.live.pop(instead_of or 0, None)
        reply = self._say(calls.place, reservation, ask, instead_of, fate=fate)
        self._known.discard(instead_of or 0)
        if reply[0] == b"place":
            record = self.pool.rows(self.pool.keys.live(self.name))[str(reservation)]
            self.live[reservation] = record
            self._known.add(reservation)
        return reply

    def rebind(self, reservation: int, ask: Ask, fate: Fate = Fate.ARRIVES) -> Reply:
        """rebind.lua's reply; the pair is prefilled and has the decode leg chosen. Not for a gateway in doubt."""
        record = self.live[reservation] = f"2{self.live[reservation][1:]}"
        reply = self._say(calls.rebind, reservation, record, ask, fate=fate)
        if reply[0] == b"place":
            chosen = ask.decodes[reply[2] - 1]
            legs = [*record.split()[:-4], "d", chosen.rank, chosen.incarnation, chosen.group]
            self.live[reservation] = " ".join(legs)
        return reply

    def adopt(self, record: str, fate: Fate = Fate.ARRIVES) -> int:
        """Holds a reservation that the store was not asked for."""
        reservation = self.pool.fresh_id()
        self._set(reservation, record, fate)
        return reservation

    def advance(self, reservation: int, phase: int, fate: Fate = Fate.ARRIVES) -> None:
        self._set(reservation, f"{phase}{self.live[reservation][1:]}", fate)

    def release(self, reservation: int, fate: Fate = Fate.ARRIVES) -> None:
        del self.live[reservation]
        if self.is_stating:
            self._gone.add(reservation)
        if self.in_doubt:
            return
        self._say(calls.release, [reservation], fate=fate)
        self._known.discard(reservation)

    def renew(self, fate: Fate = Fate.ARRIVES, wish: str = "stay") -> Reply:
        reply = self._say(calls.renew, len(self._known), sum(self._known) % ID_MODULUS, wish, fate=fate)
        for ended in reply[1]:
            self.pool.reap(ended.decode())
        return reply

    def _set(self, reservation: int, record: str, fate: Fate) -> None:
        self.live[reservation] = record
        if self.is_stating:
            self._changed.add(reservation)
        if self.in_doubt:
            return
        self._say(calls.advance, {reservation: record}, fate=fate)
        self._known.add(reservation)

    def _say(self, make: Callable[..., Call], *args: object, fate: Fate = Fate.ARRIVES) -> Reply:
        self.number += 1
        head = Head(self.epoch, self.pool.lease_ms, self.name, self.number)
        call = make(self.pool.keys, head, *args)
        try:
            reply = self.pool.send(call, fate)
        except LostError:
            self.in_doubt, self.is_stating = True, False
            raise
        if reply[0] == b"resync":
            self.in_doubt, self.is_stating = True, False
            raise RefusedError(f"{call.script} by {self.name}")
        return reply
