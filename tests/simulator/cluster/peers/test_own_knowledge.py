"""What gateways know by themselves: own counts, own prefixes, and what they read of others, as late as they do."""

from random import Random

from scheduler.messages import Role
from simulator.cluster.clock import EventQueue
from simulator.cluster.engine import AnalyticRank
from simulator.cluster.peers.board import Board
from simulator.cluster.peers.own_counts import OwnCounts
from simulator.cluster.peers.own_prefixes import OwnPrefixes
from simulator.cluster.peers.poller import Poller, paced, weighed
from simulator.cluster.peers.tally import Tally
from simulator.cluster.sequence import SimSequence
from simulator.cluster.settings import FleetSettings
from tests.simulator.cluster.peers.legs import begin, decode, prefill, request


class Nobody:
    """Hears of nothing."""

    def fetch_begins(self, sequence: SimSequence, tokens: int) -> None:
        """See Watcher."""

    def first_token(self, sequence: SimSequence) -> None:
        """See Watcher."""

    def finished(self, sequence: SimSequence) -> None:
        """See Watcher."""


def waiting(rank: AnalyticRank, *blocks: int) -> None:
    rank.add(SimSequence(request(1, blocks=blocks), 1, Nobody()))


def a_rank() -> AnalyticRank:
    return AnalyticRank("a", FleetSettings().shape_of(Role.PREFILL))


def test_a_poll_of_30_seconds_does_not_see_what_came_since() -> None:
    queue, rank = EventQueue(), a_rank()
    seen = Poller(queue, [rank], period_s=30.0, first_s=0.0, late_s=0.001).polled
    told = []
    for at_s in (1.0, 29.9):
        queue.at(at_s, lambda: waiting(rank, 1))
    for at_s in (0.0005, 29.95, 30.0005, 30.002):
        queue.at(at_s, lambda: told.append((seen.polls, seen.of("a").waiting)))
    queue.at(31.0, queue.stop)
    queue.run()
    assert told == [(0, 0), (1, 0), (1, 0), (2, 2)]


def test_what_waits_weighs_less_what_is_cached_of_it() -> None:
    rank = a_rank()
    for block, key in zip(rank.kv.take((), 2) or (), (1, 2), strict=True):
        rank.kv.publish(block, key)
    waiting(rank, 1, 2, 3)
    waiting(rank, 5)
    assert weighed(rank).waiting_tokens == 513 + 513
    assert weighed(rank).tokens_per_s == 0


def test_a_pace_is_the_batch_over_the_time_of_a_step() -> None:
    rank = a_rank()
    waiting(rank, 1)
    rank.begin()
    assert paced(rank).tokens_per_s == 1 / 0.00635


def test_what_is_published_shows_at_the_next_tick_at_least_so_much_later() -> None:
    queue, told = EventQueue(), []
    board = Board(queue, period_s=0.005, late_s=0.001)
    queue.at(0.0035, lambda: board.change("a", 2))
    queue.at(0.0045, lambda: board.change("a", 3))
    for at_s in (0.0049, 0.0051, 0.0101):
        queue.at(at_s, lambda: told.append(board.of("a")))
    queue.run()
    assert told == [0, 2, 5]


def test_own_prefixes_forget_what_was_sent_the_longest_ago() -> None:
    own = OwnPrefixes({"a": 3})
    own.sent("a", (1, 2))
    own.sent("b", (1, 2))
    own.sent("a", (1, 3, 4))
    assert own.counts((1, 2)) == {"a": 1, "b": 2}
    assert own.counts((3, 4)) == {"a": 2}
    assert own.counts((5, 3)) == {}


def test_own_counts_take_the_rank_with_the_fewest_own_tokens() -> None:
    rule = OwnCounts(max_num_seqs=64, kv_tokens=524_288, chance=Random(1))
    leg = prefill("a", request(1, 1_000))
    begin(rule, leg, prefill("b", request(2, 300)), prefill("b", request(3, 300)))
    assert rule.prefill_rank(request(9), ("a", "b")) == "b"
    rule.prefilled(leg)
    assert rule.prefill_rank(request(9), ("a", "b")) == "a"


def test_own_counts_weigh_decode_ranks_as_forebay_does() -> None:
    rule = OwnCounts(max_num_seqs=64, kv_tokens=64_000, chance=Random(1))
    legs = decode("a", request(1, 3_500)), decode("b", request(2, 1_000)), decode("b", request(3, 1_000))
    begin(rule, *legs)
    # 2 x 1/64 + 3.5/64 = 5.5/64 against 2 x 2/64 + 2/64 = 6/64.
    assert rule.decode_rank(request(9), ("a", "b")) == "a"
    rule.ended(legs[1])
    assert rule.decode_rank(request(9), ("a", "b")) == "b"


def test_a_tally_begins_anew() -> None:
    tally = Tally()
    tally.add("a", 2)
    tally.clear()
    assert tally.of("a") == tally.of("b") == 0
