"""Ranks that share a store of KV, where each finds a prompt's blocks by their hashes. Pure.

LMCache, vLLM's MooncakeStoreConnector and OffloadingConnector, vllm-ascend's AscendStoreConnector.
"""

from __future__ import annotations

import math

from gateway.connectors.connector import Handover, PrefillFirst
from gateway.prefill_answer import PrefillAnswer
from scheduler.messages import RankCard


class Store(PrefillFirst):
    """Neither leg names any KV. The decode rank computes what it does not find, so nothing is held and nothing late."""

    reach_within_s = math.inf

    def prefill_params(self) -> None:
        """None: it saves what it computes, whoever asks."""

    def handover(self, answer: PrefillAnswer, prefill: RankCard) -> Handover:
        """Only what the prefill rank had cached, for the client."""
        del prefill
        return Handover(params=None, hosts=(), cached_tokens=answer.cached_tokens)
