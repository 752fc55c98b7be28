"""vLLM's NixlPushConnector: the decode rank says where its blocks are, and the prefill rank writes into them. Pure.

Protocol and field names as of vLLM 0.32 (vllm/distributed/kv_transfer/kv_connector/v1/nixl/push_scheduler.py). The
ranks match their legs by the X-Request-Id and the API; newer ones by `transfer_id`, which 0.32 ignores.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec
from msgspec import Raw

from gateway.connectors.connector import JointIds, JointLeg, Together
from gateway.leg_bodies import decode_body, prefill_body
from scheduler.messages import KvAddress, RankCard


class NixlPush(Together):
    """The prefill rank holds its blocks under a lease of 30 s for a decode rank that has not registered yet."""

    begins_within_s = 40.0
    """The lease, and what a transfer and a first step take at the worst. Nothing renews it: vLLM's open issue 53095."""

    frees_by_end = True
    """vLLM's watchdog of registrations gives up after 480 s, and frees nothing."""

    needs_length = False

    def lacks(self, prefill: RankCard) -> str:
        """Its engine's id and side channel."""
        kv = prefill.kv or KvAddress()
        return "" if kv.engine_id and kv.host and kv.port else "its engine id and side channel"

    def prefill_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """One token; the nulls of the pull connector, and the transfer's name."""
        params = {
            "do_remote_decode": True,
            "do_remote_prefill": False,
            "remote_engine_id": None,
            "remote_block_ids": None,
            "remote_host": None,
            "remote_port": None,
            "transfer_id": ids.transfer_id,
        }
        return prefill_body(leg.api, leg.fields, Raw(msgspec.json.encode(params)))

    def decode_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """Where the prefill rank is, and no block ids: it is told the decode rank's."""
        kv = prefill.kv or KvAddress()
        params = {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "remote_engine_id": kv.engine_id,
            "remote_request_id": ids.request_id,
            "remote_host": kv.host,
            "remote_port": kv.port,
            "tp_size": kv.tp_size,
            "pp_size": kv.pp_size,
            "transfer_id": ids.transfer_id,
        }
        return decode_body(leg.fields, Raw(msgspec.json.encode(params)))

    def is_of_another_life(self, params: Mapping[str, Any], prefill: RankCard) -> bool:
        """By the engine's id: the decode rank was sent to another one, and would wait for it."""
        told = params.get("remote_engine_id")
        return told is not None and prefill.kv is not None and told != prefill.kv.engine_id

    def freeing_params(self, prefill: RankCard, ids: JointIds) -> None:
        """The lease's end frees it."""
        return
