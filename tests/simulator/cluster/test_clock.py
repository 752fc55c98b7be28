"""What happens in virtual time, and in which order."""

from functools import partial

from simulator.cluster.clock import EventQueue


def test_events_happen_by_time_and_those_of_one_time_as_they_were_entered() -> None:
    queue, happened = EventQueue(), list[tuple[str, float]]()

    def happen(name: str) -> None:
        happened.append((name, queue.now_s))

    for name, time_s in (("late", 2.0), ("first", 1.0), ("second", 1.0)):
        queue.at(time_s, partial(happen, name))
    queue.run()
    assert happened == [("first", 1.0), ("second", 1.0), ("late", 2.0)]


def test_what_is_entered_for_the_past_happens_now() -> None:
    queue, happened_s = EventQueue(), list[float]()
    queue.at(3.0, lambda: queue.at(1.0, lambda: happened_s.append(queue.now_s)))
    queue.run()
    assert happened_s == [3.0]


def test_what_happens_every_so_often_goes_on_until_the_queue_is_stopped() -> None:
    queue, happened_s = EventQueue(), list[float]()
    queue.every(2.0, 0.5, lambda: happened_s.append(queue.now_s))
    queue.at(5.0, queue.stop)
    queue.run()
    assert happened_s == [0.5, 2.5, 4.5]
