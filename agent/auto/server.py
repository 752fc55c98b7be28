"""One vLLM server as its command line describes it: where it listens, for what, and which ranks it has. Pure.

Data-parallel modes as of vLLM 0.32 (vllm/entrypoints/cli/serve.py): internal (one endpoint for all engines), hybrid
(one endpoint for the engines of its node), external (one endpoint for each engine), a supervisor with one port for each
engine of its node, and headless (engines only: they are behind the endpoint of another node).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from enum import StrEnum
from types import MappingProxyType
from typing import Any

import msgspec

from agent.auto.arguments import Arguments
from agent.errors import FoundServerError
from scheduler.endpoints import is_local
from scheduler.messages import Role

DEFAULT_PORT = 8000
DEFAULT_SUPERVISOR_PORT = 9256
DEFAULT_RPC_PORT = 29550

CONNECTORS = MappingProxyType(
    {
        "NixlConnector": "nixl",
        "NixlPullConnector": "nixl",
        "NixlPushConnector": "nixl_push",
        "MooncakeConnector": "mooncake",
        "MooncakeConnectorV1": "mooncake_pull",
        "MooncakeHybridConnector": "mooncake_pull",
        "MooncakeLayerwiseConnector": "mooncake_layerwise",
        "LMCacheConnectorV1": "store",
        "LMCacheMPConnector": "store",
        "MooncakeStoreConnector": "store",
        "MooncakeConnectorStoreV1": "store",
        "AscendStoreConnector": "store",
        "OffloadingConnector": "store",
    }
)
"""vLLM's and vLLM-Ascend's names of connectors, and ours of the protocols they speak."""

ROLES = MappingProxyType({"kv_producer": Role.PREFILL, "kv_consumer": Role.DECODE})
"""`kv_both` says nothing: NIXL's prefill and decode ranks have it alike."""


class Mode(StrEnum):
    """How a server's data-parallel ranks are reached."""

    ALONE = "one engine"
    INTERNAL = "internal load balancing"
    HYBRID = "hybrid load balancing"
    EXTERNAL = "external load balancing"
    SUPERVISED = "one port for each rank"
    HEADLESS = "headless"


class FoundServer(msgspec.Struct, frozen=True, kw_only=True):
    """A server of this node. `host` is where it listens, '' for everywhere; `ports` are those of its endpoints.

    `role` is None where the command line does not tell it; `connector` is '' for none. `dp_group` is ADDRESS:PORT where
    the engines that step together find each other, the same on all their nodes, :PORT where that is this node alone;
    '' for none. `max_num_seqs` is 0 where it is vLLM's own choice.
    """

    pid: int
    model: str
    mode: Mode
    host: str
    ports: tuple[int, ...]
    tls: bool
    api_key: str
    role: Role | None
    connector: str
    dp_group: str
    max_num_seqs: int


def read_server(pid: int, given: Arguments, environment: Mapping[str, str]) -> FoundServer:
    """The server of a process. Raises FoundServerError where it cannot be attached to, with the reason."""
    if "uds" in given:
        raise FoundServerError("it listens on a Unix socket, which no gateway reaches")
    if "grpc" in given:
        raise FoundServerError("it speaks gRPC, not HTTP")
    model = given.text("served-model-name") or given.text("model") or given.model
    if not model:
        raise FoundServerError("its command line names no model")
    mode = _mode(given, environment)
    connector, role = _connector(given.object("kv-transfer-config"))
    return FoundServer(
        pid=pid,
        model=model,
        mode=mode,
        host=_host(given.text("host")),
        ports=_ports(given, mode),
        tls="ssl-certfile" in given,
        api_key=given.text("api-key") or environment.get("VLLM_API_KEY", ""),
        role=role,
        connector=connector,
        dp_group=_dp_group(given, environment, mode),
        max_num_seqs=given.number("max-num-seqs", 0),
    )


def _dp_size(given: Arguments, environment: Mapping[str, str]) -> int:
    """vLLM 0.9 and older take it from the environment (vllm-ascend's 0.9.1 templates)."""
    told = environment.get("VLLM_DP_SIZE", "")
    return given.number("data-parallel-size", int(told) if re.fullmatch(r"[0-9]{1,5}", told) else 1)


def _mode(given: Arguments, environment: Mapping[str, str]) -> Mode:
    if "headless" in given:
        return Mode.HEADLESS
    if "data-parallel-multi-port-external-lb" in given:
        return Mode.SUPERVISED
    if _dp_size(given, environment) <= 1:
        return Mode.ALONE
    if "data-parallel-external-lb" in given or "data-parallel-rank" in given or "VLLM_DP_RANK" in environment:
        return Mode.EXTERNAL
    if "data-parallel-hybrid-lb" in given or "data-parallel-start-rank" in given:
        return Mode.HYBRID
    return Mode.INTERNAL


def _host(text: str) -> str:
    return "" if text in ("0.0.0.0", "::", "[::]") else text.strip("[]")  # noqa: S104


def _ports(given: Arguments, mode: Mode) -> tuple[int, ...]:
    port = given.number("port", DEFAULT_PORT)
    match mode:
        case Mode.HEADLESS:
            return ()
        case Mode.SUPERVISED:
            return tuple(range(port, port + given.number("data-parallel-size-local", 1)))
        case Mode.ALONE | Mode.INTERNAL | Mode.HYBRID | Mode.EXTERNAL:
            return (port,)


def _dp_group(given: Arguments, environment: Mapping[str, str], mode: Mode) -> str:
    if mode is Mode.ALONE:
        return ""
    address = given.text("data-parallel-address") or environment.get("VLLM_DP_MASTER_IP", "")
    if is_local(address):
        address = ""  # as where none is given, which is vLLM's 127.0.0.1
    if not address and mode in (Mode.INTERNAL, Mode.HYBRID):
        return ""  # its engines share one endpoint of one node, and live and die with it
    port = given.text("data-parallel-rpc-port") or environment.get("VLLM_DP_MASTER_PORT", "") or str(DEFAULT_RPC_PORT)
    return f"{address}:{port}"


def _connector(config: Mapping[str, Any]) -> tuple[str, Role | None]:
    """Ours for it, and the role. Raises FoundServerError for one that is not spoken."""
    name = config.get("kv_connector")
    if name is None:
        return "", Role.MIXED
    role = ROLES.get(str(config.get("kv_role")))
    if name == "MultiConnector":
        extra = config.get("kv_connector_extra_config")
        inner = extra.get("connectors", []) if isinstance(extra, dict) else []
        names = [str(each.get("kv_connector")) for each in inner if isinstance(each, dict)]
    else:
        names = [str(name)]
    known = [CONNECTORS[each] for each in names if each in CONNECTORS]
    if not known:
        raise FoundServerError(f"its KV connector {', '.join(names) or name} is none that gateways speak")
    # What moves KV from rank to rank decides how a request is served; a store beside it is a cache.
    return next((each for each in known if each != "store"), "store"), role
