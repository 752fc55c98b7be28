"""The gateways of a simulated fleet that place as a peer does."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from random import Random

from scheduler.messages import Role
from simulator.cluster.clock import EventQueue
from simulator.cluster.peers import PEERS
from simulator.cluster.peers.peer_fleet import PeerFleet
from simulator.cluster.peers.peer_placer import PeerPlacer
from simulator.cluster.placer import Placer
from simulator.cluster.settings import FleetSettings
from simulator.cluster.site import Site


def peer_placers(queue: EventQueue, sites: Mapping[str, Site], settings: FleetSettings) -> Sequence[Placer]:
    """One for each gateway; the settings' policy is one of PEERS."""
    chances = [Random(f"{settings.seed}/gateway{number}") for number in range(settings.gateways)]
    fleet = PeerFleet(queue, sites, settings, chances)
    names = {str(role): fleet.names(role) for role in Role}
    return [PeerPlacer(rule, **names) for rule in PEERS[settings.policy](fleet)]
