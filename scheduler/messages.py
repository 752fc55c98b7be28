"""What travels through Redis: frozen, versioned values. Pure.

A reader skips fields it does not know, so old and new processes can share a pool. A value that does not decode, or
whose version is newer than ours, is skipped and counted by whoever reads it; it never stops a reader.
"""

from __future__ import annotations

from enum import IntEnum, StrEnum
from typing import Annotated

import msgspec

CARD_VERSION = 1
Count = Annotated[int, msgspec.Meta(ge=1, le=1 << 53)]


class Role(StrEnum):
    """What a rank does for a request."""

    MIXED = "mixed"
    PREFILL = "prefill"
    DECODE = "decode"


class RankState(StrEnum):
    """What an agent says of a rank's health; only an `up` rank is placed on.

    A `stalled` one is there but does not get on with its requests, or answers nothing at all: evidence against its DP
    group only if no member on any node moves (scheduler/groups.py).
    """

    UP = "up"
    STALLED = "stalled"
    DOWN = "down"
    GONE = "gone"


class Source(StrEnum):
    """Where an agent has a rank's load from: its `/metrics` page, or what its stat logger pushes."""

    PAGE = "page"
    PUSH = "push"


class Phase(IntEnum):
    """How far a reservation has come; each step gives back its part of the load."""

    PLACED = 0
    DISPATCHED = 1
    PREFILL_DONE = 2
    FIRST_TOKEN = 3


NEED_PREFILL_RANKS = frozenset({"sglang"})
"""Connectors whose decode ranks refuse what no prefill rank computes for them."""


class KvAddress(msgspec.Struct, frozen=True, kw_only=True):
    """What a gateway has to know of a rank's KV connector before it has answered anything, as its connector needs it.

    `host` and `port` are where other ranks ask it for KV, `bootstrap_url` where they first ask who it is. An engine's
    id is another one in each life.
    """

    engine_id: str = ""
    host: str = ""
    port: int = 0
    tp_size: Count = 1
    pp_size: Count = 1
    bootstrap_url: str = ""


class RankCard(msgspec.Struct, frozen=True, kw_only=True):
    """What stays true of a rank for one incarnation; its agent registers it.

    `rank` names the rank in the pool: `host:port`, with `#index` where several engines share a port. `endpoint` is a
    base URL without a trailing slash. `local_index` is the `X-data-parallel-rank` to send, None where the port has
    one engine. `kv_capacity_tokens` and `max_num_seqs` are per rank; a `block_size` of 0 is not known. Connector,
    version and geometry say which prefill and decode ranks pair, labels where a rank is: read once pairs are placed.
    `kv` is for the connectors that start both legs at once.
    """

    v: int = CARD_VERSION
    rank: str
    endpoint: str
    role: Role
    model: str
    incarnation: str
    node: str
    local_index: int | None = None
    max_num_seqs: Count
    max_model_len: Count
    kv_capacity_tokens: Count
    block_size: int = 0
    engine_version: str = ""
    connector: str = ""
    kv: KvAddress | None = None
    kv_geometry: str = ""
    dp_group: str = ""
    labels: dict[str, str] = {}

    @property
    def serves_whole(self) -> bool:
        """Whether the rank can serve a request that no other rank prefills."""
        return self.role is not Role.DECODE or self.connector not in NEED_PREFILL_RANKS

    @property
    def pair_class(self) -> str:
        """Prefill and decode ranks pair only where this is equal: connector, version and KV geometry."""
        return f"{self.connector}/{self.engine_version}/{self.kv_geometry}"


class RankReport(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a rank's load, as its agent read it.

    `age_ms` is how old the sample is when the report leaves the agent, on the agent's monotonic clock: hosts' clocks
    are never compared. `prefill_tokens_per_s` is the learned rate. `computed_tokens` is the odometer of the prefix
    cache: how many tokens this life has written into it so far; None where nothing is found in it, or nobody knows.
    `found_tokens` are those of prompts that it has found cached so far, and so did not compute. `source` is where the
    sample comes from.
    """

    rank: str
    incarnation: str
    state: RankState
    age_ms: int
    running: int
    waiting: int
    kv_used_tokens: int
    prefill_tokens_per_s: float
    computed_tokens: int | None = None
    found_tokens: int = 0
    source: Source = Source.PAGE


class Clash(msgspec.Struct, frozen=True):
    """Which rank has already what a card claims, and what that is."""

    rank: str
    what: str


class ReportReply(msgspec.Struct, frozen=True, kw_only=True):
    """What the store answers a node's report.

    `refused` maps each rank that another live agent claims to that agent's name, `clashing` each rank that was refused
    since another one has its engine id or its address for KV to that one and what it is. `interval_ms` is how long the
    node waits at least before it reports changes of load (scheduler/pace.py); health goes at once.
    """

    refused: dict[str, str]
    clashing: dict[str, Clash] = {}
    interval_ms: int
