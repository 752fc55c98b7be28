"""The ranks of a simulated fleet: their names, DP groups, nodes and cards."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from scheduler.messages import RankCard, Role
from simulator.cluster.absence import Absence
from simulator.cluster.clock import EventQueue
from simulator.cluster.dp_group import DpGroup
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.settings import FleetSettings
from simulator.cluster.site import Site

CONNECTOR = "nixl"
INCARNATION = "1"
"""The only life of each rank."""
RANKS_PER_NODE = 8
"""All of one role."""


def build_sites(queue: EventQueue, settings: FleetSettings) -> dict[str, Site]:
    """Every rank by its name: "prefill0", "decode3"."""
    sites: dict[str, Site] = {}
    for role, ranks in settings.counts.items():
        named = [AnalyticRank(f"{role}{number}", settings.shape_of(role)) for number in range(ranks)]
        for members in _pieces(named, settings.dp_size):
            group = DpGroup(queue, members)
            sites |= {rank.name: Site(rank, group) for rank in members}
    return sites


def nodes_of(sites: Mapping[str, Site], settings: FleetSettings) -> dict[str, list[AnalyticRank]]:
    """The ranks of each node."""
    nodes: dict[str, list[AnalyticRank]] = {}
    for role, ranks in settings.counts.items():
        for number in range(ranks):
            nodes.setdefault(_node(role, number), []).append(sites[f"{role}{number}"].rank)
    return nodes


def silences_of(settings: FleetSettings) -> dict[str, Absence]:
    """When each node's agent says nothing."""
    silences: dict[str, Absence] = {}
    for role, ranks in settings.counts.items():
        nodes = -(-ranks // RANKS_PER_NODE)
        silences |= {f"{role}-node{node}": settings.silence(node, nodes) for node in range(nodes)}
    return silences


def cards_of(sites: Mapping[str, Site], settings: FleetSettings) -> dict[str, RankCard]:
    """Every rank's card, by its name."""
    return {
        f"{role}{number}": _card(role, number, sites[f"{role}{number}"].rank, settings.dp_size)
        for role, ranks in settings.counts.items()
        for number in range(ranks)
    }


def _card(role: Role, number: int, rank: AnalyticRank, dp_size: int) -> RankCard:
    return RankCard(
        rank=rank.name,
        endpoint=f"http://{rank.name}",
        role=role,
        model="sim",
        incarnation=INCARNATION,
        node=_node(role, number),
        max_num_seqs=rank.shape.max_num_seqs,
        max_model_len=rank.shape.kv_tokens,
        kv_capacity_tokens=rank.shape.kv_tokens,
        block_size=rank.shape.block_tokens,
        connector=CONNECTOR,
        dp_group=f"{role}-group{number // dp_size}" if dp_size > 1 else "",
    )


def _node(role: Role, number: int) -> str:
    return f"{role}-node{number // RANKS_PER_NODE}"


def _pieces(ranks: Sequence[AnalyticRank], size: int) -> list[Sequence[AnalyticRank]]:
    return [ranks[first : first + size] for first in range(0, len(ranks), size)]
