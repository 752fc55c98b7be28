"""Every option of an agent, parsed once into one frozen value."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.errors import TargetError
from agent.launch.settings import LaunchSettings
from agent.targets import Target, parse_ports, parse_targets
from scheduler.messages import Role

ConnectorName = Literal[
    "auto", "nixl", "nixl_push", "mooncake_pull", "mooncake", "mooncake_layerwise", "sglang", "pull", "store"
]

LONGEST_MS = 3_600_000
"""An hour."""


class AgentSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent attaches to and how it reads and reports it. Each field's description is its help text.

    Raises ValueError (on construction) or msgspec.ValidationError (from `msgspec.convert`) whose message starts with
    the field's name.
    """

    redis: Annotated[str, Meta(min_length=1, description="URL of the store")]
    model: Annotated[
        str, Meta(description="served model name; it names the pool. With --auto the only one, if given")
    ] = ""
    pool_name: Annotated[str, Meta(description="pool of the ranks; by default the model's name")] = ""
    role: Annotated[
        Role | None, Meta(description="what the ranks do for a request; with --auto what those do that do not say it")
    ] = None
    ranks: Annotated[str, Meta(description="[https://]HOST:PORT[-PORT][,...]: the ranks, as gateways reach them")] = ""
    auto: Annotated[
        bool,
        Meta(description="find the vLLM servers of this node, their ports, roles and connectors, and attach to them"),
    ] = False
    launching: LaunchSettings = LaunchSettings()
    connector: Annotated[
        ConnectorName,
        Meta(
            description="KV connector of the ranks; auto: nixl for prefill and decode ranks, none for mixed ones; "
            "pull: nixl or mooncake_pull, told apart by what they answer"
        ),
    ] = "auto"
    bootstrap_port: Annotated[
        int,
        Meta(
            ge=1,
            le=65535,
            description="where prefill ranks of mooncake and sglang are met: the first port's, further ones' follow",
        ),
    ] = 8998
    metrics_ports: Annotated[
        str,
        Meta(
            description="PORT[-PORT][,...]: where the ranks, in their order, serve /metrics (on http) if not on their "
            "own port, as FastDeploy with --metrics-port does"
        ),
    ] = ""
    node: Annotated[
        str, Meta(pattern=r"^\S*\Z", description="name of this agent; default: host name and first port")
    ] = ""
    dp_group: Annotated[str, Meta(pattern=r"^\S*\Z", description="DP group that these ranks step together with")] = ""
    max_num_seqs: Annotated[
        int, Meta(ge=1, le=1_000_000, description="vLLM's --max-num-seqs, per rank; vLLM does not tell it")
    ] = 256
    kv_capacity_tokens: Annotated[
        int, Meta(ge=0, le=10**12, description="KV cache of one rank in tokens; 0 reads it from /metrics")
    ] = 0
    prefill_tokens_per_s: Annotated[
        float, Meta(ge=0.001, le=1e12, description="prefill rate believed until the rank's own is known")
    ] = 8000.0
    label: Annotated[dict[str, str], Meta(description="K=V, for locality, such as zone=a")] = {}
    warmup: Annotated[
        int, Meta(ge=0, le=1_000, description="completions a fresh rank must answer before it is offered")
    ] = 0
    warmup_timeout_ms: Annotated[int, Meta(ge=1, le=LONGEST_MS, description="deadline of one warm-up completion")] = (
        120_000
    )
    rank_api_key: Annotated[
        str, Meta(pattern=r"^[\x21-\x7e]*\Z", description="vLLM's --api-key, for /v1/models and warm-up")
    ] = ""
    rank_ca: Annotated[
        str, Meta(description="PEM file with the authorities that ranks on https are verified by; else the system's")
    ] = ""
    rank_cert: Annotated[str, Meta(description="PEM file with a certificate to show those ranks")] = ""
    rank_key: Annotated[str, Meta(description="PEM file with its key")] = ""
    stat_socket: Annotated[
        str,
        Meta(
            description="Unix socket that vLLM's stat loggers push to; default: one of this user's, for the first "
            "agent to take it; off: none"
        ),
    ] = ""
    scrape_ms: Annotated[int, Meta(ge=10, le=LONGEST_MS, description="between two looks at a busy rank")] = 500
    idle_scrape_ms: Annotated[int, Meta(ge=10, le=LONGEST_MS, description="between two looks at an idle rank")] = 1000
    probe_timeout_ms: Annotated[
        int, Meta(ge=1, le=LONGEST_MS, description="deadline of one answer; a late one ages the sample")
    ] = 5000
    stall_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=LONGEST_MS,
            description="so long without progress of running requests, or with no look answered, is a stall",
        ),
    ] = 10_000
    # A report moves pool time by at most a quarter of the lease, 500 ms. An agent that is alone and reports less often
    # would keep a killed gateway's reservations for longer than 3 s.
    heartbeat_ms: Annotated[
        int, Meta(ge=50, le=500, description="between two reports when nothing changed, in a small pool")
    ] = 400

    def __post_init__(self) -> None:
        if bool(self.rank_cert) != bool(self.rank_key):
            raise ValueError("rank_cert: certificate and key go together, and only one of them is given")
        if self.launching.rank_host and not (self.auto or self.launching.launch):
            raise ValueError("rank_host: it is for --launch and --auto")
        if self.auto:
            self._refuse_what_is_found()
            return
        if not self.model:
            raise ValueError("model: name the served model, or have the servers found with --auto")
        if self.role is None:
            raise ValueError("role: say what the ranks do, or have the servers found with --auto")
        if self.launching.launch:
            if self.ranks:
                raise ValueError("ranks: --launch knows the ranks it starts; give one of the two")
            return
        if not self.ranks:
            raise ValueError("ranks: say where the ranks are, start them with --launch, or find them with --auto")
        self._check_ports()

    def _refuse_what_is_found(self) -> None:
        given = {"ranks": self.ranks, "launch": self.launching.launch, "metrics_ports": self.metrics_ports}
        for name, value in given.items():
            if value:
                raise ValueError(f"{name}: --auto finds the ranks itself; give one of the two")
        if self.pool_name and not self.model:
            raise ValueError("pool_name: name the model too, as --auto may find several")

    def _check_ports(self) -> None:
        try:
            parse_targets(self.ranks)
        except TargetError as error:
            raise ValueError(f"ranks: {error}") from error
        try:
            ports = parse_ports(self.metrics_ports)
        except TargetError as error:
            raise ValueError(f"metrics_ports: {error}") from error
        if ports and len(ports) != len(self.targets):
            raise ValueError(f"metrics_ports: {len(ports)} ports are given for {len(self.targets)} ranks")

    @property
    def rank_role(self) -> Role:
        """What the ranks do."""
        assert self.role is not None, "only --auto goes without, and has settings of its own for each role it finds"
        return self.role

    @property
    def targets(self) -> tuple[Target, ...]:
        """The ports to attach to."""
        return parse_targets(self.ranks)

    def bootstrap_port_of(self, target: Target) -> int:
        """The port where other ranks meet those behind this one: as many on from the first as ports of its host come
        before it. One that is added later comes last.
        """
        beside = [each for each in self.targets if each.host == target.host]
        return self.bootstrap_port + (beside.index(target) if target in beside else len(beside))

    @property
    def pool(self) -> str:
        """The pool that the ranks go to."""
        return self.pool_name or self.model

    @property
    def metrics_urls(self) -> Mapping[Target, str]:
        """The base URLs of pages that are not on their rank's own port."""
        ports = parse_ports(self.metrics_ports)
        return {target: Target(target.host, port).url for target, port in zip(self.targets, ports, strict=False)}

    @property
    def kv_connector(self) -> str:
        """The connector that the ranks register with; "" for none."""
        if self.connector == "auto":
            return "" if self.role is Role.MIXED else "nixl"
        return self.connector

    @property
    def node_name(self) -> str:
        """The agent's name in the pool.

        The default holds over restarts, and differs between agents of one host that attach to different ranks.
        """
        return self.node or f"{socket.gethostname()}-{self.targets[0].port}"
