"""Ranks that the store knows are asked where their cards say; what cannot be asked is named."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from scheduler.keys import PoolKeys
from scheduler.messages import RankCard, Role
from scheduler.reporter import Reporter
from scheduler.settings import SchedulerSettings
from scheduler.store import open_store
from tests.certificates import Authority
from tests.forebay.preflight.test_preflight_command import preflight
from tests.samples import card, report
from tests.servers import needs_redis, redis_server
from tests.simulator.rank_process import running_rank

pytestmark = needs_redis


@pytest.fixture
def url(tmp_path: Path) -> Iterator[str]:
    folder = tmp_path / "redis"
    folder.mkdir()
    with redis_server(folder, "--maxmemory-policy", "allkeys-lru") as server:
        yield server.url


def told(url: str, *cards: RankCard, unreadable: str = "") -> None:
    """Have the store know these, and nothing of one of them that anybody can read."""

    async def tell() -> None:
        async with open_store(url) as store:
            reporter = Reporter(store, pool="m", node="n", settings=SchedulerSettings())
            await reporter.report([report(each.rank) for each in cards], {each.rank: each for each in cards})
            if unreadable:
                await store.command("HSET", PoolKeys("m").card, unreadable, "{")

    asyncio.run(tell())


def by_place(found: dict[str, Any]) -> dict[str, Any]:
    return {finding["where"]: finding for finding in found["findings"]}


def test_ranks_on_https_are_verified_by_the_authorities_given(tmp_path: Path, url: str) -> None:
    authority = Authority(tmp_path / "tls")
    shown, own = authority.signs("rank"), authority.signs("own")
    tls = ("--tls-cert", str(shown.cert), "--tls-key", str(shown.key), "--tls-client-ca", str(authority.ca))
    with running_rank("--role", "decode", *tls) as rank:
        name = f"127.0.0.1:{rank.port}"
        told(url, card(name, endpoint=f"https://{name}", role=Role.DECODE))
        ours = ("--rank-ca", str(authority.ca), "--rank-cert", str(own.cert), "--rank-key", str(own.key))
        _, verified = preflight("--redis", url, *ours)
        _, unverified = preflight("--redis", url)
        _, named = preflight("--decode-ranks", f"https://{name}", *ours)
    assert by_place(verified)[name]["level"] == by_place(named)[name]["level"] == "ok"
    assert by_place(unverified)[name]["level"] == "bad"
    assert "certificate verify failed" in by_place(unverified)[name]["what"]


def test_ranks_that_the_store_has_at_no_place_to_ask_are_named_beside_the_others(url: str) -> None:
    with running_rank("--role", "decode") as rank:
        name = f"127.0.0.1:{rank.port}"
        known = [card("nobody"), card("10.0.0:1"), card("10.0.0.1:1"), card(name, role=Role.DECODE)]
        told(url, *known, unreadable="10.0.0.1:1")
        code, found = preflight("--redis", url)
    findings = by_place(found)
    assert code == 1
    assert findings[name]["level"] == "ok"
    assert [findings[each]["level"] for each in ("nobody", "10.0.0:1", "10.0.0.1:1")] == ["bad"] * 3
    assert findings["nobody"]["what"].startswith("pool m has it at no place to ask: 'http://nobody' is not HOST:PORT")
    assert findings["10.0.0.1:1"]["what"] == "pool m has nothing of it that can be read"


def test_where_no_rank_is_known_that_is_said(url: str) -> None:
    _, found = preflight("--redis", url)
    assert by_place(found)["ranks"]["level"] == "not checked"
