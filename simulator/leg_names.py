"""What the legs of a request are called to other ranks.

vLLM adds eight random digits to the id of each request that an engine gets.
"""

from __future__ import annotations

from uuid import uuid4

import msgspec

from simulator.generation import Generation
from simulator.layer_params import LayerLeg
from simulator.settings import RankSettings
from simulator.transfer_params import RemoteKv


def kv_name(generation: Generation, engine_id: str, settings: RankSettings) -> str:
    """The name of the KV that is kept for another rank; empty where none is."""
    if not generation.keeps_kv:
        return ""
    return (generation.kv_key or engine_id) if settings.is_joint else _drawn(engine_id)


def named_pull(pull: RemoteKv | None, engine_id: str) -> RemoteKv | None:
    """NIXL's push finds the prefill leg by the request's own id."""
    if pull is None or not pull.joint or pull.request_id:
        return pull
    return msgspec.structs.replace(pull, request_id=engine_id)


def named_layers(leg: LayerLeg | None, engine_id: str) -> LayerLeg | None:
    """A leg whose KV goes by layers, under the id that its engine knows it by."""
    return leg and msgspec.structs.replace(leg, engine_request_id=_drawn(engine_id))


def _drawn(engine_id: str) -> str:
    return f"{engine_id}-{uuid4().hex[:8]}"
