"""Of whom pushes are, and that no sender can make the agent keep more than there is room for."""

from agent import push_table
from agent.push_table import PushTable
from tests.agent.pushed import stat_push

NOW_NS = 6_000_000_000


def watching(*ports: int) -> PushTable:
    table = PushTable()
    for port in ports:
        table.watch(port)
    return table


def test_a_port_that_is_watched_no_longer_keeps_nothing() -> None:
    table = watching(9000)
    table.put(stat_push(), NOW_NS)
    table.forget(9000)
    assert table.of(9000) == {}
    assert not table.put(stat_push(seq=1), NOW_NS)


def test_a_push_is_of_each_watched_port_that_its_process_listens_on() -> None:
    table = watching(9000, 9001)
    assert table.put(stat_push(ports=[9000, 5555], engine=3, running=2), NOW_NS)
    assert {engine: push.sample.running for engine, push in table.of(9000).items()} == {"3": 2}
    assert table.of(9001) == table.of(5555) == {}


def test_what_is_of_no_watched_port_is_no_news() -> None:
    table = watching(9000)
    assert not table.put(stat_push(ports=[9001]), NOW_NS)
    assert not table.put(stat_push(ports=[]), NOW_NS)


def test_a_repeated_push_and_one_that_was_overtaken_change_nothing() -> None:
    table = watching(9000)
    table.put(stat_push(seq=5, running=5), NOW_NS)
    assert not table.put(stat_push(seq=5, running=6), NOW_NS)
    assert not table.put(stat_push(seq=4, running=4), NOW_NS)
    assert table.of(9000)["0"].sample.running == 5


def test_a_push_from_the_future_is_of_another_clock() -> None:
    table = watching(9000)
    assert not table.put(stat_push(at_ns=NOW_NS + 1), NOW_NS)
    assert not table.put(stat_push(load_at_ns=NOW_NS + 1), NOW_NS)


def test_a_restarted_server_takes_the_place_of_all_that_were_before_it() -> None:
    table = watching(9000)
    for index in range(2):
        table.put(stat_push(pid=index, api_index=index, api_count=2, seq=9), NOW_NS)
    assert "0" in table.of(9000)
    assert table.put(stat_push(pid=10, start_ms=2_000_000, api_count=2, seq=0), NOW_NS)
    assert table.of(9000) == {}
    table.put(stat_push(pid=11, start_ms=2_000_000, api_index=1, api_count=2, seq=0), NOW_NS)
    assert "0" in table.of(9000)


def test_what_the_old_server_said_last_does_not_bring_it_back() -> None:
    table = watching(9000)
    table.put(stat_push(pid=2, start_ms=2_000_000, running=2), NOW_NS)
    assert not table.put(stat_push(pid=1, start_ms=1_000_000, seq=99, running=1), NOW_NS)
    assert table.of(9000)["0"].sample.running == 2


def test_after_a_restart_that_was_seen_a_server_whose_clock_was_set_back_is_heard() -> None:
    table = watching(9000)
    table.put(stat_push(pid=1, start_ms=2_000_000, seq=9, running=1), NOW_NS)
    table.drop(9000)
    assert table.of(9000) == {}
    assert table.put(stat_push(pid=2, start_ms=1_000_000, running=2), NOW_NS)
    assert table.of(9000)["0"].sample.running == 2


def test_made_up_engines_take_no_more_room_than_there_is() -> None:
    table = watching(9000)
    taken = [table.put(stat_push(engine=engine), NOW_NS) for engine in range(push_table.MOST_PUSHES + 10)]
    assert sum(taken) == push_table.MOST_PUSHES
    assert table.put(stat_push(engine=0, seq=1), NOW_NS)
