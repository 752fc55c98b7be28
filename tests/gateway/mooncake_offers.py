"""What a prefill rank of vllm-ascend's MooncakeConnectorV1 offers, for a prompt of 66 tokens."""

from typing import Any

OFFER: dict[str, Any] = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [[17]],
    "remote_engine_id": "5d2c7f1e-33c1-4a77-9c61-61d5b0a3f6a4_dp3",
    "remote_request_id": "cmpl-pdreq-0-0-8d724fd8",
    "remote_host": "10.0.0.1",
    "remote_port": 30012,
    "remote_pcp_size": 1,
    "remote_dcp_size": 1,
    "remote_ptp_size": 4,
    "last_token_id": 7,
    "remote_multi_nodes_meta_mapping": {
        str(offset): {"host": "10.0.0.1", "engine_id": f"worker-{offset}", "handshake_port": 30000 + offset}
        for offset in (12, 13, 14, 15)
    },
    "num_prompt_blocks": 1,
    "remote_block_size": 128,
}
"""Member for member as `request_finished` of August 2026 writes it."""

OLD_OFFER: dict[str, Any] = {
    "do_remote_prefill": True,
    "do_remote_decode": False,
    "remote_block_ids": [17],
    "remote_engine_id": "5d2c7f1e-33c1-4a77-9c61-61d5b0a3f6a4",
    "remote_host": "10.0.0.1",
    "remote_port": 30012,
}
"""The same as of August 2025."""
