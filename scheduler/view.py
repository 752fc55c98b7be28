"""What a gateway last read of a pool: frozen, with its age known, and how a delta makes the next one. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cached_property
from types import MappingProxyType

import msgspec

from scheduler.breaker import known_breaker
from scheduler.endpoints import AllowedHosts, EndpointError
from scheduler.groups import Groups
from scheduler.loads import FORGOTTEN_MS
from scheduler.messages import CARD_VERSION, KvAddress, RankCard, RankState, Role
from scheduler.placeable import Placeable
from scheduler.rank_view import RankView
from scheduler.rows import parse_book, parse_seen

GROUPED_PER_ROW = 8
"""How many ranks' groups are looked at in the time in which one row is read."""


class PoolView(msgspec.Struct, frozen=True, dict=True):
    """A pool as of `version` of `epoch`; `pool_ms` was the pool time when it was read.

    `broken_groups` are the DP groups that cannot be placed on (groups.py).
    """

    epoch: str = ""
    version: int = -1
    pool_ms: int = 0
    ranks: MappingProxyType[str, RankView] = MappingProxyType({})
    broken_groups: frozenset[str] = frozenset()

    def placeable(self) -> list[RankView]:
        """Ranks that are up, not drained, and in no broken group."""
        up, broken = RankState.UP, self.broken_groups
        return [
            rank
            for rank in self.ranks.values()
            if (seen := rank.seen).state is up and not seen.drained and rank.card.dp_group not in broken
        ]

    @cached_property
    def by_role(self) -> Mapping[Role, Placeable]:
        """The placeable ranks of each role."""
        ranks: dict[Role, list[RankView]] = {role: [] for role in Role}
        for rank in self.placeable():
            ranks[rank.card.role].append(rank)
        return {role: Placeable(of_role) for role, of_role in ranks.items()}

    @cached_property
    def with_breakers(self) -> tuple[RankView, ...]:
        """The ranks that failed, or came back, of late, and those whose life before did."""
        return tuple(rank for rank in self.ranks.values() if rank.breaker or rank.former_breaker)

    @cached_property
    def heard_by_role(self) -> Mapping[Role, Placeable]:
        """Those of them whose agents did not fall silent; `by_role` itself where none did.

        Silence is told from the snapshot's own time: where Redis is gone, all would fall silent.
        """
        since_ms = self.pool_ms - FORGOTTEN_MS
        heard = {
            role: placeable.those([rank for rank in placeable.ranks if rank.seen.heard_ms >= since_ms])
            for role, placeable in self.by_role.items()
        }
        return self.by_role if heard == self.by_role else heard


class Delta(msgspec.Struct, frozen=True):
    """What snapshot.lua answered: rows of (rank, seen, load, card, breaker), as text."""

    epoch: str
    version: int
    pool_ms: int
    rows: tuple[tuple[bytes, bytes, bytes, bytes, bytes], ...]

    @staticmethod
    def read(reply: list[bytes]) -> Delta:
        """Reads a reply of snapshot.lua that is not `closed`."""
        cells = iter(reply[3:])
        return Delta(
            *(reply[0].decode(), int(reply[1]), int(reply[2])),
            tuple(zip(cells, cells, cells, cells, cells, strict=True)),
        )


class Folding:
    """A delta being laid over a view, slice by slice, so that thousands of ranks do not hold up an event loop.

    A rank whose row is unreadable, or whose card is of a version newer than ours, is not in the next view: what is not
    understood is not placed on. `skipped` counts them. Nor is one whose endpoint must not be asked: by name why, in
    `refused`, as far as it was there before and its card is the same, or its card came now, which `refusals` counts.
    """

    def __init__(
        self,
        view: PoolView,
        delta: Delta,
        allowed: AllowedHosts | None = None,
        refused: Mapping[str, str] = MappingProxyType({}),
    ) -> None:
        self._delta = delta
        self._allowed = allowed or AllowedHosts()
        # An older version is of a store that lost what it had told us, and then it tells all it knows.
        follows = view.epoch == delta.epoch and view.version <= delta.version
        self._ranks = view.ranks.copy() if follows else {}
        self.refused = dict(refused) if follows else {}
        self.refusals = 0
        self._groups = Groups(delta.pool_ms)
        self.skipped = 0

    def slices(self, rows: int) -> Iterator[None]:
        """Folds up to `rows` rows at each step, then looks at the groups of all ranks."""
        for first in range(0, len(self._delta.rows), rows):
            for row in self._delta.rows[first : first + rows]:
                self._fold(*row)
            yield
        ranks = list(self._ranks.values())
        for first in range(0, len(ranks), GROUPED_PER_ROW * rows):
            self._groups.see(ranks[first : first + GROUPED_PER_ROW * rows])
            yield

    def view(self) -> PoolView:
        """The next view; call it when all slices are folded."""
        delta = self._delta
        ranks = MappingProxyType(self._ranks)
        return PoolView(delta.epoch, delta.version, delta.pool_ms, ranks, self._groups.broken())

    def _fold(self, name: bytes, seen: bytes, load: bytes, card: bytes, breaker: bytes) -> None:
        former = self._ranks.pop(rank := name.decode(errors="replace"), None)
        why = self.refused.pop(rank, None)
        if not seen:
            return
        if why and not card:
            self.refused[rank] = why
            return
        try:
            view = _rank_view(rank, former, seen.decode(), load.decode(), card)
            if card:
                self._admit(view.card)
        except EndpointError as error:
            self.refusals += 1
            self.refused[rank] = str(error)
            return
        except (ValueError, TypeError, RecursionError, OverflowError, msgspec.MsgspecError):
            self.skipped += 1
            return
        self._ranks[rank] = _with_breaker(view, breaker.decode(errors="replace")) if breaker else view

    def _admit(self, card: RankCard) -> None:
        """Raises EndpointError if gateways may not send requests to the rank, or other ranks to where it has KV."""
        self._allowed.require(card.endpoint)
        kv = card.kv or KvAddress()
        if kv.bootstrap_url:
            self._allowed.require(kv.bootstrap_url)
        if kv.host and not self._allowed.admits(kv.host):
            raise EndpointError(f"its KV's host {kv.host} is not among those that are allowed")


def fold(view: PoolView, delta: Delta) -> tuple[PoolView, int]:
    """The next view, made at once, and how many rows were skipped."""
    folding = Folding(view, delta)
    for _ in folding.slices(max(1, len(delta.rows))):
        pass
    return folding.view(), folding.skipped + folding.refusals


def _rank_view(rank: str, former: RankView | None, seen_row: str, load_row: str, card_json: bytes) -> RankView:
    seen = parse_seen(seen_row)
    card = msgspec.json.decode(card_json, type=RankCard) if card_json else former.card if former else None
    if card is None or card.v > CARD_VERSION or (card.rank, card.incarnation) != (rank, seen.incarnation):
        raise ValueError("no card that we can read")
    return RankView(card, seen, parse_book(load_row))


def _with_breaker(rank: RankView, row: str) -> RankView:
    known = known_breaker(row, rank.card.incarnation)
    former = "" if row.startswith(f"{rank.card.incarnation} ") else row
    return msgspec.structs.replace(rank, breaker=known, former_breaker=former)
