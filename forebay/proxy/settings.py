"""The options of `forebay proxy`: those of the proxies it stands in for, and some of ours. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from agent.errors import TargetError
from agent.settings import ConnectorName
from agent.targets import Target
from forebay.proxy.modes import Mode
from forebay.proxy.ranks import RankLists, addresses_of, targets_at
from gateway.settings import GatewaySettings, Key
from scheduler.messages import Role
from scheduler.policies import POLICIES

Port = Annotated[int, Meta(ge=1, le=65535)]
Count = Annotated[int, Meta(ge=0, le=1024)]
NO_RANKS = (
    "There are no ranks: give them by --dp-hosts and --dp-ports, by --prefiller-hosts, --prefiller-ports, "
    "--decoder-hosts and --decoder-ports, or by --server-hosts and --server-ports"
)


class ProxySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a proxy is told. A list's option takes several values. Each field's description is its help text."""

    mode: Annotated[
        Literal["auto", "dp", "pd", "layerwise", "bucket"],
        Meta(description="which proxy it stands in for; auto: told by the script's name, or else by which ranks"),
    ] = "auto"
    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "localhost"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 lets the system choose")] = 8000
    dp_hosts: Annotated[tuple[str, ...], Meta(description="hosts of ranks that serve whole requests")] = ()
    dp_ports: Annotated[tuple[Port, ...], Meta(description="their ports, one for each host")] = ()
    prefiller_hosts: Annotated[tuple[str, ...], Meta(description="hosts of prefill ranks")] = ()
    prefiller_hosts_num: Annotated[tuple[Count, ...], Meta(description="how often each of these hosts counts")] = ()
    prefiller_ports: Annotated[tuple[Port, ...], Meta(description="their ports, one for each host")] = ()
    prefiller_ports_inc: Annotated[
        tuple[Count, ...], Meta(description="how many ports there are, counted up from each of these")
    ] = ()
    decoder_hosts: Annotated[tuple[str, ...], Meta(description="hosts of decode ranks")] = ()
    decoder_hosts_num: Annotated[tuple[Count, ...], Meta(description="how often each of these hosts counts")] = ()
    decoder_ports: Annotated[tuple[Port, ...], Meta(description="their ports, one for each host")] = ()
    decoder_ports_inc: Annotated[
        tuple[Count, ...], Meta(description="how many ports there are, counted up from each of these")
    ] = ()
    server_hosts: Annotated[tuple[str, ...], Meta(description="as --dp-hosts")] = ()
    server_ports: Annotated[tuple[Port, ...], Meta(description="as --dp-ports")] = ()
    enable_dynamic_bucket: Annotated[bool, Meta(description="not needed: requests go where they cost least")] = False
    server_group_threshold: Annotated[int, Meta(ge=0, le=1 << 31, description="not needed")] = 32_768
    max_request_tokens: Annotated[
        int, Meta(ge=0, le=1 << 31, description="not needed: ranks know their --max-model-len")
    ] = 131_072
    max_retries: Annotated[
        int, Meta(ge=0, le=1_000_000, description="not needed: three placements, each on other ranks")
    ] = 3
    retry_delay: Annotated[float, Meta(ge=0, le=86_400, description="not needed")] = 0.001
    max_waiting_retries: Annotated[
        int,
        Meta(
            ge=0,
            le=1_000_000,
            description="not needed: a rank that is added is waited for until it answers or is removed",
        ),
    ] = 3
    waiting_retry_interval: Annotated[float, Meta(ge=0, le=86_400, description="not needed")] = 10.0
    workers: Annotated[
        int, Meta(ge=1, le=256, description="gateway processes on the port; each is a gateway of its own")
    ] = 1
    redis: Annotated[
        str, Meta(description="URL of a shared store, by which several proxies share load; else it has its own")
    ] = ""
    one_process: Annotated[
        bool, Meta(description="keep the own store within this process even where redis-server is installed")
    ] = False
    model: Annotated[str, Meta(description="served model name; by default what the first rank that answers says")] = ""
    pool_name: Annotated[str, Meta(description="pool of the ranks; by default the model's name")] = ""
    connector: Annotated[ConnectorName, Meta(description="KV connector of the ranks; auto: as the mode has it")] = (
        "auto"
    )
    policy: Annotated[
        str,
        Meta(description=f"how ranks are chosen: {', '.join(POLICIES)}; by default forebay, for pairs forebay_pairs"),
    ] = ""
    max_num_seqs: Annotated[
        int, Meta(ge=1, le=1_000_000, description="vLLM's --max-num-seqs, per rank; vLLM does not tell it")
    ] = 256
    prefill_tokens_per_s: Annotated[
        float, Meta(ge=0.001, le=1e12, description="prefill rate believed until a rank's own is known")
    ] = 8000.0
    stat_socket: Annotated[
        str,
        Meta(
            description="Unix socket that stat loggers of ranks on this machine push to; default: one of this user's, "
            "for the first agent to take it; off: none"
        ),
    ] = ""
    advertise: Annotated[str, Meta(description="HOST:PORT where ranks reach this proxy; by default host and port")] = ""
    api_key: Annotated[
        tuple[Key, ...], Meta(description="key that clients must bring; without any, the models are open")
    ] = ()
    admin_key: Annotated[
        str, Meta(description="key for /instances and what every rank is sent; without it only this machine may")
    ] = ""
    rank_api_key: Annotated[
        str,
        Meta(
            pattern=r"^[\x21-\x7e]*\Z",
            description="vLLM's --api-key, sent to the ranks instead of the clients'; by default OPENAI_API_KEY",
        ),
    ] = ""
    rank_api_key_file: Annotated[str, Meta(description="file with the --rank-api-key")] = ""
    request_ttl_s: Annotated[
        float, Meta(ge=0, le=31_536_000, description="how long a request may live; 0: as long as it takes")
    ] = 0.0
    drain_s: Annotated[
        float, Meta(ge=0, le=86_400, description="how long requests may still run after SIGTERM before they are cut")
    ] = 30.0
    explain: Annotated[
        bool, Meta(description="answer x-forebay-explain with the ranks and the gateway that served it")
    ] = False

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        GatewaySettings(redis="none", policy=self.policy or self.serves_as.policy, advertise=self.advertise)
        if self.one_process and self.redis:
            raise ValueError("one_process: a shared store (--redis) is not within this process")
        assert self.targets, "a mode has ranks of some role"

    @property
    def serves_as(self) -> Mode:
        """Which proxy it stands in for. Raises ValueError where that is not clear."""
        given = [mode for mode, lists in self._lists.items() if any(each.is_given for each in lists)]
        if self.mode == "auto" and not given:
            raise ValueError(NO_RANKS)
        mode = given[0] if self.mode == "auto" else Mode(self.mode)
        for stranger in given:
            if self._lists[stranger] != self._lists_of(mode):
                kind = self._lists[stranger][0].kind
                raise ValueError(f"{kind}_hosts: they are ranks of mode {stranger}, and this is mode {mode}")
        return mode

    @property
    def targets(self) -> Mapping[Role, tuple[Target, ...]]:
        """The ranks of each role. Raises ValueError that names a field."""
        mode = self.serves_as
        lists = self._lists_of(mode)
        # The scripts have one rank of each kind on this machine unless they are told of any.
        if any(each.is_given for each in lists):
            for each in lists:
                if not each.is_given:
                    raise ValueError(f"{each.kind}_hosts: there is no {each.kind}; give its hosts and ports")
        found = {role: addresses_of(each) for role, each in zip(mode.roles, lists, strict=True)}
        for each, addresses in zip(lists, found.values(), strict=True):
            if not addresses:
                raise ValueError(f"{each.kind}_hosts: there is no {each.kind} left, all of them count 0 times")
        try:
            targets = iter(targets_at([address for addresses in found.values() for address in addresses]))
        except TargetError as error:
            raise ValueError(f"{lists[0].kind}_hosts: {error}") from error
        return {role: tuple(next(targets) for _ in addresses) for role, addresses in found.items()}

    def _lists_of(self, mode: Mode) -> Sequence[RankLists]:
        return self._lists[Mode.PD if mode is Mode.LAYERWISE else mode]

    @property
    def _lists(self) -> Mapping[Mode, Sequence[RankLists]]:
        return {
            Mode.DP: (RankLists("dp", self.dp_hosts, self.dp_ports, 8001),),
            Mode.PD: (
                RankLists(
                    "prefiller",
                    self.prefiller_hosts,
                    self.prefiller_ports,
                    8001,
                    self.prefiller_hosts_num,
                    self.prefiller_ports_inc,
                ),
                RankLists(
                    "decoder",
                    self.decoder_hosts,
                    self.decoder_ports,
                    8002,
                    self.decoder_hosts_num,
                    self.decoder_ports_inc,
                ),
            ),
            Mode.BUCKET: (RankLists("server", self.server_hosts, self.server_ports, 8001),),
        }
