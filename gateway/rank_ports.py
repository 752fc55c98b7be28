"""One port for each rank, for those that choose ranks by themselves (rank_port_option.py).

Where the option names no ranks, the ports are those of the only pool's ranks in the order of their names, numbers by
value, from the first moment on at which there are as many; which is whose is not changed after that.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Mapping

from starlette.types import Scope

from gateway.errors import NoRankError
from gateway.placing import Pool, Pools
from scheduler.messages import Role

log = logging.getLogger(__name__)

RETRY_AFTER_MS = 1_000

NUMBER = re.compile(r"(\d+)")


def in_order(names: Iterable[str]) -> list[str]:
    """Ranks by name, where numbers count by value: `node:9` comes before `node:10`."""
    return sorted(names, key=lambda name: [int(part) if part.isdigit() else part for part in NUMBER.split(name)])


class RankPorts:
    """Whose each port is, by the ranks of these pools."""

    def __init__(self, ports: Mapping[int, str], pools: Pools) -> None:
        self._rank_of = dict(ports)
        self._pools = pools

    @property
    def ports(self) -> tuple[int, ...]:
        """All of them, beside the gateway's own."""
        return tuple(self._rank_of)

    @property
    def told(self) -> str:
        """The end of the line that says where the gateway listens."""
        ports = sorted(self._rank_of)
        return f", a port for each of {len(ports)} ranks: {ports[0]}-{ports[-1]}" if ports else ""

    def of(self, scope: Scope) -> str:
        """`rank_at` the port that a request came to."""
        return self.rank_at(scope["server"][1]) if self._rank_of else ""

    def serves_at(self, scope: Scope) -> bool:
        """Whether requests are taken at the port that this one came to: that of a rank only while the rank does."""
        try:
            rank = self.of(scope)
        except NoRankError:
            return False
        return not rank or any(pool.fault_of(rank) is None for pool in self._known_pools())

    def rank_at(self, port: int) -> str:
        """The rank whose port this is; '' where it is no rank's. Raises NoRankError while that is not known."""
        rank = self._rank_of.get(port)
        if rank is None:
            return ""
        return rank or self._found(port)

    def _found(self, port: int) -> str:
        pools = self._known_pools()
        if len(pools) > 1:
            told = f"Port {port} is no rank's: there are {len(pools)} models, so --rank-ports has to name the ranks"
            raise NoRankError(told)
        names = in_order(name for pool in pools for name in _nameable(pool))
        if len(names) < len(self._rank_of):
            told = f"Port {port} is no rank's yet: of {len(self._rank_of)} ranks {len(names)} are known"
            raise NoRankError(told, retry_after_ms=RETRY_AFTER_MS)
        self._rank_of = dict(zip(sorted(self._rank_of), names, strict=False))
        log.info("ports of ranks: %s", ", ".join(f"{port}={rank}" for port, rank in self._rank_of.items()))
        return self._rank_of[port]

    def _known_pools(self) -> list[Pool]:
        return [pool for name in self._pools.names() if (pool := self._pools.get(name)) is not None]


def _nameable(pool: Pool) -> list[str]:
    """The ranks that answer clients, well or not."""
    return [rank for rank, view in pool.view.ranks.items() if view.card.role is not Role.PREFILL]
