"""One request inside an engine: what was asked, and how far it has come. Pure."""

from __future__ import annotations

import msgspec

from simulator.layer_params import LayerLeg
from simulator.transfer_params import RemoteKv


class EngineRequest(msgspec.Struct, frozen=True, kw_only=True):
    """One sequence to generate: choice number `salt` of `n`. `block_keys` and `state` are `model.prompt_states`.

    With no `max_tokens` its prompt is computed and nothing else. With a `kv_request_id` its KV is kept under that name
    when it ends; with `pull` its prompt's KV is fetched. With `layers` it is a leg that waits for KV, or pushes it.
    """

    request_id: int
    prompt_tokens: int
    block_keys: tuple[int, ...]
    state: int
    last_token: int
    max_tokens: int
    arrival_s: float
    salt: int = 0
    n: int = 1
    min_tokens: int = 0
    ignore_eos: bool = False
    stop_token_ids: frozenset[int] = frozenset()
    kv_request_id: str = ""
    pull: RemoteKv | None = None
    layers: LayerLeg | None = None

    @property
    def comes_from_elsewhere(self) -> bool:
        """Whether another engine has its prompt's KV."""
        return self.pull is not None or (self.layers is not None and self.layers.url is not None)


class Sequence:
    """A request inside the engine, and how far it has come. Times are the engine's seconds.

    `state` is the model's after its tokens; `taint` (see kv_taint) is how far its KV is from them, 0 where it is right.
    """

    __slots__ = (
        "blocks", "cached_tokens", "computed", "external_tokens", "fetched", "first_token_s", "generated", "keys",
        "last_token", "last_token_s", "most_tokens", "num_tokens", "preemptions", "published", "request",
        "scheduled_s", "state", "taint",
    )  # fmt: skip

    def __init__(self, request: EngineRequest, max_model_len: int) -> None:
        self.request = request
        self.state = request.state
        self.taint = 0
        self.last_token = request.last_token
        self.keys = list(request.block_keys)
        self.num_tokens = request.prompt_tokens
        self.most_tokens = min(request.prompt_tokens + request.max_tokens, max_model_len)
        self.generated = 0
        self.computed = 0
        self.published = 0
        self.blocks: list[int] = []
        self.cached_tokens = 0
        self.external_tokens = 0
        self.fetched = False
        self.preemptions = 0
        self.scheduled_s: float | None = None
        self.first_token_s = 0.0
        self.last_token_s = request.arrival_s

    @property
    def must_fetch(self) -> bool:
        """Whether its KV is yet to be fetched."""
        return self.request.comes_from_elsewhere and not self.fetched
