"""Whether the network between accelerators is up, asked of the tools that their makers give. Pure.

What vLLM-Ascend's large-scale EP guide has operators run by hand (hccn_tool on every NPU), and what RDMA tools say.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from typing import NamedTuple

from forebay.preflight.finding import Finding, Level


class LinkCheck(NamedTuple):
    """One command, and what its output must say; `what` names it in the report. `{npu}` is each NPU's number."""

    what: str
    command: tuple[str, ...]
    good: re.Pattern[str]
    change: str


NPU_CHECKS = (
    LinkCheck(
        "link",
        ("hccn_tool", "-i", "{npu}", "-link", "-g"),
        re.compile(r"link status:\s*UP", re.IGNORECASE),
        "the NPU's port or cable: hccn_tool -i {npu} -link -g",
    ),
    LinkCheck(
        "switch port",
        ("hccn_tool", "-i", "{npu}", "-lldp", "-g"),
        re.compile(r"Ifname", re.IGNORECASE),
        "the switch's LLDP: hccn_tool -i {npu} -lldp -g",
    ),
    LinkCheck(
        "network health",
        ("hccn_tool", "-i", "{npu}", "-net_health", "-g"),
        re.compile(r"health status:\s*Success", re.IGNORECASE),
        "address and gateway in /etc/hccn.conf",
    ),
    LinkCheck(
        "detected address",
        ("hccn_tool", "-i", "{npu}", "-netdetect", "-g"),
        re.compile(r"netdetect address:\s*\S+", re.IGNORECASE),
        "hccn_tool -i {npu} -netdetect -s address GATEWAY",
    ),
    LinkCheck(
        "gateway",
        ("hccn_tool", "-i", "{npu}", "-gateway", "-g"),
        re.compile(r"default gateway:\s*[0-9a-fA-F.:]+", re.IGNORECASE),
        "hccn_tool -i {npu} -gateway -s gateway ADDRESS",
    ),
)

PING = re.compile(r"(?<![0-9.])0(?:\.0+)?% packet loss|received\s*[:=]\s*[1-9]|recv time stamp", re.IGNORECASE)
"""Either generation's answer to a ping that came through."""

CONFIGURED = "/etc/hccn.conf"
ADDRESS = re.compile(r"^address_(?P<npu>\d+)=(?P<address>\S+)", re.MULTILINE)
"""A line of that file; it has netmask, gateway and detected address of each NPU likewise."""

RDMA_STATE = re.compile(r"^link (?P<link>\S+) state (?P<state>\S+)", re.MULTILINE)
"""A line of `rdma link show` (iproute2)."""

Run = Callable[[Sequence[str]], str | None]
"""The output of a command; None where the tool is not installed."""


def npu_findings(npus: int, run: Run) -> list[Finding]:
    """Each check on each NPU; one line where the tool is not there."""
    if run(("hccn_tool", "-h")) is None:
        return [Finding(Level.UNSEEN, "NPU links", "hccn_tool is not installed")]
    found = []
    for npu in range(npus):
        for check in NPU_CHECKS:
            said = run([word.format(npu=npu) for word in check.command]) or ""
            if not check.good.search(said):
                found.append(
                    Finding(Level.BAD, f"NPU {npu} {check.what}", _first_line(said), check.change.format(npu=npu))
                )
    return found or [Finding(Level.OK, "NPU links", f"{npus} NPUs: {', '.join(check.what for check in NPU_CHECKS)}")]


def npu_address_findings(npus: int, run: Run) -> list[Finding]:
    """The NPUs' addresses as the node is configured, which other nodes are to ping; those that have none."""
    if run(("hccn_tool", "-h")) is None:
        return []
    addresses = {int(found["npu"]): found["address"] for found in ADDRESS.finditer(run(("cat", CONFIGURED)) or "")}
    if missing := ", ".join(str(npu) for npu in range(npus) if npu not in addresses):
        told, change = f"{CONFIGURED} has none for NPU {missing}", "hccn_tool -i N -ip -s address ADDRESS netmask MASK"
        return [Finding(Level.WARN, "NPU addresses", told, change)]
    return [Finding(Level.OK, "NPU addresses", ", ".join(addresses[npu] for npu in range(npus)))]


def npu_ping_findings(npus: int, peers: Sequence[str], run: Run) -> list[Finding]:
    """Each NPU of this node to each of other nodes: over HCCS (A3) or by RDMA (A2), whichever the tool knows."""
    found = []
    for npu in range(npus):
        for peer in peers:
            ways = ("-hccs_ping", "-ping")
            if not any(
                PING.search(run(("hccn_tool", "-i", str(npu), way, "-g", "address", peer)) or "") for way in ways
            ):
                change = "the addresses of NPUs: hccn_tool -i N -vnic -g (A3) or -ip -g (A2), and the switch between"
                found.append(Finding(Level.BAD, f"NPU {npu} -> {peer}", "does not answer each ping", change))
    tried = f"{npus} x {len(peers)} pings came through"
    return found or ([Finding(Level.OK, "NPU pings", tried)] if peers else [])


def rdma_findings(run: Run) -> list[Finding]:
    """What iproute2's `rdma` says of the node's RDMA links."""
    said = run(("rdma", "link", "show"))
    if said is None:
        return [Finding(Level.UNSEEN, "RDMA links", "rdma (iproute2) is not installed")]
    links = RDMA_STATE.findall(said)
    if not links:
        return [Finding(Level.WARN, "RDMA links", "there is none: KV goes over TCP", "UCX_TLS, or the driver")]
    down = [
        Finding(Level.BAD, f"RDMA link {link}", f"its state is {state}", f"rdma link show {link}; its cable or driver")
        for link, state in links
        if state != "ACTIVE"
    ]
    return down or [Finding(Level.OK, "RDMA links", f"{len(links)} active")]


def _first_line(said: str) -> str:
    return said.strip().partition("\n")[0][:120] or "said nothing"
