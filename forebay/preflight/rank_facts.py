"""What is known of one rank that runs, and of the KV it offers. Pure."""

from __future__ import annotations

import msgspec

from agent.targets import Target
from scheduler.messages import Role


class KvOffer(msgspec.Struct, frozen=True, kw_only=True):
    """What a prefill rank tells a decode rank of where its KV is."""

    engine_id: str
    host: str
    port: int
    reachable: bool | None = None
    """Whether this node can connect there; None: not tried."""


class RankFacts(msgspec.Struct, frozen=True, kw_only=True):
    """One rank as it answers. `fault` says why nothing is known of it, '' where it is.

    `block_size` of 0 and an empty `cache_dtype` are not told. `offer` is None where it offers no KV: `no_offer` says
    why, and `is_mute` that its answer to a prefill had no word of KV, as ranks with a store of KV have none.
    """

    target: Target
    role: Role
    fault: str = ""
    version: str = ""
    models: tuple[str, ...] = ()
    max_model_len: int = 0
    block_size: int = 0
    cache_dtype: str = ""
    offer: KvOffer | None = None
    no_offer: str = ""
    is_mute: bool = False

    @property
    def name(self) -> str:
        """`host:port`."""
        return self.target.name
