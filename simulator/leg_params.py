"""What a rank writes into and reads out of `kv_transfer_params`, by its connector. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from simulator import mooncake_params, transfer_params
from simulator.settings import RankSettings
from simulator.transfer_params import KvOffer, RemoteKv


def offered(settings: RankSettings, offer: KvOffer, last_token: int) -> dict[str, Any]:
    """The params of KV that is kept for another rank."""
    if settings.connector == "mooncake_pull":
        return mooncake_params.offered(offer, settings.block_size_tokens, last_token)
    return offer.params()


def remote_kv(settings: RankSettings, body: Mapping[str, Any]) -> RemoteKv | None:
    """The KV a request names, if any."""
    if settings.connector == "mooncake_pull":
        return mooncake_params.remote_kv(body)
    return transfer_params.remote_kv(body)
