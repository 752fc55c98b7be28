"""What a gateway is called in the ledger: `<life>@<address>`, and `.<statement>` after it for each time it stated its
reservations. The life differs each time a gateway starts; scripts/resync.lua tells statements of one life apart. Pure.
"""

from __future__ import annotations

from collections.abc import Container

from scheduler.calls import Head


def gateway_name(life: str, address: str) -> str:
    """The name of one life of a gateway; neither part has spaces, nor the life an `@`."""
    return f"{life}@{address}"


def statement_name(gateway: str, statement: int) -> str:
    """The name under which a gateway holds reservations since it stated them for the `statement`-th time."""
    return f"{gateway}.{statement}"


def life_and_address(name: str) -> tuple[str, str]:
    """The life and the address of the gateway behind a statement's name."""
    life, _, address = name.rpartition(".")[0].partition("@")
    return life, address


class Names:
    """The names of one gateway in one epoch of a pool: the last is spoken under, the others may still hold something.

    `statements` counts how often it took a new one.
    """

    def __init__(self, gateway: str, lease_ms: int) -> None:
        self._gateway, self._lease_ms = gateway, lease_ms
        self._number = 0
        self.epoch = ""
        self.statements = 0
        self.all: list[str] = []

    def enter(self, epoch: str) -> None:
        """The pool's epoch is this; names of another one hold nothing any more."""
        if epoch != self.epoch:
            self.epoch, self.all = epoch, []

    def keep(self, known: Container[bytes]) -> None:
        """Forgets those that the store does not know: only failed statements had them, one more with each failure."""
        self.all = [name for name in self.all if name.encode() in known]

    def begin(self) -> list[str]:
        """Takes a new name, and returns the former ones."""
        former = self.all
        self.statements += 1
        self.all = [*former, statement_name(self._gateway, self.statements)]
        self._number = 0
        return former

    def settle(self) -> None:
        """The former names hold nothing of ours any more."""
        self.all = self.all[-1:]

    def next_head(self) -> Head:
        """The first arguments of the next call."""
        self._number += 1
        return Head(self.epoch, self._lease_ms, self.all[-1], self._number)
