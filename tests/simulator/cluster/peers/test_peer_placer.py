"""Peers' rules on a fleet: every request is served, on pairs and on mixed ranks, and no gateway knows another's."""

from collections.abc import Sequence

import pytest

from scheduler.policies import POLICIES
from simulator.cluster.fleet import run
from simulator.cluster.outcome import Outcome
from simulator.cluster.peers import PEERS
from simulator.cluster.peers.names import PEER_NAMES, POLICY_NAMES
from simulator.cluster.peers.peer_placer import PeerPlacer
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.placer import Placed
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from tests.simulator.cluster.peers.legs import request
from tests.simulator.cluster.test_fleet import some_requests, told


class Heard(Rule):
    """The first rank each time; writes down what it hears."""

    def __init__(self) -> None:
        self.heard: list[str] = []

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        return ranks[0]

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        return ranks[-1]

    def began(self, leg: Leg) -> None:
        self._hear("began", leg)

    def prefilled(self, leg: Leg) -> None:
        self._hear("prefilled", leg)

    def answered(self, leg: Leg) -> None:
        self._hear("answered", leg)

    def ended(self, leg: Leg) -> None:
        self._hear("ended", leg)

    def _hear(self, what: str, leg: Leg) -> None:
        self.heard.append(f"{what} {leg.rank}")


class HeardLate(Heard):
    decodes_late = True


class HeardAlone(Heard):
    def whole_rank(self, request: SimRequest, ranks: Sequence[str]) -> str | None:
        return ranks[0]


def placed(rule: Heard, **ranks: Sequence[str]) -> tuple[Placed | None, list[str]]:
    """Where a request goes, and what the rule had heard after each of its phases, a line each."""
    placer = PeerPlacer(rule, **{"prefill": (), "decode": (), "mixed": ()} | ranks)
    taken: list[Placed | None] = []
    placer.place(request(7), taken.append)
    found, lines = taken[0], []
    if found:
        went_on: list[str] = []
        lines.append(", ".join(rule.heard))
        rule.heard.clear()
        placer.dispatched(found)
        if found.is_pair:
            placer.prefill_done(found, went_on.append)
            lines.append(", ".join(rule.heard) + f" -> {went_on[0]}")
            rule.heard.clear()
        placer.first_token(found)
        lines.append(", ".join(rule.heard))
        rule.heard.clear()
        placer.done(found, request(7))
        lines.append(", ".join(rule.heard))
    return found, lines


def test_both_legs_of_a_pair_are_chosen_at_once() -> None:
    found, lines = placed(Heard(), prefill=["p"], decode=["d", "e"])
    assert found
    assert (found.prefill_rank, found.decode_rank) == ("p", "e")
    assert lines == ["began p, began e", "prefilled p -> e", "answered p, answered e", "ended p, ended e"]


def test_a_rule_that_decodes_late_chooses_the_second_leg_when_the_first_is_done() -> None:
    _, lines = placed(HeardLate(), prefill=["p"], decode=["d", "e"])
    assert lines == ["began p", "prefilled p, began e -> e", "answered p, answered e", "ended p, ended e"]


def test_a_mixed_rank_serves_the_whole_request() -> None:
    found, lines = placed(Heard(), mixed=["m"])
    assert found
    assert not found.is_pair
    assert lines == ["began m", "prefilled m, answered m", "ended m"]


def test_a_decode_rank_serves_the_whole_request_where_the_rule_says_so() -> None:
    found, lines = placed(HeardAlone(), prefill=["p"], decode=["d", "e"], mixed=["m"])
    assert found
    assert (found.prefill_rank, found.decode_rank) == ("d", "d")
    assert lines == ["began d", "prefilled d, answered d", "ended d"]


def test_no_decode_rank_is_asked_for_where_there_is_none() -> None:
    found, _ = placed(HeardAlone(), mixed=["m"])
    assert found
    assert found.prefill_rank == "m"


@pytest.mark.parametrize("ranks", [{}, {"prefill": ["p"]}, {"decode": ["d"]}])
def test_a_fleet_that_cannot_answer_takes_nothing(ranks: dict[str, Sequence[str]]) -> None:
    assert placed(Heard(), **ranks) == (None, [])


def test_prefill_ranks_without_decode_ranks_are_left_out() -> None:
    found, _ = placed(Heard(), prefill=["p"], mixed=["m"])
    assert found
    assert found.prefill_rank == "m"


@pytest.mark.parametrize("policy", PEER_NAMES)
@pytest.mark.parametrize("fleet", ["pairs", "mixed", "both"])
def test_every_peer_serves_every_request(policy: str, fleet: str) -> None:
    prefill, decode, mixed = {"pairs": (3, 2, 0), "mixed": (0, 0, 3), "both": (2, 2, 2)}[fleet]
    settings = FleetSettings(prefill=prefill, decode=decode, mixed=mixed, gateways=3, policy=policy)
    outcomes = run(some_requests(60, 10), settings)
    assert sorted(outcome.request.number for outcome in outcomes if not outcome.rejected) == list(range(60))
    ranks = {outcome.prefill_rank for outcome in outcomes}
    assert sum(not rank.startswith("decode") for rank in ranks) == prefill + mixed
    assert told(outcomes) == told(run(some_requests(60, 10), settings))


@pytest.mark.parametrize("policy", ["ascend_pd", "smg_cache_aware", "own_counts", "lmetric", "dynamo"])
def test_what_a_gateway_has_placed_is_unknown_to_the_others(policy: str) -> None:
    burst = [
        SimRequest(number=number, arrival_s=0.0, prompt_tokens=4_000, output_tokens=2, blocks=())
        for number in range(64)
    ]
    alone = _per_rank(run(burst, FleetSettings(prefill=8, decode=8, policy=policy)))
    assert alone == [8] * 8
    assert max(_per_rank(run(burst, FleetSettings(prefill=8, decode=8, policy=policy, gateways=64)))) > 8


@pytest.mark.parametrize("policy", PEER_NAMES)
def test_only_rules_that_disaggregate_conditionally_prefill_on_decode_ranks(policy: str) -> None:
    settings = FleetSettings(prefill=2, decode=2, gateways=2, policy=policy)
    outcomes = run(some_requests(150, 10), settings)
    alone = [outcome for outcome in outcomes if outcome.prefill_rank.startswith("decode")]
    assert bool(alone) == (policy in ("llm_d_decider", "llm_d_decider_2048", "dynamo_conditional"))
    assert all(outcome.decode_rank == outcome.prefill_rank for outcome in alone)


def _per_rank(outcomes: Sequence[Outcome]) -> list[int]:
    ranks = [outcome.prefill_rank for outcome in outcomes]
    return [ranks.count(f"prefill{number}") for number in range(8)]


def test_the_names_are_those_of_the_rules_and_of_no_policy_that_serves() -> None:
    assert tuple(PEERS) == PEER_NAMES
    assert (*POLICIES, *PEER_NAMES) == POLICY_NAMES
    assert len(set(POLICY_NAMES)) == len(POLICY_NAMES)
