"""A gateway's side of the protocol as a few plain calls, each of which may get lost.

It follows the words of scheduler/ledger.py and of the scripts: calls are numbered; after any doubt nothing is sent but
a resync under the next name, in pieces, which names the former ones.
"""

from __future__ import annotations

import msgspec

from scheduler.decision import Ask
from scheduler.lua import Script
from scheduler.reservation import ID_MODULUS
from scheduler.store import Call, Reply, Word
from tests.invariants.bench import Bench, Fate, LostError


class RefusedError(Exception):
    """The store answered: resync."""


class RawGateway:
    """`live`: what it holds, by id, in the ledger's spelling. `in_doubt` until it stated all and lost nothing since."""

    def __init__(self, bench: Bench, stem: str) -> None:
        self.bench, self.stem = bench, stem
        self.live: dict[int, str] = {}
        self.in_doubt = True
        self.names: list[str] = []
        self.epoch = ""
        self.number = 0
        self.pieces: list[list[Word]] = []
        self.is_stating = False
        self._attempts = 0
        self._known: set[int] = set()
        self._changed: set[int] = set()
        self._gone: set[int] = set()

    @property
    def name(self) -> str:
        return self.names[-1]

    def join(self, fate: Fate = Fate.ARRIVES, piece: int = 500) -> RawGateway:
        """A whole resync; `fate` is that of its first piece."""
        self.begin(piece)
        self.state(fate)
        while self.is_stating:
            self.state()
        return self

    def begin(self, piece: int = 500) -> None:
        """Takes the next name and cuts the live set into pieces; `state` sends them."""
        epoch = self.bench.open()
        if epoch != self.epoch:
            self.epoch, self.names = epoch, []
        self._attempts += 1
        self.names.append(f"{self.stem}.{self._attempts}")
        self.number, self.in_doubt, self.is_stating = 0, True, True
        self._known, self._changed, self._gone = set(self.live), set(), set()
        words: list[Word] = [word for item in self.live.items() for word in item]
        self.pieces = [words[first : first + 2 * piece] for first in range(0, len(words), 2 * piece)] or [[]]

    def state(self, fate: Fate = Fate.ARRIVES) -> None:
        """Sends the next piece; after the last one the gateway is in no doubt, and says what changed meanwhile."""
        former, keys = self.names[:-1], self.bench.keys
        names = (*self._book(), keys.lease, *map(keys.live, former))
        self._exchange(Script.RESYNC, names, " ".join(former), *self.pieces.pop(0), fate=fate)
        if self.pieces:
            return
        self.in_doubt = self.is_stating = False
        for name in former:
            self.bench.reap(name)
        self.names = self.names[-1:]
        if changed := [i for i in self._changed if i in self.live]:
            self._say(Script.ADVANCE, *(word for i in changed for word in (i, self.live[i])))
        if self._gone:
            self._say(Script.RELEASE, *self._gone)
        self._known = set(self.live)

    def place(self, ask: Ask, fate: Fate = Fate.ARRIVES) -> Reply:
        """place.lua's reply; what it placed is held from now on."""
        reservation = self.bench.fresh_id()
        reply = self._say(Script.PLACE, reservation, msgspec.json.encode(ask), fate=fate)
        if reply[0] == b"place":
            record = self.bench.rows(self.bench.keys.live(self.name))[str(reservation)]
            self.live[reservation] = record
            self._known.add(reservation)
        return reply

    def adopt(self, record: str, fate: Fate = Fate.ARRIVES) -> int:
        """Holds a reservation that the store was not asked for."""
        reservation = self.bench.fresh_id()
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
        self._say(Script.RELEASE, reservation, fate=fate)
        self._known.discard(reservation)

    def renew(self, fate: Fate = Fate.ARRIVES, wish: str = "stay") -> Reply:
        keys = (self.bench.keys.head, self.bench.keys.gate, self.bench.keys.lease)
        total = sum(self._known) % ID_MODULUS
        reply = self._exchange(Script.RENEW, keys, len(self._known), total, wish, fate=fate)
        for ended in reply[1]:
            self.bench.reap(ended.decode())
        return reply

    def _set(self, reservation: int, record: str, fate: Fate) -> None:
        self.live[reservation] = record
        if self.is_stating:
            self._changed.add(reservation)
        if self.in_doubt:
            return
        self._say(Script.ADVANCE, reservation, record, fate=fate)
        self._known.add(reservation)

    def _say(self, script: Script, *words: Word, fate: Fate = Fate.ARRIVES) -> Reply:
        return self._exchange(script, self._book(), *words, fate=fate)

    def _exchange(self, script: Script, keys: tuple[str, ...], *words: Word, fate: Fate) -> Reply:
        self.number += 1
        head = (self.epoch, self.bench.lease_ms, self.name, self.number)
        try:
            reply = self.bench.send(Call(script, keys, (*head, *words)), fate)
        except LostError:
            self.in_doubt, self.is_stating = True, False
            raise
        if reply[0] == b"resync":
            self.in_doubt, self.is_stating = True, False
            raise RefusedError(f"{script} by {self.name}")
        return reply

    def _book(self) -> tuple[str, ...]:
        return self.bench.keys.book(self.bench.keys.live(self.name))
