"""Requests that name the rank that is to serve them."""

import msgspec
import pytest

from gateway.errors import InvalidRequestError, NoRankError
from gateway.pins import named_rank, pinned
from gateway.rank_port_option import RankPortsError, parse
from gateway.rank_ports import RankPorts, in_order
from gateway.settings import GatewaySettings
from gateway.shape import NO_LOAD
from scheduler.messages import Role
from scheduler.named_rank import Fault
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, serving
from tests.gateway.scripted_rank import completes, scripted_rank


def named(value: str | None, *, may_pin: bool = True, port_rank: str = "") -> str:
    headers = [] if value is None else [(b"x-forebay-rank", value.encode())]
    return named_rank(headers, may_pin=may_pin, port_rank=port_rank)


def test_a_rank_is_named_by_the_header_or_by_the_port() -> None:
    assert named(None) == ""
    assert named("node:9000") == named(None, port_rank="node:9000") == named("node:9000", port_rank="node:9000")


@pytest.mark.parametrize(
    ("value", "may_pin", "port_rank", "told"),
    [
        ("node:9000", False, "", "without --pin"),
        ("  ", True, "", "names no rank"),
        ("node:9000", True, "node:9001", "this port is of node:9001"),
    ],
)
def test_a_header_that_cannot_hold_is_refused(value: str, may_pin: bool, port_rank: str, told: str) -> None:
    with pytest.raises(InvalidRequestError, match=told):
        named(value, may_pin=may_pin, port_rank=port_rank)


def test_a_rank_is_named_once() -> None:
    two = [(b"x-forebay-rank", b"node:9000"), (b"x-forebay-rank", b"node:9001")]
    with pytest.raises(InvalidRequestError, match="names more than one rank"):
        named_rank(two, may_pin=True, port_rank="")


def test_a_request_that_names_no_rank_goes_anywhere() -> None:
    assert pinned(NO_LOAD, "", FakePool()) is NO_LOAD


def test_a_request_goes_on_from_a_response_on_the_rank_that_keeps_it_only() -> None:
    pool = FakePool(card("http://a:1"), card("http://b:1"))
    kept = msgspec.structs.replace(NO_LOAD, only_on="a:1")
    assert pinned(kept, "a:1", pool).only_on == "a:1"
    with pytest.raises(InvalidRequestError, match="kept by a:1"):
        pinned(kept, "b:1", pool)


@pytest.mark.parametrize("fault", Fault)
def test_a_rank_that_cannot_take_a_request_is_told_with_its_reason(fault: Fault) -> None:
    pool = FakePool(card("http://a:1"))
    pool.faults["a:1"] = fault
    expected = NoRankError if fault.may_pass else InvalidRequestError
    with pytest.raises(expected) as caught:
        pinned(NO_LOAD, "a:1", pool)
    assert str(caught.value) == f"Rank a:1 of `sim` {fault.value}"
    assert fault.may_pass == (caught.value.retry_after_ms is not None)


@pytest.mark.parametrize(
    ("parts", "expected"),
    [
        ((), {}),
        (("1811-1813",), {1811: "", 1812: "", 1813: ""}),
        (("1811", "1822"), {1811: "", 1822: ""}),
        (("1811-1812=node:9000-9001", "1820=[::1]:9"), {1811: "node:9000", 1812: "node:9001", 1820: "[::1]:9"}),
        (("1811-1812=node:9000#0-1",), {1811: "node:9000#0", 1812: "node:9000#1"}),
    ],
)
def test_ports_of_ranks_are_read(parts: tuple[str, ...], expected: dict[int, str]) -> None:
    assert parse(parts) == expected


@pytest.mark.parametrize(
    ("parts", "told"),
    [
        (("x",), "neither PORT nor PORT-PORT"),
        (("0",), "outside 1-65535"),
        (("65535-65536",), "outside 1-65535"),
        (("1818-1811",), "ends before it starts"),
        (("1-9999",), "of more than 1024"),
        (("1-1000", "2000-2999"), "2000 ports are more than 1024"),
        (("1811", "1811"), "port 1811 is given twice"),
        (("1811-1812=node:9000",), "2 ports for 1 ranks"),
        (("1811=node:9000", "1812=node:9000"), "rank node:9000 is given twice"),
        (("1811=node:9000", "1812"), "of all ports or of none"),
        (("1811=",), "names no rank"),
        (("1811=node",), "names no rank"),
        (("1811=:9000",), "names no rank"),
        (("1811=node#1",), "names no rank"),
        (("1811=node:99999",), "'node:99999' has a port outside 1-65535"),
        (("1811-1812=node:65535-65536",), "outside 1-65535"),
        (("1811-1812=node:0#0-1",), "'node:0#0-1' has a port outside 1-65535"),
    ],
)
def test_ports_that_cannot_be_read_are_refused(parts: tuple[str, ...], told: str) -> None:
    with pytest.raises(RankPortsError, match=told):
        parse(parts)
    with pytest.raises(ValueError, match=r"^rank_ports: "):
        GatewaySettings(redis="redis://r", rank_ports=parts)


def test_a_rank_port_is_not_the_gateways_own() -> None:
    with pytest.raises(ValueError, match="rank_ports: port 8000 is the gateway's own"):
        GatewaySettings(redis="redis://r", port=8000, rank_ports=("7999-8001",))


def test_numbers_in_names_count_by_value() -> None:
    names = ["n:10", "n:9", "m:1#10", "m:1#2", "10.0.0.10:1", "10.0.0.9:1"]
    assert in_order(names) == ["10.0.0.9:1", "10.0.0.10:1", "m:1#2", "m:1#10", "n:9", "n:10"]


def pools(*ranks: str) -> FakePools:
    prefill = card("http://p:1", role=Role.PREFILL)
    return FakePools(FakePool(*(card(f"http://{rank}") for rank in ranks), prefill))


def test_which_rank_a_port_is_of_is_found_once_all_are_known_and_stays() -> None:
    known = pools("n:10")
    ports = RankPorts(parse(["1811-1812"]), known)
    assert ports.rank_at(8000) == ""
    with pytest.raises(NoRankError, match="Port 1811 is no rank's yet: of 2 ranks 1 are known"):
        ports.rank_at(1811)
    known.show(*pools("n:10", "n:9").all)
    assert [ports.rank_at(1812), ports.rank_at(1811)] == ["n:10", "n:9"]
    known.show(*pools("n:1", "n:9", "n:10").all)
    assert [ports.rank_at(1812), ports.rank_at(1811)] == ["n:10", "n:9"]


def test_ports_of_ranks_of_several_models_have_to_name_them() -> None:
    two = FakePools(FakePool(card("http://a:1"), name="a"), FakePool(card("http://b:1"), name="b"))
    with pytest.raises(NoRankError, match="there are 2 models"):
        RankPorts(parse(["1811-1812"]), two).rank_at(1811)
    assert RankPorts(parse(["1811=b:1"]), two).rank_at(1811) == "b:1"


async def test_a_named_rank_gets_the_request_whatever_the_load() -> None:
    async with scripted_rank(completes) as one, scripted_rank(completes) as other:
        pool = FakePool(card(one.url), card(other.url))
        async with serving(FakePools(pool), pin=True) as served:
            rank = other.url.removeprefix("http://")
            for _ in range(3):
                answer = await served.client.post(COMPLETIONS, json={"prompt": "x"}, headers={"x-forebay-rank": rank})
                assert answer.status_code == 200
            unknown = await served.client.post(COMPLETIONS, json={"prompt": "x"}, headers={"x-forebay-rank": "n:1"})
    assert [shape.only_on for shape in pool.asked] == [rank] * 3
    assert (unknown.status_code, unknown.json()["error"]["param"]) == (400, "x-forebay-rank")
