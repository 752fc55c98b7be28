"""What the scheduler's tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.servers import RedisServer, redis_server


@pytest.fixture(scope="session")
def redis_process(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """One redis-server for all tests that neither stop it nor need it empty."""
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server
