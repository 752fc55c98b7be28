"""The gateways of a simulated fleet: each with its own snapshot's age, its own chance and its own writer."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from scheduler.gateway_name import gateway_name
from scheduler.keys import PoolKeys
from scheduler.planning import Rules
from scheduler.policies import policy_named
from simulator.cluster.clock import EventQueue
from simulator.cluster.ledger_placer import LedgerPlacer
from simulator.cluster.placer import Placer
from simulator.cluster.prefixes import Prefixes
from simulator.cluster.ranks import CONNECTOR
from simulator.cluster.settings import FleetSettings
from simulator.cluster.snapshots import PHASES, Snapshots
from simulator.cluster.store_link import StoreLink
from simulator.cluster.writer import GatewayWriter


def ledger_placers(
    queue: EventQueue, link: StoreLink, keys: PoolKeys, settings: FleetSettings, *, ranks: int, epoch: str
) -> Sequence[Placer]:
    """One for each gateway, all on one shared ledger. Raises UnknownPolicyError."""
    rules = Rules(policy=policy_named(settings.policy), connectors=frozenset({CONNECTOR}))
    phases = [
        Snapshots(queue, link, keys, ranks=ranks, snapshot_ms=settings.snapshot_ms, phase=phase)
        for phase in range(min(PHASES, settings.gateways))
    ]
    placers = []
    for number in range(settings.gateways):
        rng = Random(f"{settings.seed}/gateway{number}")
        name = gateway_name(f"gateway{number}", "127.0.0.1:8000")
        writer = GatewayWriter(queue, link, keys, epoch=epoch, gateway=name, rng=rng)
        snapshots = phases[number % len(phases)]
        placer = LedgerPlacer(writer, snapshots, Prefixes(queue, link, keys, snapshots), rules, rng)
        if link.may_be_lost:  # else nobody ever places alone
            snapshots.on_read.append(placer.remember)
        placers.append(placer)
    return placers
