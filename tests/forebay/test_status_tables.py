"""The status as people see it."""

import msgspec
import pytest
from rich.console import Console
from rich.table import Table

from forebay.cli.status import WIDTH
from forebay.status_tables import GATEWAY_LEGEND, RANK_LEGEND, tables
from scheduler.admin import GatewayStatus, RankStatus, Status
from scheduler.messages import RankState, Role

RANK = RankStatus(
    pool="m[1]",
    rank="h:1",
    role=Role.MIXED,
    state=RankState.UP,
    drained=False,
    dp_group="",
    pair_class="nixl/0.32.0/block16-auto",
    agent="node",
    incarnation="i",
    report_age_ms=120,
    reservations=3,
    requests=4.0,
    queued_tokens=1234.0,
    kv_tokens=2500.0,
    kv_capacity_tokens=10_000,
    prefill_tokens_per_s=8000.0,
)
GATEWAY = GatewayStatus(pool="m[1]", gateway="g", address="h:8000", reservations=3, lease_ms=1900)


def shown(status: Status) -> list[str]:
    console = Console(width=130, force_terminal=False)
    with console.capture() as capture:
        console.print(*tables(status), sep="\n")
    return [" ".join(line.split()) for line in capture.get().splitlines()]


def test_ranks_and_gateways_have_a_row_each_and_the_sums_a_line() -> None:
    lines = shown(Status(ranks=[RANK], gateways=[GATEWAY], reservations=3, unreadable=0))
    assert "m[1] h:1 mixed up node page 120 3 4 1,234 2,500 25% 8,000 closed" in lines
    assert "m[1] g h:8000 3 1,900" in lines
    assert lines[-1] == "1 rank, 1 gateway, 3 requests placed"


def test_a_terminal_gets_no_control_characters_of_others() -> None:
    odd = "h\x1b[2J"
    rank = msgspec.structs.replace(RANK, pool=odd, rank=odd, agent=odd, role=Role.PREFILL, pair_class=odd)
    gateway = msgspec.structs.replace(GATEWAY, pool=odd, gateway=odd, address=odd)
    lines = shown(Status(ranks=[rank], gateways=[gateway], reservations=3, unreadable=0))
    assert all(line.isprintable() for line in lines)
    assert any(line.startswith("h\\x1b[2J h\\x1b[2J prefill up h\\x1b[2J") for line in lines)


def test_a_gateway_of_two_pools_is_counted_once() -> None:
    other = msgspec.structs.replace(GATEWAY, pool="n")
    lines = shown(Status(ranks=[RANK, RANK], gateways=[GATEWAY, other], reservations=1, unreadable=1))
    assert lines[-1] == "2 ranks, 1 gateway, 1 request placed, 1 unreadable value"


@pytest.mark.parametrize(
    ("state", "age_ms", "drained", "told"),
    [
        (RankState.UP, 10_000, False, "up node page 10,000"),
        (RankState.UP, 3_600_001, False, "up (silent) node page 3,600,001"),
        (RankState.UP, 10_001, True, "drained (silent) node page 10,001"),
        (RankState.DOWN, 10_001, False, "down node page 10,001"),
    ],
)
def test_a_rank_not_heard_of_for_long_is_called_silent(state: RankState, age_ms: int, drained: bool, told: str) -> None:
    rank = msgspec.structs.replace(RANK, state=state, report_age_ms=age_ms, drained=drained)
    lines = shown(Status(ranks=[rank], gateways=[], reservations=0, unreadable=0))
    assert any(f" mixed {told} " in line for line in lines)


def test_a_drained_rank_and_unreadable_values_are_told() -> None:
    drained = msgspec.structs.replace(RANK, drained=True)
    lines = shown(Status(ranks=[drained], gateways=[], reservations=0, unreadable=2))
    assert any(" drained " in line for line in lines)
    assert lines[-1].endswith("2 unreadable values")


def test_every_column_with_a_number_is_explained() -> None:
    shown = list(tables(Status(ranks=[RANK], gateways=[GATEWAY], reservations=3, unreadable=0)))
    for table, legend in ((shown[0], RANK_LEGEND), (shown[2], GATEWAY_LEGEND)):
        assert isinstance(table, Table)
        headings = [str(column.header) for column in table.columns]
        assert set(legend) <= set(headings)
        assert {str(column.header) for column in table.columns if column.justify == "right"} <= set(legend)


def test_every_explanation_fits_into_a_line() -> None:
    lines = [f"  {name}: {meaning}" for legend in (RANK_LEGEND, GATEWAY_LEGEND) for name, meaning in legend.items()]
    assert [line for line in lines if len(line) > WIDTH] == []


def test_ranks_that_pair_with_none_are_named_with_what_there_is() -> None:
    prefill = msgspec.structs.replace(RANK, role=Role.PREFILL)
    decode = msgspec.structs.replace(RANK, role=Role.DECODE)
    odd = msgspec.structs.replace(decode, pair_class="nixl/0.33.0/block16-auto")

    def warned(*ranks: RankStatus) -> list[str]:
        lines = shown(Status(ranks=list(ranks), gateways=[], reservations=0, unreadable=0))
        return [line for line in lines if "pair with no" in line]

    assert warned(prefill, decode) == warned(decode, odd) == []
    (line,) = warned(prefill, decode, odd)
    assert line.startswith("decode ranks of m[1] that are nixl/0.33.0/block16-auto pair with no prefill rank")
    (line,) = warned(prefill, odd)
    assert line.startswith("prefill ranks of m[1] that are nixl/0.32.0/block16-auto pair with no decode rank")
    assert len(warned(prefill)) == 1


def test_a_dp_group_that_gets_nothing_is_named_with_its_members_that_are_not_well() -> None:
    well = msgspec.structs.replace(RANK, dp_group="g", is_group_broken=True)
    down = msgspec.structs.replace(well, rank="h:2", state=RankState.DOWN)
    drained = msgspec.structs.replace(well, rank="h:3", drained=True)
    other = msgspec.structs.replace(RANK, rank="h:4", dp_group="other")
    lines = shown(Status(ranks=[well, down, drained, other], gateways=[], reservations=0, unreadable=0))
    assert "DP group g of m[1], 3 ranks, gets nothing: h:2 is down, h:3 is drained" in lines
    assert not any("other" in line for line in lines if "gets nothing" in line)


@pytest.mark.parametrize("breaker", ["closed", "open", "half-open", "starting"])
def test_a_rank_s_breaker_has_a_column(breaker: str) -> None:
    one = msgspec.structs.replace(RANK, breaker=breaker)
    lines = shown(Status(ranks=[one], gateways=[], reservations=0, unreadable=0))
    assert any(line.endswith(f"8,000 {breaker}") for line in lines)


def test_no_column_is_cut_where_names_are_as_long_as_addresses() -> None:
    names = {"pool": "deepseek_r1", "rank": "192.168.100.101:65535", "role": Role.PREFILL, "agent": "node-101-prefill"}
    rank = msgspec.structs.replace(RANK, **names, kv_tokens=9_999_999.0, queued_tokens=99_999.0)
    console = Console(width=WIDTH, force_terminal=False)
    with console.capture() as capture:
        console.print(*tables(Status(ranks=[rank], gateways=[], reservations=0, unreadable=0)), sep="\n")
    assert "…" not in capture.get()
