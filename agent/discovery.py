"""Makes rank cards from what a port answers: its page, its models, its version. Pure.

Engines behind one port are told apart by the `engine` label. `X-data-parallel-rank` is an index into the receiving
server's engines, not the global rank in the label: it is the label's position among the sorted ones (vLLM:
internal load balancing numbers its engines from 0, hybrid from the node's first rank, external has one engine).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import msgspec

from agent.errors import DiscoveryError
from agent.metrics_page import EngineSample
from agent.settings import AgentSettings
from agent.targets import Target
from scheduler.messages import RankCard

_LONGEST_NAMES = 200
"""A log line names served models up to here; adapters may be thousands."""


class ServedModel(msgspec.Struct, frozen=True):
    """One entry of `/v1/models`; `parent` is the model that an adapter is for."""

    id: str
    max_model_len: Annotated[int, msgspec.Meta(le=1 << 53)] | None = None
    parent: str | None = None


class ModelList(msgspec.Struct, frozen=True):
    """The answer of `/v1/models`."""

    data: tuple[ServedModel, ...]


class VersionAnswer(msgspec.Struct, frozen=True):
    """The answer of `/version`. Its length is bounded because it goes into the store with the card."""

    version: Annotated[str, msgspec.Meta(max_length=200)]


class Description(msgspec.Struct, frozen=True):
    """What a port says of itself beside its page."""

    version: str
    models: tuple[ServedModel, ...]


def rank_names(target: Target, engines: Sequence[EngineSample]) -> tuple[str, ...]:
    """The ranks' ids in the pool, in the engines' order: `host:port`, with `#index` where several share the port."""
    if len(engines) == 1:
        return (target.name,)
    return tuple(f"{target.name}#{index}" for index in range(len(engines)))


def rank_card(
    rank: str, target: Target, engine: EngineSample, incarnation: str, about: Description, settings: AgentSettings
) -> RankCard:
    """The card of one engine.

    Raises DiscoveryError when the port does not serve the model, or hides its length or its KV capacity.
    """
    _, shares_port, index = rank.partition("#")
    return RankCard(
        rank=rank,
        endpoint=target.url,
        role=settings.rank_role,
        model=settings.model,
        incarnation=incarnation,
        node=settings.node_name,
        local_index=int(index) if shares_port else None,
        max_num_seqs=settings.max_num_seqs,
        max_model_len=_max_model_len(about.models, settings.model),
        kv_capacity_tokens=_kv_capacity_tokens(engine, settings),
        block_size=engine.cache.block_size if engine.cache else 0,
        engine_version=about.version,
        connector=settings.kv_connector,
        kv_geometry=_kv_geometry(engine),
        dp_group=settings.dp_group,
        labels=settings.label,
    )


def _max_model_len(models: Sequence[ServedModel], wanted: str) -> int:
    served = {model.id: model.max_model_len for model in models}
    if wanted not in served:
        names = ", ".join(sorted(served)) or "no model"
        raise DiscoveryError(f"serves {_shortened(names)}, not {wanted}")
    # A LoRA adapter's entry has no length of its own; its base model's holds.
    length = served[wanted] or max((length or 0 for length in served.values()), default=0)
    if length <= 0:
        raise DiscoveryError(f"/v1/models gives no max_model_len for {wanted}")
    return length


def _shortened(names: str) -> str:
    return names if len(names) <= _LONGEST_NAMES else f"{names[:_LONGEST_NAMES]}..."


def _kv_capacity_tokens(engine: EngineSample, settings: AgentSettings) -> int:
    if settings.kv_capacity_tokens:
        return settings.kv_capacity_tokens
    if engine.cache is None or engine.cache.capacity_tokens <= 0:
        raise DiscoveryError("the page tells no KV capacity (vllm:cache_config_info); give --kv-capacity-tokens")
    return engine.cache.capacity_tokens


def _kv_geometry(engine: EngineSample) -> str:
    """What two KV caches must have in common for blocks to move between them."""
    return f"block{engine.cache.block_size}-{engine.cache.dtype}" if engine.cache else ""
