"""Any connector that pulls: NIXL's or vllm-ascend's, told apart by what the prefill rank answers. Pure.

It is for ranks of which nobody said what they have. The prefill leg suits either.
"""

from __future__ import annotations

from msgspec import Raw

from gateway.connectors.connector import Handover, PrefillFirst
from gateway.connectors.mooncake_pull import MooncakePull
from gateway.connectors.nixl import ASKS_FOR_KV, Nixl
from gateway.prefill_answer import PrefillAnswer
from scheduler.messages import RankCard

OF_NIXL = ("tp_size", "transfer_mode", "remote_num_tokens")
"""What vllm-ascend's params never have; NIXL's have always had the first of them."""


class Pull(PrefillFirst):
    """KV is held at least as long as NIXL's lease."""

    reach_within_s = min(Nixl.reach_within_s, MooncakePull.reach_within_s)
    prefill_min_tokens = MooncakePull.prefill_min_tokens

    def __init__(self) -> None:
        self._nixl = Nixl()
        self._mooncake = MooncakePull()

    def prefill_params(self) -> Raw:
        """The same for both."""
        return ASKS_FOR_KV

    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover | None:
        """The params as they are, if a decode rank of their kind survives them. Raises RankFailedError."""
        is_nixl = any(name in answer.fields for name in OF_NIXL)
        return (self._nixl if is_nixl else self._mooncake).handover(answer, prefill)
