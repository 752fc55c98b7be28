"""The pools as vLLM lists models."""

from __future__ import annotations

import hashlib
from functools import partial
from http import HTTPStatus

import msgspec

from gateway.gateway import Gateway
from gateway.life import answer_until_gone
from gateway.placing import Pools
from gateway.request import Arrival

MODELS = "/v1/models"


class Models:
    """The models that have a pool, with ranks now or until a moment ago, and that the key may use."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway

    async def serve(self, arrival: Arrival) -> None:
        """Serve one request, once it is known which models there are. Raises NoRankError, ClientGoneError."""
        await answer_until_gone(arrival, partial(self._answer, arrival))

    async def _answer(self, arrival: Arrival) -> None:
        await self._gateway.readiness.of_pools(arrival.record)
        pools, key = self._gateway.pools, arrival.record.key
        names = [name for name in pools.known_names() if key is None or not key.models or name in key.models]
        cards = [_card(pools, name, self._gateway.started_s) for name in sorted(names)]
        body = msgspec.json.encode({"object": "list", "data": cards})
        await arrival.reply.whole(HTTPStatus.OK, [(b"content-type", b"application/json")], body)


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
