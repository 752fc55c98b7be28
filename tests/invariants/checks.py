"""The two things that must hold of a store: at every step it agrees with itself, and once settled with the gateways."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from tests.invariants.lossy_pool import LossyPool
from tests.invariants.recount import recount


def check_book(pool: LossyPool) -> None:
    """At every step: no number is negative, and the sums are those of the live sets, whoever's they are."""
    for life, row in pool.loads().items():
        assert len(row) == 8, f"load of {life}: {row}"
        assert min(row) >= 0, f"load of {life} is negative: {row}"
        assert row[2] <= pool.pool_ms, f"the progress of {life} began in the future: {row}"
    for group, sums in pool.count().groups.items():
        assert min(sums) >= 0, f"sums of group {group} are negative: {sums}"
    live = pool.live()
    assert pool.count() == recount(record for held in live.values() for record in held.values())
    for name, (number, count, total) in pool.gate().items():
        if number >= 0:
            held = live.get(name, {})
            assert (count, total) == (len(held), sum(held) % (1 << 48)), f"the gate miscounts {name}"


def check_settled(pool: LossyPool, gateways: Mapping[str, Mapping[int, str]], seen: Iterable[str] = ()) -> None:
    """After a fault: exactly what the live gateways hold, by name, and nothing of anybody else.

    `seen`: the lives that agents report.
    """
    check_book(pool)
    held = {name: dict(live) for name, live in gateways.items() if live}
    assert pool.live() == held
    assert pool.count() == recount(record for live in held.values() for record in live.values())
    assert set(pool.gate()) == set(pool.leases()) == set(gateways)
    kept = set(seen) | set(pool.count().lives)
    assert set(pool.loads()) <= kept, "a page of a life that is over and holds nothing"
    assert set(pool.rows(pool.keys.hist)) <= kept, "a history of a life that is over and holds nothing"
