"""What ranks of a fleet must not have in common. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Sequence

from forebay.preflight.finding import Finding, Level
from forebay.preflight.rank_facts import RankFacts
from scheduler.messages import Role

CONFIG = "--kv-transfer-config '{\"kv_connector\": ...}'"
UNKNOWN = "is asked for no KV: its page does not show a connector, and an engine of some dies of the question"


def fleet_findings(ranks: Sequence[RankFacts]) -> list[Finding]:
    """Ranks that do not answer, offer no KV though they prefill, or collide."""
    found = [
        Finding(Level.BAD, rank.name, rank.fault, f"--{rank.role}-ranks, or start the rank")
        for rank in ranks
        if rank.fault
    ]
    prefills = [rank for rank in ranks if rank.role is Role.PREFILL and not rank.fault]
    mute = [rank for rank in prefills if rank.no_offer]
    found += [Finding(Level.BAD, rank.name, f"offers no KV: {rank.no_offer}", CONFIG) for rank in mute]
    found += [Finding(Level.UNSEEN, rank.name, UNKNOWN, "--connector") for rank in prefills if not rank.connector]
    offers = [(rank, rank.offer) for rank in ranks if rank.offer is not None]
    by_engine = ((offer.engine_id, rank.name) for rank, offer in offers if offer.engine_id)
    found += _shared(by_engine, "engine id", "engine_id in --kv-transfer-config: leave it out, or one for each rank")
    by_channel = ((f"{offer.host}:{offer.port}", rank.name) for rank, offer in offers)
    found += _shared(by_channel, "side channel", "VLLM_NIXL_SIDE_CHANNEL_PORT or kv_port, one for each rank of a host")
    return found


def _shared(owned: Iterable[tuple[str, str]], what: str, change: str) -> list[Finding]:
    owners: defaultdict[str, list[str]] = defaultdict(list)
    for value, rank in owned:
        owners[value].append(rank)
    return [
        Finding(Level.BAD, ", ".join(ranks), f"have the same {what}, {value}", change)
        for value, ranks in owners.items()
        if len(ranks) > 1
    ]


def port_range_findings(ranges: Sequence[tuple[str, range]]) -> list[Finding]:
    """Ranges of ports on this node, each with what it is for, that overlap."""
    found = []
    for place, (what, ports) in enumerate(ranges):
        for other, others in ranges[place + 1 :]:
            first, last = max(ports.start, others.start), min(ports.stop, others.stop) - 1
            if first <= last:
                told = f"both use ports {first}-{last}" if first < last else f"both use port {first}"
                found.append(Finding(Level.BAD, f"{what}, {other}", told, "the port of one of them"))
    return found
