"""vLLM's own balancing over data-parallel ranks."""

from simulator.cluster.peers.polled import RankSample
from simulator.cluster.peers.vllm_dp import VllmDp, VllmDpOld
from tests.simulator.cluster.peers.legs import RANKS, begin, polled, request, whole

EMPTY = RankSample(0, 0, 0.0)


def test_a_waiting_request_once_counted_as_four_running_ones() -> None:
    known = polled(a=RankSample(running=3, waiting=1, kv_usage=0.0), b=RankSample(running=6, waiting=0, kv_usage=0.0))
    assert VllmDpOld(known, number=0, servers=1).prefill_rank(request(), ("a", "b")) == "b"
    known = polled(a=RankSample(running=3, waiting=1, kv_usage=0.0), b=RankSample(running=8, waiting=0, kv_usage=0.0))
    assert VllmDpOld(known, number=0, servers=1).prefill_rank(request(), ("a", "b")) == "a"


def test_what_was_sent_counts_for_all_servers_until_the_next_message() -> None:
    known = polled(**dict.fromkeys(RANKS, EMPTY))
    rule = VllmDpOld(known, number=0, servers=2)
    assert [rule.prefill_rank(request(), RANKS) for _ in range(5)] == ["a", "b", "c", "d", "a"]
    known.take({"a": EMPTY, "b": EMPTY, "c": EMPTY, "d": RankSample(1, 0, 0.0)})
    assert [rule.prefill_rank(request(), RANKS) for _ in range(4)] == ["a", "b", "c", "d"]


def test_servers_begin_at_ranks_of_their_own() -> None:
    known = polled(**dict.fromkeys(RANKS, EMPTY))
    assert [VllmDp(known, number=n, servers=2).prefill_rank(request(), RANKS) for n in range(2)] == ["a", "c"]


def test_a_message_does_not_erase_what_a_server_has_under_way_any_more() -> None:
    known = polled(a=EMPTY, b=EMPTY)
    rule, old = VllmDp(known, number=0, servers=3), VllmDpOld(known, number=0, servers=3)
    for each in rule, old:
        begin(each, whole("a", request(1)))
    known.take({"a": EMPTY, "b": RankSample(running=2, waiting=0, kv_usage=0.0)})
    # max(3 x 1, 0) against 2; before, 0 against 2.
    assert rule.prefill_rank(request(), ("a", "b")) == "b"
    assert old.prefill_rank(request(), ("a", "b")) == "a"


def test_waiting_requests_weigh_more_where_kv_is_short() -> None:
    # 2 + 2 waiting + 6 x 2 x (0.9 - 0.5) = 8.8 against 8 running.
    known = polled(a=RankSample(running=2, waiting=2, kv_usage=0.9), b=RankSample(running=8, waiting=0, kv_usage=0.9))
    assert VllmDp(known, number=0, servers=1).prefill_rank(request(), ("a", "b")) == "b"
    known = polled(a=RankSample(running=2, waiting=2, kv_usage=0.8), b=RankSample(running=8, waiting=0, kv_usage=0.8))
    assert VllmDp(known, number=0, servers=1).prefill_rank(request(), ("a", "b")) == "a"


def test_the_first_of_equal_ranks_is_another_one_each_time() -> None:
    known = polled(**dict.fromkeys(RANKS, EMPTY))
    rule, chosen = VllmDp(known, number=0, servers=1), []
    for _ in range(3):
        chosen.append(rule.prefill_rank(request(), RANKS))
        known.take(dict.fromkeys(RANKS, EMPTY))
    assert chosen == ["a", "b", "c"]
