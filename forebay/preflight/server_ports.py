"""Which ports the vLLM servers of a node take, beside those they listen on. Pure.

vLLM 0.32: NIXL's side channel is VLLM_NIXL_SIDE_CHANNEL_PORT (5600) plus the data-parallel rank, Mooncake's bootstrap
server VLLM_MOONCAKE_BOOTSTRAP_PORT (8998). vllm-ascend: each rank has a handshake port for each of its devices, from
kv_port plus rank times devices on; its AscendDirect transport takes ports of 20000 to 20000 + 1000 for each NPU.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence

from agent.auto.arguments import Arguments
from forebay.preflight.finding import Finding, Level

NIXL_PORT = 5600
BOOTSTRAP_PORT = 8998
ASCEND_DIRECT_FIRST = 20_000
ASCEND_DIRECT_FOR_EACH = 1_000

_PORT = re.compile(r"[0-9]{1,5}")

PortRange = tuple[str, range]
"""What ports are for, and which."""


def ports_of(name: str, given: Arguments, environment: Mapping[str, str], listens: Sequence[int]) -> list[PortRange]:
    """Those of one server, which `listens` on some. Raises FoundServerError for options that are none."""
    ranges = [(f"{name} API", range(port, port + 1)) for port in listens]
    config = given.object("kv-transfer-config")
    connector, base = str(config.get("kv_connector", "")), str(config.get("kv_port", ""))
    told = _number(environment.get("VLLM_DP_RANK"), 0)  # as the templates of vllm-ascend 0.9.1 have it
    rank = given.number("data-parallel-rank", given.number("data-parallel-start-rank", told))
    local = max(1, given.number("data-parallel-size-local", 1))
    devices = given.number("tensor-parallel-size", 1) * given.number("pipeline-parallel-size", 1)
    if connector.startswith("Nixl"):
        first = rank + _number(environment.get("VLLM_NIXL_SIDE_CHANNEL_PORT"), NIXL_PORT)
        ranges.append((f"{name} NIXL side channel", range(first, first + local)))
    elif connector == "MooncakeConnector" and config.get("kv_role") != "kv_consumer":
        port = _number(environment.get("VLLM_MOONCAKE_BOOTSTRAP_PORT"), BOOTSTRAP_PORT)
        ranges.append((f"{name} Mooncake bootstrap", range(port, port + 1)))
    elif _PORT.fullmatch(base):
        first = int(base) + rank * devices
        ranges.append((f"{name} kv_port", range(first, first + local * devices)))
    return ranges


def ascend_direct_findings(ranges: Iterable[PortRange], npus: int) -> list[Finding]:
    """Ranges of kv_port within which AscendDirect draws its ports, on a node of so many NPUs."""
    end = ASCEND_DIRECT_FIRST + npus * ASCEND_DIRECT_FOR_EACH
    return [
        Finding(
            Level.WARN,
            what,
            f"ports {ports.start}-{ports.stop - 1} are among those AscendDirect draws from, to {end - 1}",
            f"kv_port, from {end} on",
        )
        for what, ports in ranges
        if npus and what.endswith("kv_port") and ports.start < end and ports.stop > ASCEND_DIRECT_FIRST
    ]


def _number(text: str | None, default: int) -> int:
    return int(text) if text and _PORT.fullmatch(text) else default
