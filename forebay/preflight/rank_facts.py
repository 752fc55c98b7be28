"""What is known of one rank that runs, and of the KV it offers. Pure."""

from __future__ import annotations

from typing import NamedTuple

import msgspec

from agent.targets import Target
from scheduler.messages import KvAddress, Role


class Named(NamedTuple):
    """A rank to be asked, and what its card says of it, if it has one: `kv` is where it gives KV."""

    target: Target
    role: Role
    connector: str = ""
    pool: str = ""
    kv: KvAddress | None = None


class KvOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a prefill rank tells a decode rank of where its KV is."""

    engine_id: str
    host: str
    port: int
    reachable: bool | None = None
    """Whether this node can connect there; None: not tried."""


class RankFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One rank as it answers. `fault` says why nothing is known of it, '' where it is.

    `pool` is '' for ranks that were named. `block_size` of 0 and an empty `cache_dtype` or `connector` are not told.
    `offer` is None where it offers no KV, and `no_offer` says why, '' where it was not asked.
    """

    target: Target
    role: Role
    pool: str = ""
    connector: str = ""
    fault: str = ""
    version: str = ""
    models: tuple[str, ...] = ()
    max_model_len: int = 0
    block_size: int = 0
    cache_dtype: str = ""
    offer: KvOffer | None = None
    no_offer: str = ""

    @property
    def name(self) -> str:
        """`host:port`."""
        return self.target.name
