"""Where ranks may listen that requests are sent to."""

from __future__ import annotations

import logging

import msgspec
import pytest

from scheduler.endpoints import AllowedHostError, AllowedHosts, EndpointError, host_of
from scheduler.messages import KvAddress
from simulator.store import VirtualStore
from tests.polling import until
from tests.samples import card, report
from tests.scheduler.pools_at_work import reporter, running
from tests.scheduler.scene import SETTINGS


@pytest.mark.parametrize(
    ("endpoint", "host"),
    [("http://a:81", "a"), ("https://10.0.0.1:8000", "10.0.0.1"), ("http://[FD00::1]:8000", "fd00::1"),
     ("https://Node-1.b_c", "node-1.b_c"), ("http://a:65535", "a")],
)  # fmt: skip
def test_an_endpoint_is_a_scheme_a_host_and_a_port(endpoint: str, host: str) -> None:
    assert host_of(endpoint) == host


@pytest.mark.parametrize(
    "endpoint",
    ["", "a:80", "ftp://a:1", "http://", "http://a:0", "http://a:65536", "http://user@a:1", "http://a:1@b:2",
     "http://a:80/", "http://a/x", "http://a:80?x", "http://a:80#x", "http://a\r\nx: y", "http://a:80\n", "http://a b",
     "http://::1:80", "http://[::1", "//a:80", "http://é:1", "file:///etc/passwd", "unix:///x", "HTTP://a:1",
     "http://a:123456", "http://a:-1", "http://a\\@b:1", "http://a%2Fb:1"],
)  # fmt: skip
def test_what_is_more_or_less_than_that_is_no_endpoint(endpoint: str) -> None:
    with pytest.raises(EndpointError):
        host_of(endpoint)


@pytest.mark.parametrize(
    ("items", "host", "allowed"),
    [
        ((), "anything.example", True),
        (("10.0.0.0/8",), "10.1.2.3", True),
        (("10.0.0.0/8",), "11.1.2.3", False),
        (("10.0.0.7",), "10.0.0.7", True),
        (("10.0.0.7",), "10.0.0.8", False),
        (("10.0.0.0/8",), "10.0.0.1.evil.example", False),
        (("10.0.0.0/8",), "node7", False),
        (("Node7.internal",), "node7.internal", True),
        (("node7.internal",), "x.node7.internal", False),
        (("fd00::/8",), "[fd00::5]", True),
        (("fd00::/8",), "[fe80::5]", False),
        (("0.0.0.0/0",), "[::ffff:10.0.0.1]", False),
        (("a", "10.0.0.0/8"), "b", False),
    ],
)
def test_a_list_allows_addresses_in_its_ranges_and_its_own_names(
    items: tuple[str, ...], host: str, allowed: bool
) -> None:
    try:
        AllowedHosts(items).require(f"http://{host}:8000")
    except EndpointError:
        assert not allowed
    else:
        assert allowed


@pytest.mark.parametrize("item", ["", "10.0.0.1/8", "10.0.0.0/33", "http://a", "a:80", "*", "a b", "10.0.0.0-10.0.0.9"])
def test_an_item_that_allows_nothing_is_refused(item: str) -> None:
    with pytest.raises(AllowedHostError):
        AllowedHosts([item])


def test_a_range_with_an_address_inside_is_shown_as_it_should_be() -> None:
    with pytest.raises(AllowedHostError, match=r"'10\.0\.0\.1/8' is no range .*, as 10\.0\.0\.0/8 is, and no host"):
        AllowedHosts(["10.0.0.1/8"])


@pytest.mark.parametrize(
    "endpoint", ["http://203.0.113.9:80", "http://10.0.0.1:80@203.0.113.9:80", "http://10.0.0.1/x"]
)
async def test_a_card_that_leads_elsewhere_is_never_placed_on_and_counted(
    endpoint: str, caplog: pytest.LogCaptureFixture
) -> None:
    store = VirtualStore()
    cards = {"a": card("a", endpoint="http://10.0.0.1:80"), "b": card("b", endpoint=endpoint)}
    agent = reporter(store)
    await agent.report([report("a"), report("b")], cards)
    settings = msgspec.structs.replace(SETTINGS, allowed_hosts=("10.0.0.0/8",))
    with caplog.at_level(logging.WARNING):
        async with running(store, settings=settings) as pools:
            await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
            pool = pools.get("m")
            assert pool is not None
            counted: list[int] = []
            for _ in range(4):
                version = pool.view.version
                await agent.report([report("a"), report("b")], cards)
                await until(lambda: pool.view.version > version, "what its agent says is read")  # noqa: B023  # at once
                assert set(pool.view.ranks) == {"a"}
                counted.append(pools.counters["unreadable_rows"])
            assert 1 <= counted[0] == counted[-1], "its card says no more than it did"
            for incarnation, at, there in (("i2", "http://10.0.0.2:80", {"a", "b"}), ("i3", endpoint, {"a"})):
                cards["b"] = card("b", incarnation=incarnation, endpoint=at)
                await agent.report([report("a"), report("b", incarnation=incarnation)], cards)
                await until(lambda: set(pool.view.ranks) == there, "what its new card says is read")  # noqa: B023
    assert [each.getMessage().partition(":")[0] for each in caplog.records] == ["rank 'b' is not placed on"] * 2


@pytest.mark.parametrize(
    ("kv", "is_taken"),
    [
        (KvAddress(host="10.0.0.9", port=5600), True),
        (KvAddress(bootstrap_url="http://10.0.0.9:8998"), True),
        (KvAddress(host="203.0.113.9", port=5600), False),
        (KvAddress(bootstrap_url="http://203.0.113.9:8998"), False),
        (KvAddress(bootstrap_url="http://10.0.0.9:8998@203.0.113.9"), False),
    ],
)
async def test_a_card_that_leads_other_ranks_elsewhere_is_never_placed_on(kv: KvAddress, is_taken: bool) -> None:
    store = VirtualStore()
    agent = reporter(store)
    await agent.report(
        [report("a"), report("b")],
        {"a": card("a", endpoint="http://10.0.0.1:80"), "b": card("b", endpoint="http://10.0.0.2:80", kv=kv)},
    )
    settings = msgspec.structs.replace(SETTINGS, allowed_hosts=("10.0.0.0/8",))
    async with running(store, settings=settings) as pools:
        await until(lambda: pools.names() == ["m"] and not pools.degraded, "the pool was found")
        pool = pools.get("m")
        assert pool is not None
        assert set(pool.view.ranks) == ({"a", "b"} if is_taken else {"a"})
