"""Which accounts of API keys the store is to hear of now. Pure.

Not all are looked at in each exchange, for there may be many: those that are asked for and those with news; the others
now and then, for what runs is to be said again.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from scheduler.limit_account import Account


class News:
    """Names of accounts with news; what runs is said again every `renew_ms`, or half as much later. Times in ms."""

    def __init__(self, renew_ms: int) -> None:
        self._renew_ms = renew_ms
        self._names: set[str] = set()
        self._looked_ms = -renew_ms

    def add(self, name: str) -> bool:
        """There is something to say of it; answers whether there was nothing before."""
        is_first = not self._names
        self._names.add(name)
        return is_first

    def take(self, accounts: Mapping[str, Account], asked: Iterable[str], now_ms: int) -> dict[str, Account]:
        """Those of the accounts that the store hears of in this exchange; the ones `asked` for in any case."""
        if now_ms >= self._looked_ms + self._renew_ms / 2:
            self._looked_ms, self._names = now_ms, set(accounts)
        due_ms = now_ms - self._renew_ms
        due = {name for name in self._names & accounts.keys() if accounts[name].is_due(due_ms)}
        self._names.clear()
        return {name: accounts[name] for name in due.union(asked)}
