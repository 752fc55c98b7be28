"""One Redis for the nodes of a module's tests, which look often."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from agent import group_restart
from tests.servers import RedisServer, redis_server


@pytest.fixture(scope="module")
def redis(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with redis_server(tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(group_restart, "LOOK_S", 0.05)
