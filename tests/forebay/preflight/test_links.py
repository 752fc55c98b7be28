"""What a preflight makes of what the tools for links say."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import pytest

from forebay.preflight.finding import Level
from forebay.preflight.links import npu_address_findings, npu_findings, npu_ping_findings, rdma_findings

GOOD = {
    "-link": "link status: UP",
    "-lldp": "Ifname: 400GE1/1/1",
    "-net_health": "net health status: Success",
    "-netdetect": "netdetect address: 10.1.0.1",
    "-gateway": "default gateway:10.1.0.1, Iface:eth0",
    "-hccs_ping": "",
    "-ping": "recv seq=0,time=0.067000ms\n3 packets transmitted, 3 received, 0.00% packet loss",
}


def npu_tool(**instead: str) -> Any:
    def run(command: Sequence[str]) -> str | None:
        if command[1] == "-h":
            return "usage"
        key = command[3]
        return instead.get(f"npu{command[2]}", GOOD[key]) if key == "-link" else GOOD[key]

    return run


def test_npus_whose_links_are_up_are_one_line() -> None:
    (found,) = npu_findings(4, npu_tool())
    assert (found.level, found.where) == (Level.OK, "NPU links")


def test_an_npu_whose_link_is_down_is_named_with_what_to_look_at() -> None:
    (found,) = npu_findings(4, npu_tool(npu2="link status: DOWN"))
    assert (found.level, found.where, found.what) == (Level.BAD, "NPU 2 link", "link status: DOWN")
    assert "hccn_tool -i 2 -link -g" in found.change


@pytest.mark.parametrize(
    ("configured", "level", "what"),
    [
        ("address_0=10.1.0.1\nnetmask_0=255.255.255.0\naddress_1=10.1.0.2\n", Level.OK, "10.1.0.1, 10.1.0.2"),
        ("address_1=10.1.0.2\n#address_0=10.1.0.1\n", Level.WARN, "/etc/hccn.conf has none for NPU 0"),
        ("cat: /etc/hccn.conf: No such file or directory", Level.WARN, "/etc/hccn.conf has none for NPU 0, 1"),
    ],
)
def test_the_configured_addresses_of_npus_are_told_with_those_that_have_none(
    configured: str, level: Level, what: str
) -> None:
    (found,) = npu_address_findings(2, lambda command: configured if command[0] == "cat" else "usage")
    assert (found.level, found.what) == (level, what)


def test_npus_are_pinged_in_whichever_way_answers() -> None:
    assert [finding.level for finding in npu_ping_findings(2, ["10.1.0.9"], npu_tool())] == [Level.OK]


@pytest.mark.parametrize(
    "said",
    [
        "recv time out seq=0\n3 packets transmitted, 0 received, 100.00% packet loss",
        "recv time out seq=0\n3 packets transmitted, 2 received, 33.33% packet loss",
        "recv time out seq=0\n10 packets transmitted, 9 received, 10.00% packet loss",
    ],
)
def test_pings_that_are_lost_are_bad(said: str) -> None:
    lost = npu_ping_findings(1, ["10.1.0.9"], lambda _: said)
    assert [(finding.level, finding.where) for finding in lost] == [(Level.BAD, "NPU 0 -> 10.1.0.9")]


def test_tools_that_are_not_installed_are_said_and_are_no_fault() -> None:
    found = (npu_findings(8, lambda _: None), npu_address_findings(8, lambda _: None), rdma_findings(lambda _: None))
    assert [[finding.level for finding in each] for each in found] == [[Level.UNSEEN], [], [Level.UNSEEN]]


@pytest.mark.parametrize(
    ("said", "level"),
    [
        ("link mlx5_0/1 state ACTIVE physical_state LINK_UP netdev eth0\n", Level.OK),
        ("link mlx5_0/1 state DOWN physical_state DISABLED netdev eth0\n", Level.BAD),
        ("", Level.WARN),
    ],
)
def test_rdma_links_are_active_or_told(said: str, level: Level) -> None:
    assert [finding.level for finding in rdma_findings(lambda _: said)] == [level]
