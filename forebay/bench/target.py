"""What is measured: a proxy, or the backend itself."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from forebay.children import Child


class Entrance(NamedTuple):
    """One way in: the addresses that clients use in turn, and the process behind them, None for the backend itself."""

    addresses: tuple[str, ...]
    process: Child | None = None


class Target(NamedTuple):
    """One thing to measure. `beside` are processes it needs that are counted apart, by name; `key` is its clients'."""

    name: str
    entrances: tuple[Entrance, ...]
    beside: Mapping[str, Child] = {}
    key: str = ""

    def addresses(self, entrances: int) -> tuple[str, ...]:
        """Where clients go when so many entrances are used."""
        return tuple(address for entrance in self.entrances[:entrances] for address in entrance.addresses)

    def pids(self, entrances: int) -> list[int]:
        """The proxy's processes behind so many entrances; none for the backend itself."""
        return [entrance.process.process.pid for entrance in self.entrances[:entrances] if entrance.process]

    @property
    def ended(self) -> str:
        """How a process of it ended and what it said last, empty while all of them run."""
        processes = [*(entrance.process for entrance in self.entrances), *self.beside.values()]
        return next((each.describe_end() for each in processes if each and each.process.returncode is not None), "")
