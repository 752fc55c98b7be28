"""Every peer's rules for all gateways of a fleet, each with what that peer's gateways would see."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from scheduler.messages import Role
from simulator.cluster.peers.aibrix import METRICS_S, SNAPSHOT_S, Aibrix
from simulator.cluster.peers.ascend_bucket import AscendBucket
from simulator.cluster.peers.ascend_external_dp import AscendExternalDp
from simulator.cluster.peers.ascend_pd import AscendPd
from simulator.cluster.peers.board import Board
from simulator.cluster.peers.dynamo import Dynamo
from simulator.cluster.peers.dynamo_active import ActiveSequences
from simulator.cluster.peers.dynamo_conditional import DynamoConditional
from simulator.cluster.peers.exact_prefixes import ExactPrefixes
from simulator.cluster.peers.fastdeploy import HEARTBEAT_S, FastDeploy
from simulator.cluster.peers.llm_d import PRECISE, SCRAPE_S, LlmD, Weights
from simulator.cluster.peers.llm_d_decider import LlmDDecider
from simulator.cluster.peers.llm_d_index import ApproximateIndex, PrefixIndex
from simulator.cluster.peers.llm_d_precise import PreciseIndex
from simulator.cluster.peers.lmetric import LMetric
from simulator.cluster.peers.own_counts import OwnCounts
from simulator.cluster.peers.own_prefixes import OwnPrefixes
from simulator.cluster.peers.peer_fleet import PeerFleet
from simulator.cluster.peers.poller import paced, weighed
from simulator.cluster.peers.power_of_two import PowerOfTwo
from simulator.cluster.peers.rule import Rule
from simulator.cluster.peers.smg_cache_aware import SmgCacheAware
from simulator.cluster.peers.smg_events import SmgEvents
from simulator.cluster.peers.smg_least_load import POLL_S, SmgLeastLoad
from simulator.cluster.peers.vllm_dp import MESSAGE_S, VllmDp, VllmDpOld


def fastdeploy(fleet: PeerFleet) -> Sequence[Rule]:
    """One board in Redis for all; a node pulls a request a round trip after it was pushed."""
    board = Board(fleet.queue, period_s=HEARTBEAT_S, late_s=fleet.settings.store_ms / 1000)
    return [FastDeploy(board.of, board.change, chance) for chance in fleet.chances]


def ascend_external_dp(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts only."""
    return [AscendExternalDp() for _ in fleet.gateways]


def ascend_pd(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts only."""
    return [AscendPd() for _ in fleet.gateways]


def ascend_bucket(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts only."""
    return [AscendBucket() for _ in fleet.gateways]


def vllm_dp_old(fleet: PeerFleet) -> Sequence[Rule]:
    """One coordinator, whose messages come to all API servers."""
    servers = len(fleet.gateways)
    return [VllmDpOld(polled, number=n, servers=servers) for n, polled in enumerate(fleet.polled(MESSAGE_S))]


def vllm_dp(fleet: PeerFleet) -> Sequence[Rule]:
    """One coordinator, whose messages come to all API servers."""
    servers = len(fleet.gateways)
    return [VllmDp(polled, number=n, servers=servers) for n, polled in enumerate(fleet.polled(MESSAGE_S))]


def power_of_two(period_s: float, fleet: PeerFleet) -> Sequence[Rule]:
    """Each router polls for itself."""
    return [PowerOfTwo(polled, chance) for polled, chance in zip(fleet.polled(period_s), fleet.chances, strict=True)]


def smg_cache_aware(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts and an own tree only."""
    return [SmgCacheAware() for _ in fleet.gateways]


def smg_events(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts; KV events come to all gateways."""
    exact = fleet.exact_prefixes()
    return [SmgEvents(exact) for _ in fleet.gateways]


def smg_least_load(fleet: PeerFleet) -> Sequence[Rule]:
    """Each gateway polls for itself."""
    return [SmgLeastLoad(polled) for polled in fleet.polled(POLL_S, weighed)]


def llm_d(weights: Weights, fleet: PeerFleet) -> Sequence[Rule]:
    """Each picker scrapes for itself and remembers what it has sent itself, within each rank's capacity."""
    capacity_blocks = {rank.name: rank.shape.kv_blocks for rank in fleet.ranks}
    return _llm_d(weights, fleet, [ApproximateIndex(OwnPrefixes(capacity_blocks)) for _ in fleet.gateways])


def llm_d_precise(weights: Weights, fleet: PeerFleet) -> Sequence[Rule]:
    """Each picker scrapes for itself; KV events come to all."""
    exact = fleet.exact_prefixes()
    return _llm_d(weights, fleet, [PreciseIndex(exact, fleet.now_s) for _ in fleet.gateways])


def llm_d_decider(non_cached_tokens: int, fleet: PeerFleet) -> Sequence[Rule]:
    """As llm_d_precise."""
    exact = fleet.exact_prefixes()
    return [
        LlmDDecider(PRECISE, PreciseIndex(exact, fleet.now_s), polled, chance, non_cached_tokens=non_cached_tokens)
        for polled, chance in zip(fleet.polled(SCRAPE_S), fleet.chances, strict=True)
    ]


def _llm_d(weights: Weights, fleet: PeerFleet, indexes: Sequence[PrefixIndex]) -> Sequence[Rule]:
    return [
        LlmD(weights, index, polled, chance)
        for index, polled, chance in zip(indexes, fleet.polled(SCRAPE_S), fleet.chances, strict=True)
    ]


def dynamo(fleet: PeerFleet) -> Sequence[Rule]:
    """KV events come to all routers; what is active each counts for itself."""
    exact = fleet.exact_prefixes()
    return _dynamo(fleet, exact, [ActiveSequences(exact, fleet.now_s) for _ in fleet.gateways])


def dynamo_sync(fleet: PeerFleet) -> Sequence[Rule]:
    """What is active all routers know."""
    exact = fleet.exact_prefixes()
    return _dynamo(fleet, exact, [ActiveSequences(exact, fleet.now_s)] * len(fleet.gateways))


def dynamo_aic(fleet: PeerFleet) -> Sequence[Rule]:
    """What is active all routers know, and how far it is."""
    return _dynamo_aic(fleet, Dynamo)


def dynamo_conditional(fleet: PeerFleet) -> Sequence[Rule]:
    """As dynamo_aic; of decode ranks too."""
    return _dynamo_aic(fleet, DynamoConditional)


def _dynamo_aic(fleet: PeerFleet, rule: type[Dynamo]) -> Sequence[Rule]:
    exact, tokens_per_s = fleet.exact_prefixes(), fleet.settings.timing.prefill_tokens_per_s
    return _dynamo(fleet, exact, [ActiveSequences(exact, fleet.now_s, tokens_per_s)] * len(fleet.gateways), rule)


def _dynamo(
    fleet: PeerFleet, exact: ExactPrefixes, actives: Sequence[ActiveSequences], rule: type[Dynamo] = Dynamo
) -> Sequence[Rule]:
    mixed = fleet.names(Role.MIXED)
    return [rule(exact, active, mixed, chance) for active, chance in zip(actives, fleet.chances, strict=True)]


def lmetric(fleet: PeerFleet) -> Sequence[Rule]:
    """KV events come to all routers; what is under way each counts for itself."""
    exact = fleet.exact_prefixes()
    return [LMetric(exact, chance) for chance in fleet.chances]


def aibrix(fleet: PeerFleet) -> Sequence[Rule]:
    """Each gateway writes its counts every period, and reads the others' a period's half later on the average."""
    board = Board(fleet.queue, period_s=SNAPSHOT_S, late_s=SNAPSHOT_S / 2)
    polled = fleet.polled(METRICS_S, paced)
    return [
        Aibrix(
            polled[number],
            fleet.chances[number],
            mixed=fleet.names(Role.MIXED),
            others=partial(_of_others, board, number),
            write=partial(_write, board, number),
        )
        for number in fleet.gateways
    ]


def _of_others(board: Board, gateway: int, rank: str) -> float:
    return board.of(rank) - board.of(f"{rank} of {gateway}")


def _write(board: Board, gateway: int, rank: str, amount: float) -> None:
    board.change(rank, amount)
    board.change(f"{rank} of {gateway}", amount)


def own_counts(fleet: PeerFleet) -> Sequence[Rule]:
    """Own counts only."""
    settings = fleet.settings
    return [
        OwnCounts(max_num_seqs=settings.max_num_seqs, kv_tokens=settings.kv_capacity_tokens, chance=chance)
        for chance in fleet.chances
    ]
