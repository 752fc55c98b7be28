"""SGLang's bootstrap: both servers get the same request, with the prefill's address and a room to meet in. Pure.

Field names as SGLang's own routers send them (sgl-model-gateway: pd_router.rs, mini_lb.py). The prefill server sets its
limit to one token by itself and answers as it was asked, so its body is the decode server's, stream and limits
included. It computes a prompt only when the decode server has come to the room.
"""

from __future__ import annotations

import math

import msgspec
from msgspec import Raw

from gateway.connectors.connector import JointIds, JointLeg, Together
from scheduler.messages import KvAddress, RankCard


class SGLang(Together):
    """A side that waits in a room gives up by itself (SGLANG_DISAGGREGATION_BOOTSTRAP_TIMEOUT), after minutes."""

    begins_within_s = math.inf
    frees_by_end = False
    """Each server gives up by itself what was aborted there."""

    needs_length = False

    def lacks(self, prefill: RankCard) -> str:
        """Its bootstrap server."""
        kv = prefill.kv or KvAddress()
        return "" if kv.host and kv.port else "its bootstrap server"

    def prefill_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """The client's request and where to meet."""
        kv = prefill.kv or KvAddress()
        meeting = {"bootstrap_host": kv.host, "bootstrap_port": kv.port, "bootstrap_room": ids.room}
        return msgspec.json.encode(leg.fields | {name: Raw(msgspec.json.encode(it)) for name, it in meeting.items()})

    def decode_body(self, leg: JointLeg, prefill: RankCard, ids: JointIds) -> bytes:
        """The same."""
        return self.prefill_body(leg, prefill, ids)

    def freeing_params(self, prefill: RankCard, ids: JointIds) -> None:
        """Nothing is computed for a decode server that has not come."""
        return
