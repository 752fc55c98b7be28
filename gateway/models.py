"""The pools as vLLM lists models. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable

from gateway.placing import Pools


def listing(pools: Pools, names: Iterable[str], created_s: int) -> dict[str, object]:
    """The body of GET /v1/models, of these `names`. `created_s` is a Unix time, for all cards."""
    return {"object": "list", "data": [_card(pools, name, created_s) for name in sorted(names)]}


def _card(pools: Pools, name: str, created_s: int) -> dict[str, object]:
    pool = pools.get(name)
    lengths = [rank.card.max_model_len for rank in pool.view.ranks.values()] if pool else []
    return {
        "id": name,
        "object": "model",
        "created": created_s,
        "owned_by": "forebay",
        "root": name,
        "parent": None,
        # A prompt may go to any rank, so the shortest context is the one to promise.
        "max_model_len": min(lengths, default=None),
        "permission": [_permission(name, created_s)],
    }


def _permission(name: str, created_s: int) -> dict[str, object]:
    return {
        "id": f"modelperm-{hashlib.blake2b(name.encode(), digest_size=8).hexdigest()}",
        "object": "model_permission",
        "created": created_s,
        "allow_create_engine": False,
        "allow_sampling": True,
        "allow_logprobs": True,
        "allow_search_indices": False,
        "allow_view": True,
        "allow_fine_tuning": False,
        "organization": "*",
        "group": None,
        "is_blocking": False,
    }
