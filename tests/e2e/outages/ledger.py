"""What the ledger in a Redis says, read by a plain client at one instant, and whether it is what gateways hold."""

from __future__ import annotations

from typing import Any, NamedTuple

import redis

from scheduler.gateway_name import life_and_address
from scheduler.keys import PoolKeys
from tests.invariants.recount import Count, count_of, recount

KEYS = PoolKeys("sim")


class Books(NamedTuple):
    """`held`: the records of each gateway, `<life>@<address>`, by id. `sums`: what the ledger says they add up to."""

    held: dict[str, dict[str, str]]
    sums: Count

    @property
    def reservations(self) -> int:
        return sum(map(len, self.held.values()))

    @property
    def is_exact(self) -> bool:
        """Whether the ledger's sums are those of the records in it."""
        return self.sums == recount(record for records in self.held.values() for record in records.values())


def books_of(client: redis.Redis) -> Books:
    """All read in one transaction, but for the gateways' names. Raises redis.RedisError."""
    names = [name.decode() for name in _rows(client.hgetall(KEYS.gate))]
    with client.pipeline(transaction=True) as together:
        for key in (KEYS.load, KEYS.group, *map(KEYS.live, names)):
            together.hgetall(key)
        load, group, *lives = map(_texts, together.execute())
    held: dict[str, dict[str, str]] = {}
    for name, records in zip(names, lives, strict=True):
        held.setdefault("@".join(life_and_address(name)), {}).update(records)
    return Books(held, count_of(load, group))


def _rows(reply: Any) -> dict[bytes, bytes]:
    return dict(reply)


def _texts(reply: Any) -> dict[str, str]:
    return {name.decode(): value.decode() for name, value in _rows(reply).items()}
