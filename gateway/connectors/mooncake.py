"""vLLM's MooncakeConnector: the decode rank asks the prefill rank for a transfer by its name, before or after. Pure.

Protocol and field names as of vLLM 0.32 (vllm/distributed/kv_transfer/kv_connector/v1/mooncake). Whoever of the two is
first waits for the other; nothing of the prefill rank's answer is needed.
"""

from __future__ import annotations

import math

import msgspec
from msgspec import Raw

from gateway.connectors.connector import JointIds, JointLeg, Together
from gateway.leg_bodies import decode_body, prefill_body
from scheduler.messages import KvAddress, RankCard


class Mooncake(Together):
    """KV that nobody asks for is kept for 480 s (VLLM_MOONCAKE_ABORT_REQUEST_TIMEOUT)."""

    begins_within_s = math.inf
    """A decode rank may come for it that late."""

    frees_by_end = True
    """Else it waits for its own time-out, as long again."""

    needs_length = True

    def lacks(self, prefill: RankCard) -> str:
        """Its engine's id and bootstrap server."""
        kv = prefill.kv or KvAddress()
        return "" if kv.engine_id and kv.bootstrap_url else "its engine id and bootstrap server"

    def prefill_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """One token, and no end before it: a prefill that does not end at its limit sends nothing."""
        params = {"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": ids.transfer_id}
        return prefill_body(leg.api, leg.fields, Raw(msgspec.json.encode(params)), min_tokens=1)

    def decode_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """Whom to ask for the transfer."""
        return decode_body(leg.fields, _asks_for(prefill, ids))

    def freeing_params(self, prefill: RankCard, ids: JointIds) -> Raw:
        """A decode rank that refuses a request asks for its transfer without blocks, which frees it."""
        return _asks_for(prefill, ids)


def _asks_for(prefill: RankCard, ids: JointIds) -> Raw:
    kv = prefill.kv or KvAddress()
    params = {
        "do_remote_decode": False,
        "do_remote_prefill": True,
        "remote_bootstrap_addr": kv.bootstrap_url,
        "remote_engine_id": kv.engine_id,
        "transfer_id": ids.transfer_id,
    }
    return Raw(msgspec.json.encode(params))
