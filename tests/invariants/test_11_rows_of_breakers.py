"""Invariant 11, its script: a breaker's row becomes what a gateway made of it only if nobody was faster."""

from __future__ import annotations

from scheduler import calls
from scheduler.calls import Reply
from tests.invariants.lossy_pool import LossyPool, Sample


class Told:
    """A pool of ranks a and b, and breaker rows as a gateway tells them."""

    def __init__(self) -> None:
        self.pool = LossyPool()
        self.epoch = self.pool.open()
        self.pool.report(Sample("a"), Sample("b"))

    def tell(self, *changes: tuple[str, str, str, str], epoch: str = "") -> Reply:
        return self.pool.send(calls.breaker(self.pool.keys, epoch or self.epoch, self.pool.lease_ms, changes))

    @property
    def rows(self) -> dict[str, str]:
        return self.pool.rows(self.pool.keys.breaker)


def test_only_who_has_read_the_row_writes_it_and_all_are_told_of_it() -> None:
    told = Told()
    before = told.pool.snapshot()
    assert told.tell(("a", "i1", "", "i1 x"), ("b", "i1", "", "i1 y")) == [b"ok", 1, b"i1 x", 1, b"i1 y"]
    assert told.tell(("a", "i1", "", "i1 z"), ("b", "i1", "i1 y", "")) == [b"ok", 0, b"i1 x", 1, b""]
    assert told.rows == {"a": "i1 x"}
    assert [row[4] for row in told.pool.snapshot(before.epoch, before.version).rows] == [b"i1 x", b""]
    now = told.pool.snapshot()
    assert told.tell(("a", "i1", "", "i1 z")) == [b"ok", 0, b"i1 x"]
    assert told.pool.snapshot(now.epoch, now.version).rows == ()


def test_of_a_life_that_is_gone_and_of_another_epoch_nothing_is_written() -> None:
    told = Told()
    assert told.tell(("a", "i0", "", "i0 x"), ("c", "i1", "", "i1 x")) == [b"ok", 0, b"", 0, b""]
    assert told.tell(("a", "i1", "", "i1 x"), epoch="e0") == [b"resync"]
    assert told.rows == {}


def test_rows_of_ranks_that_left_are_swept_and_no_others() -> None:
    told = Told()
    told.tell(("a", "i1", "", "i1 x"), ("b", "i1", "", "i1 y"))
    told.pool.report(Sample("a", state="gone"))
    told.tell(("b", "i1", "i1 y", "i1 z"))
    assert told.rows == {"b": "i1 z"}
