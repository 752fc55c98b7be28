"""A simulation on a real Redis is the one in memory."""

from collections.abc import Iterator
from random import Random

import pytest

from scheduler.errors import StoreUnavailableError
from simulator.cluster.fleet import Fleet, run
from simulator.cluster.load import at_load, fleet_capacity
from simulator.cluster.redis_store import StoreNotEmptyError, redis_store
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.store_link import EPOCH_MS
from simulator.cluster.workloads.hot import hot
from tests.ports import free_port
from tests.servers import RedisServer, redis_server

SETTINGS = FleetSettings(prefill=3, decode=2, mixed=1, gateways=3)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as running:
        yield running


def requests() -> list[SimRequest]:
    capacity = fleet_capacity(SETTINGS.timing, prefilling=4, decoding=3, max_num_seqs=64, cache_tokens=4 * 524_288)
    return at_load(hot(150, Random(1)), capacity, 0.9)


def test_outcomes_on_redis_are_those_in_memory(server: RedisServer) -> None:
    with redis_store(server.url, EPOCH_MS) as store:
        assert Fleet(SETTINGS, store).run(requests()) == run(requests(), SETTINGS)


def test_a_database_is_left_as_empty_as_it_was(server: RedisServer) -> None:
    with redis_store(server.url, EPOCH_MS) as store, server.client() as client:
        Fleet(SETTINGS, store)
        assert client.dbsize() > 0
    with server.client() as client:
        assert client.dbsize() == 0


def test_a_database_in_use_is_left_alone(server: RedisServer) -> None:
    with server.client() as client:
        client.set("mine", "1")
        with pytest.raises(StoreNotEmptyError, match="not empty"), redis_store(server.url, EPOCH_MS):
            pass
        assert client.get("mine") is not None
        client.delete("mine")


def test_a_redis_that_is_not_there_is_said_to_be_so() -> None:
    with pytest.raises(StoreUnavailableError), redis_store(f"redis://127.0.0.1:{free_port()}", EPOCH_MS):
        pass
