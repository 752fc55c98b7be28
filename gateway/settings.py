"""Every option of a gateway, parsed once into one frozen value. Pure."""

from __future__ import annotations

import re
from typing import Annotated

import msgspec
from msgspec import Meta

from gateway import rank_port_option
from gateway.rank_port_option import RankPortsError
from scheduler.endpoints import AllowedHostError, AllowedHosts
from scheduler.policies import POLICIES
from scheduler.settings import SchedulerSettings

Key = Annotated[str, Meta(min_length=1)]

ADDRESS = re.compile(r"(?:[\w.-]+|\[[0-9A-Fa-f:.]+\]):(?P<port>[0-9]{1,5})", re.ASCII)
ORIGIN = re.compile(r"\*|[a-z][a-z0-9+.-]*://(?:[a-z0-9_.-]+|\[[0-9a-f:.]+\])(?::[0-9]{1,5})?", re.ASCII)
"""As browsers send it: lower case, and no slash after it."""

LONGEST_MS = 86_400_000
"""A day."""
LONGEST_RANK_WAIT_MS = 30_000
"""For so long a pool that lost its ranks is known (scheduler/pools.py)."""


class GatewaySettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a gateway serves and how long it waits; each field's description is its help text.

    A rank sends the head of a stream at once and its first token after queue and prefill; what is not
    streamed comes all at the end. `first_byte_ms` therefore has to allow for a long queue and a whole
    generation.
    """

    redis: Annotated[str, Meta(min_length=1, description="URL of the shared store")]
    host: Annotated[str, Meta(min_length=1, description="address to listen on")] = "127.0.0.1"
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on; 0 lets the system choose")] = 8000
    advertise: Annotated[
        str,
        Meta(description="HOST:PORT where ranks and other gateways reach this one; by default host and port"),
    ] = ""
    api_key: Annotated[
        tuple[Key, ...], Meta(description="key that clients must bring; without any, the models are open")
    ] = ()
    api_keys: Annotated[
        str, Meta(description="file of keys with names and limits, by `forebay key`; read again when it changes")
    ] = ""
    redis_keys: Annotated[
        bool, Meta(description="let in the keys with names and limits that `forebay key` has put into Redis")
    ] = False
    admin_key: Annotated[
        str, Meta(description="key for /admin and for what every rank is sent; without it neither is there")
    ] = ""
    local_admin: Annotated[
        bool,
        Meta(
            description="without --admin-key, let programs on this machine do what it is for; nobody that comes "
            "through a proxy, and no web page"
        ),
    ] = False
    rank_api_key: Annotated[
        str, Meta(pattern=r"^[\x21-\x7e]*\Z", description="key to send to the ranks instead of what clients bring")
    ] = ""
    tls_cert: Annotated[
        str,
        Meta(description="PEM file with the certificate chain to show clients; without it they get no TLS"),
    ] = ""
    tls_key: Annotated[str, Meta(description="PEM file with its key; both are read again when they change")] = ""
    rank_ca: Annotated[
        str, Meta(description="PEM file with the authorities that ranks on https are verified by; else the system's")
    ] = ""
    rank_cert: Annotated[str, Meta(description="PEM file with a certificate to show those ranks")] = ""
    rank_key: Annotated[str, Meta(description="PEM file with its key")] = ""
    allow_ranks: Annotated[
        tuple[str, ...],
        Meta(description="HOST or range of addresses (192.0.2.0/24) where ranks and KV may be; anywhere unless given"),
    ] = ()
    prefix_secret: Annotated[
        str,
        Meta(
            pattern=r"^[\x21-\x7e]{0,64}\Z",
            description="keys the hashes of prompts in Redis; the same on all gateways that share a pool",
        ),
    ] = ""
    pace: Annotated[
        bool, Meta(description="count the time between a stream's events in /metrics; about 1 us of CPU for each")
    ] = False
    explain: Annotated[
        bool,
        Meta(description="answer x-forebay-explain with the ranks and the gateway that served it, and keep a receipt"),
    ] = False
    pin: Annotated[bool, Meta(description="let clients name the rank that is to serve them, by x-forebay-rank")] = False
    rank_ports: Annotated[
        tuple[str, ...],
        Meta(
            description="PORT[-PORT][=RANK[-NUMBER]]: a port for each rank, whose requests go to it alone; without "
            "RANK the ranks of the only model in the order of their names"
        ),
    ] = ()
    receipt_share: Annotated[
        float,
        Meta(
            ge=0, le=1, description="share of requests that `forebay explain` can say of why they went where they did"
        ),
    ] = 0.01
    cors_origin: Annotated[
        tuple[str, ...],
        Meta(description="origin, SCHEME://HOST[:PORT], whose web pages may call; * for any. Without any, none may"),
    ] = ()
    max_body_bytes: Annotated[int, Meta(ge=1, le=1 << 30, description="largest request body; above it 413")] = (
        20_000_000
    )
    max_upload_bytes: Annotated[
        int,
        Meta(ge=1, le=1 << 34, description="largest form with an audio file, which passes through; above it 413"),
    ] = 32_000_000
    client_idle_ms: Annotated[
        int, Meta(ge=1, le=LONGEST_MS, description="how long a client may neither send its body on nor read its answer")
    ] = 60_000
    connect_ms: Annotated[int, Meta(ge=1, le=LONGEST_MS, description="how long connecting to a rank may take")] = 2_000
    first_byte_ms: Annotated[
        int,
        Meta(
            ge=1,
            le=LONGEST_MS,
            description="how long a rank may take to its answer's first byte: queue and prefill included",
        ),
    ] = 1_800_000
    rank_wait_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_RANK_WAIT_MS,
            description="how long a request waits for a rank where none can take it now, before its 503; 0: not at all",
        ),
    ] = 5_000
    request_ttl_s: Annotated[
        float,
        Meta(
            ge=0,
            le=31_536_000,
            description="how long a request may live, queue and answer together; then it ends with a 504 or, in a "
            "stream, an error event; 0: as long as it takes",
        ),
    ] = 0.0
    pool_name: Annotated[
        str,
        Meta(
            description="the only pool served, whatever model a request names: its ranks know what they are called, "
            "adapters too; by default the model names the pool"
        ),
    ] = ""
    hedge: Annotated[
        bool,
        Meta(
            description="place a request that one rank serves a second time when its first byte takes longer than for "
            "95 % of such requests; at most one in twenty"
        ),
    ] = False
    prefill_ms: Annotated[
        int,
        Meta(ge=1, le=LONGEST_MS, description="how long a prefill rank may take to its whole answer, queue included"),
    ] = 300_000
    idle_ms: Annotated[int, Meta(ge=1, le=LONGEST_MS, description="how long a rank may pause inside an answer")] = (
        300_000
    )
    rank_connections: Annotated[
        int,
        Meta(
            ge=1, le=1_000_000, description="connections to ranks, all ranks together; a request beyond them gets 503"
        ),
    ] = 10_000
    drain_s: Annotated[
        float, Meta(ge=0, le=86_400, description="how long requests may still run after SIGTERM before they are cut")
    ] = 30.0
    lame_duck_ms: Annotated[
        int,
        Meta(
            ge=0,
            le=LONGEST_MS,
            description="how long new connections are still taken after SIGTERM, while /readyz answers 503; "
            "part of drain-s",
        ),
    ] = 1_000
    response_ttl_s: Annotated[
        int,
        Meta(
            ge=0,
            le=31_536_000,
            description="how long it is known which rank keeps a response of /v1/responses; 0: it is not",
        ),
    ] = 3_600
    policy: Annotated[str, Meta(description=f"how ranks are chosen: {', '.join(POLICIES)}")] = (
        SchedulerSettings().policy
    )
    place_deadline_ms: Annotated[
        int, Meta(ge=1, le=60_000, description="how long a request waits for the ledger before it is placed without it")
    ] = SchedulerSettings().place_deadline_ms

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        if self.policy not in POLICIES:
            raise ValueError(f"policy: there is none called {self.policy!r}; known: {', '.join(POLICIES)}")
        if self.advertise:
            address = ADDRESS.fullmatch(self.advertise)
            if not address or not 1 <= int(address["port"]) <= 65535:
                raise ValueError("advertise: expected HOST:PORT, an IPv6 host in brackets")
        for name, other in (("tls_cert", "tls_key"), ("rank_cert", "rank_key")):
            if bool(getattr(self, name)) != bool(getattr(self, other)):
                raise ValueError(f"{name}: certificate and key go together, and only one of them is given")
        self._check_rank_ports()
        try:
            AllowedHosts(self.allow_ranks)
        except AllowedHostError as error:
            raise ValueError(f"allow_ranks: {error}") from error
        for origin in self.cors_origin:
            if not ORIGIN.fullmatch(origin):
                raise ValueError(f"cors_origin: expected * or SCHEME://HOST[:PORT] without a path, not {origin!r}")

    def _check_rank_ports(self) -> None:
        try:
            ports = self.ports_of_ranks
        except RankPortsError as error:
            raise ValueError(f"rank_ports: {error}") from error
        if self.port in ports:
            raise ValueError(f"rank_ports: port {self.port} is the gateway's own")

    @property
    def ports_of_ranks(self) -> dict[int, str]:
        """The ports of single ranks, and whose each is; '' where that is yet to be found. Raises RankPortsError."""
        return rank_port_option.parse(self.rank_ports)

    @property
    def scheme(self) -> str:
        """How clients reach this gateway."""
        return "https" if self.tls_cert else "http"

    @property
    def scheduler(self) -> SchedulerSettings:
        """How the pools are shared."""
        return SchedulerSettings(
            policy=self.policy,
            place_deadline_ms=self.place_deadline_ms,
            allowed_hosts=self.allow_ranks,
            prefix_secret=self.prefix_secret,
        )
