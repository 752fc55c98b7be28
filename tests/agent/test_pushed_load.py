"""What is believed of pushes beside pages, and when a page is read all the same."""

from __future__ import annotations

import pytest

from agent.discovery import rank_card
from agent.evidence import Evidence, Healthy, Refused
from agent.health import verdict
from agent.port_state import PortState, fold, introduce
from agent.pushed_load import PAGE_EVERY_S, QUIET_S, fold_pushes, is_over, needs_page
from agent.rank_state import RankTrack
from agent.stat_push import EnginePush
from agent.targets import parse_targets
from scheduler.messages import RankState, Source
from tests.agent.pushed import engine_push
from tests.agent.samples import ABOUT, answered, engine, settings

SETTINGS = settings()
TARGET = parse_targets("127.0.0.1:9000")[0]


def looked(port: PortState, evidence: Evidence) -> PortState:
    return fold(port, evidence, SETTINGS, fresh_suffix="fresh")


def read(**engine_fields: float | None) -> PortState:
    """A port whose page was asked for at 4 s; its rank is introduced."""
    port = looked(PortState(target=TARGET), answered(engine(**engine_fields), at_s=4.0))
    track = port.ranks[0]
    return introduce(port, [rank_card(track.rank, port.target, track.sample, track.incarnation.text, ABOUT, SETTINGS)])


def pushed(port: PortState, push: EnginePush) -> PortState:
    return fold_pushes(port, {push.sample.engine: push})


def track_of(port: PortState) -> RankTrack:
    (track,) = port.ranks
    return track


def test_a_push_is_a_sample_of_its_own_time() -> None:
    track = track_of(pushed(read(), engine_push(5.0, running=2, waiting=1, deferred=3, steps=1)))
    assert (track.sample.running, track.sample.waiting, track.progress.sampled_at_s) == (2, 4, 5.0)
    assert track.source is Source.PUSH
    assert track.is_introduced


def test_what_only_the_page_tells_is_kept() -> None:
    port = read(prefix_queries=None)
    before, after = track_of(port).sample, track_of(pushed(port, engine_push(steps=1))).sample
    assert (after.cache, after.created_s) == (before.cache, before.created_s)
    assert (after.prefix_queries, after.local_tokens) == (None, None)


def test_nothing_is_believed_before_the_page_was_read() -> None:
    fresh = PortState(target=TARGET)
    assert pushed(fresh, engine_push()) == fresh


def test_a_push_of_another_life_is_not_believed_and_has_the_page_read() -> None:
    port = pushed(pushed(read(), engine_push(5.0, steps=1)), engine_push(6.0, steps=2, start_ms=2_000_000))
    assert (track_of(port).sample.steps, track_of(port).source) == (1, Source.PAGE)
    assert needs_page(port, 6.0)


def test_a_push_that_is_behind_the_page_is_left() -> None:
    port = read(steps=5.0, generation_tokens=5.0)
    assert pushed(port, engine_push(5.0, steps=4, generation_tokens=5)) == port


def test_a_push_older_than_the_page_that_says_the_same_is_a_source_without_being_a_newer_sample() -> None:
    track = track_of(pushed(read(steps=5.0), engine_push(1.0, steps=5)))
    assert (track.source, track.progress.sampled_at_s) == (Source.PUSH, 4.0)


def test_a_page_that_was_asked_for_before_the_last_push_says_nothing_newer_of_load() -> None:
    port = pushed(read(), engine_push(6.0, running=3, steps=3))
    port = looked(port, answered(engine(running=1, steps=2.0), at_s=5.9))
    assert (track_of(port).sample.running, track_of(port).source) == (3, Source.PUSH)


def test_a_page_that_shows_more_than_was_pushed_is_believed_and_read_until_there_is_a_push() -> None:
    port = pushed(read(), engine_push(5.0, running=3, steps=3))
    port = looked(port, answered(engine(running=1, steps=4.0), at_s=6.0))
    assert (track_of(port).sample.running, track_of(port).source) == (1, Source.PAGE)
    assert needs_page(port, 6.0)
    port = pushed(port, engine_push(6.5, running=2, steps=5))
    assert (track_of(port).sample.running, track_of(port).source) == (2, Source.PUSH)


def test_a_rank_that_pushes_needs_its_page_every_ten_seconds_only() -> None:
    port = pushed(read(), engine_push(4.0 + PAGE_EVERY_S, running=1, steps=1))
    assert not needs_page(port, 4.0 + PAGE_EVERY_S - 0.01)
    assert needs_page(port, 4.0 + PAGE_EVERY_S)


def test_a_busy_rank_that_falls_silent_is_read_by_its_page_and_an_idle_one_is_not() -> None:
    busy = pushed(read(), engine_push(5.0, running=1, steps=1))
    idle = pushed(read(), engine_push(5.0, running=0, steps=1))
    assert not needs_page(busy, 5.0 + QUIET_S)
    assert needs_page(busy, 5.1 + QUIET_S)
    assert not needs_page(idle, 5.1 + QUIET_S)


def test_an_idle_rank_that_pushes_nothing_is_as_fresh_as_its_port_answers() -> None:
    port = looked(pushed(read(), engine_push(5.0, steps=1)), Healthy(9.0))
    assert track_of(port).progress.sampled_at_s == 9.0
    assert verdict(port.health, track_of(port), 1_000).state is RankState.UP


def test_a_busy_rank_is_no_fresher_because_its_port_answers() -> None:
    port = looked(pushed(read(), engine_push(5.0, running=1, steps=1)), Healthy(9.0))
    assert track_of(port).progress.sampled_at_s == 5.0


def test_a_rank_without_pushes_is_no_fresher_because_its_port_answers() -> None:
    assert track_of(looked(read(), Healthy(9.0))).progress.sampled_at_s == 4.0


def test_a_hung_rank_is_stalled_by_the_pages_that_are_read_once_it_pushes_no_more() -> None:
    port = pushed(read(), engine_push(5.0, running=1, steps=1))
    for at_s in (6.5, 10.0, 16.0):
        assert needs_page(port, at_s)
        port = looked(port, answered(engine(running=1, steps=1.0), at_s=at_s))
    assert verdict(port.health, track_of(port), 10_000).state is RankState.STALLED


def test_what_the_server_pushes_of_a_hung_engine_again_is_no_progress() -> None:
    port = pushed(read(), engine_push(5.0, running=1, steps=1))
    port = looked(port, answered(engine(running=1, steps=1.0), at_s=10.0))
    port = pushed(port, engine_push(5.0, running=1, steps=1, seq=9))
    port = looked(port, answered(engine(running=1, steps=1.0), at_s=15.1))
    assert verdict(port.health, track_of(port), 10_000).state is RankState.STALLED


def test_a_port_that_is_down_is_brought_back_by_its_page_alone() -> None:
    port = looked(pushed(read(), engine_push(5.0, steps=1)), Refused())
    assert pushed(port, engine_push(6.0, steps=2)) == port
    assert needs_page(port, 6.0)


def test_a_restarted_rank_begins_with_its_page() -> None:
    port = pushed(read(), engine_push(5.0, steps=9))
    port = looked(port, answered(engine(created_s=2000.5), at_s=6.0, process_start_s=2000.0))
    assert (track_of(port).source, track_of(port).is_introduced) == (Source.PAGE, False)
    port = pushed(port, engine_push(7.0, steps=1, start_ms=2_000_000))
    assert track_of(port).source is Source.PUSH


def test_a_page_that_does_not_say_when_its_servers_began_goes_with_several_that_push() -> None:
    page = answered(engine(created_s=None), at_s=4.0, process_start_s=None)
    port = looked(PortState(target=TARGET), page)
    one = engine_push(5.0, steps=1)
    several = EnginePush(None, 5.0, one.sample)
    assert track_of(pushed(port, one)).source is Source.PAGE
    assert track_of(pushed(port, several)).source is Source.PUSH


@pytest.mark.parametrize("process_start_s", [1000.0, None])
def test_what_was_pushed_before_nobody_listened_is_over(process_start_s: float | None) -> None:
    before = looked(PortState(target=TARGET), answered(at_s=4.0, process_start_s=process_start_s))
    assert is_over(before, looked(before, Refused()))
    assert not is_over(before, looked(before, Healthy(5.0)))
    assert not is_over(before, looked(before, answered(at_s=5.0, process_start_s=process_start_s)))


def test_what_servers_pushed_that_do_not_say_when_they_began_is_over_as_soon_as_a_page_shows_others() -> None:
    def page(steps: float, at_s: float) -> Evidence:
        return answered(engine(created_s=None, steps=steps), at_s=at_s, process_start_s=None)

    before = looked(PortState(target=TARGET), page(9.0, 4.0))
    assert is_over(before, looked(before, page(1.0, 5.0)))
    # What is pushed after a refusal, and before the first page, is of the servers of that page.
    refused = looked(before, Refused())
    assert not is_over(refused, looked(refused, page(1.0, 5.0)))


def test_a_server_that_makes_its_metrics_anew_is_read_by_its_page_from_then_on() -> None:
    before = pushed(read(steps=9.0), engine_push(5.0, steps=9))
    after = looked(before, answered(engine(created_s=1001.5, steps=1.0), at_s=14.0))
    assert is_over(before, after)


def test_a_page_that_another_server_wrote_before_the_last_push_was_in_it_is_no_restart() -> None:
    page = answered(engine(created_s=None, steps=2.0), at_s=4.0, process_start_s=None)
    port = looked(PortState(target=TARGET), page)
    port = pushed(port, EnginePush(None, 5.0, engine_push(steps=3, running=1).sample))
    late = looked(port, answered(engine(created_s=None, steps=2.0), at_s=5.01, process_start_s=None))
    assert track_of(late).incarnation == track_of(port).incarnation
    assert (track_of(late).sample.steps, track_of(late).source) == (3, Source.PUSH)
    anew = looked(port, answered(engine(created_s=None, steps=2.0), at_s=6.5, process_start_s=None))
    assert track_of(anew).incarnation != track_of(port).incarnation


def test_a_sleeping_engine_is_down_as_soon_as_it_says_so_though_it_has_no_step() -> None:
    port = looked(pushed(read(), engine_push(5.0, steps=1)), Healthy(9.0))
    port = pushed(port, engine_push(9.5, awake=0, steps=1))
    assert verdict(port.health, track_of(port), 10_000).because == "asleep"
