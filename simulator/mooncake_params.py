"""`kv_transfer_params` as vllm-ascend's MooncakeConnectorV1 reads and writes them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import msgspec

from simulator import transfer_params
from simulator.transfer_params import KvOffer, RemoteKv, members

_WORKER: Final = "0"
"""The distance of the one worker's port to the engine's first one: itself."""


def offered(offer: KvOffer, block_size_tokens: int, last_token: int) -> dict[str, Any]:
    """The object in a prefill rank's answer, key for key; `last_token` is the one it generated."""
    return {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [list(offer.block_ids)],
        "remote_engine_id": offer.engine_id,
        "remote_request_id": offer.request_id,
        "remote_host": offer.host,
        "remote_port": offer.port,
        "remote_pcp_size": 1,
        "remote_dcp_size": 1,
        "remote_ptp_size": 1,
        "last_token_id": last_token,
        "remote_multi_nodes_meta_mapping": {
            _WORKER: {"host": offer.host, "engine_id": offer.engine_id, "handshake_port": offer.port}
        },
        "num_prompt_blocks": -(-offer.num_tokens // block_size_tokens),
        "remote_block_size": block_size_tokens,
    }


def remote_kv(body: Mapping[str, Any]) -> RemoteKv | None:
    """The KV the request names, if any; of a worker that is listed the host and engine are those listed."""
    remote = transfer_params.remote_kv(body)
    nodes = members(body).get("remote_multi_nodes_meta_mapping")
    worker = nodes.get(_WORKER) if isinstance(nodes, dict) else None
    if remote is None or not isinstance(worker, dict):
        return remote
    host, engine_id = worker.get("host", remote.host), worker.get("engine_id", remote.engine_id)
    return msgspec.structs.replace(remote, host=transfer_params.text(host), engine_id=transfer_params.text(engine_id))
