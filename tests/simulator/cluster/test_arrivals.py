"""When the requests of a workload come."""

from itertools import count

import msgspec
import pytest

from simulator.cluster.fleet import run
from simulator.cluster.outcome import Outcome
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from tests.simulator.cluster.test_fleet import some_requests

FLEET = FleetSettings(prefill=2, decode=2, gateways=3)


def most_at_once(outcomes: list[Outcome]) -> int:
    """At an equal time an end comes before a beginning, as the client's does."""
    changes = [(outcome.request.arrival_s, 1) for outcome in outcomes]
    changes += [(outcome.finished_s, -1) for outcome in outcomes]
    running, most = 0, 0
    for _, change in sorted(changes):
        running += change
        most = max(most, running)
    return most


@pytest.mark.parametrize("clients", [1, 7, 1000])
def test_each_client_has_one_request_at_a_time(clients: int) -> None:
    outcomes = run(some_requests(150, 1000), FLEET, clients)
    assert sorted(outcome.request.number for outcome in outcomes) == list(range(150))
    assert most_at_once(outcomes) == min(clients, 150)


def test_clients_ask_whatever_the_times_of_the_workload() -> None:
    soon, late = (run(some_requests(60, rate_per_s), FLEET, 5) for rate_per_s in (1000, 0.1))
    assert [outcome.finished_s for outcome in soon] == [outcome.finished_s for outcome in late]


def test_more_clients_get_more_done_until_all_ranks_are_busy() -> None:
    ends = [max(outcome.finished_s for outcome in run(some_requests(200, 1), FLEET, clients)) for clients in (1, 8, 64)]
    assert ends[0] > 3 * ends[1] > 3 * ends[2]


def test_a_client_whose_requests_are_all_rejected_comes_to_an_end() -> None:
    numbers = count()
    huge = SimRequest(number=0, arrival_s=0.0, prompt_tokens=10_000_000, output_tokens=1, blocks=())
    requests = [msgspec.structs.replace(huge, number=next(numbers)) for _ in range(5000)]
    assert sum(outcome.rejected for outcome in run(requests, FLEET, 2)) == 5000


def test_nothing_to_ask_is_no_run() -> None:
    assert run([], FLEET, 3) == run([], FLEET) == []
