"""Which launched ranks are ready: by the agent's own looks at their ports, and the store's word. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from agent.health import verdict
from agent.port_state import PortState
from scheduler.messages import RankState


class LaunchedPort(msgspec.Struct, frozen=True, kw_only=True):
    """What an agent knows of the port of a rank it launched. `complaint`: why it is not offered, if it is not.

    `is_told`: the store has said whose the ranks behind it are, or cannot be asked.
    """

    port: PortState
    complaint: str
    stall_ms: int
    is_told: bool

    @property
    def lives(self) -> frozenset[str]:
        """The incarnations seen behind it."""
        return frozenset(track.incarnation.text for track in self.port.ranks)

    def is_ready(self, earlier: frozenset[str]) -> bool:
        """Whether all its ranks are offered, in none of their `earlier` lives."""
        return (
            self.is_told
            and bool(self.port.ranks)
            and all(
                track.is_introduced
                and track.incarnation.text not in earlier
                and verdict(self.port.health, track, self.stall_ms).state is RankState.UP
                for track in self.port.ranks
            )
        )


def claimed_by_others(ports: Sequence[LaunchedPort], refused: Mapping[str, str]) -> Mapping[str, str]:
    """Of the ranks that the store has refused those that are ours, and the agents that have them."""
    ours = {port.port.target.name for port in ports}
    return {rank: agent for rank, agent in refused.items() if rank.partition("#")[0] in ours}


def is_empty(ports: Sequence[LaunchedPort]) -> bool:
    """Whether the engines that answer have no requests, and no KV that is yet to be fetched."""
    return all(
        track.is_idle and track.sample.kv_usage <= 0
        for port in ports
        if not port.port.health.down_because
        for track in port.port.ranks
        if track.present and track.card is not None
    )
