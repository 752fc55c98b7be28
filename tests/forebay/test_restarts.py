"""When a worker that has ended is started again."""

from forebay.restarts import LONGEST_DELAY_S, Restarts


def test_a_worker_that_served_for_long_is_replaced_at_once() -> None:
    restarts = Restarts().after(0.5, was_ready=True).after(0.5, was_ready=True).after(3600, was_ready=True)
    assert restarts.delay_s == 0


def test_the_first_early_end_costs_no_wait_and_further_ones_ever_more_up_to_a_bound() -> None:
    restarts = Restarts()
    delays = []
    for _ in range(50):
        restarts = restarts.after(0.5, was_ready=True)
        delays.append(restarts.delay_s)
    assert delays[0] == 0
    assert delays == sorted(delays)
    assert 0 < delays[1] < delays[2] < LONGEST_DELAY_S == delays[-1]


def test_workers_that_served_are_replaced_for_ever() -> None:
    restarts = Restarts()
    for _ in range(1000):
        restarts = restarts.after(0.5, was_ready=True)
    assert not restarts.is_hopeless


def test_after_three_starts_in_a_row_that_came_to_nothing_there_is_no_hope() -> None:
    restarts = Restarts().after(1, was_ready=False).after(1, was_ready=False)
    assert restarts.delay_s > 0
    assert not restarts.is_hopeless
    assert not restarts.after(1, was_ready=True).after(1, was_ready=False).is_hopeless
    assert restarts.after(60, was_ready=False).is_hopeless
