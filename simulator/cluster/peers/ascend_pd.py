"""vllm-ascend's proxy for prefill and decode ranks: the least of a score of what it has sent itself. Pure.

Source: https://github.com/vllm-project/vllm-ascend at 182b75e,
examples/disaggregated_prefill_v1/load_balance_proxy_server_example.py (calculate_prefill_score, begin_request,
pick_decoder, release_prefill_kv_once, _priority).

A prompt scores bytes / 4 x 0.0345 + 120.0745 on its prefill rank, as KV that is held there until the first chunk of the
decode rank's answer; the prefill rank of the least score gets the next. The decode rank is chosen when the prefill is
done, by the least bytes of the prompts that decode there; they count to the end. The first of several is taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from scheduler.decision import LegKind
from simulator.cluster.peers.ascend_external_dp import BYTES_PER_TOKEN
from simulator.cluster.peers.rule import Leg, Rule
from simulator.cluster.peers.tally import Tally
from simulator.cluster.request import SimRequest

SCORE_PER_TOKEN = 0.0345
SCORE_OF_ANY = 120.0745


class AscendPd(Rule):
    """A mixed rank is one more prefill rank, whose answer's first chunk releases it."""

    decodes_late: ClassVar[bool] = True

    def __init__(self) -> None:
        self._kv_scores, self._decoding_bytes = Tally(), Tally()

    def prefill_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return min(ranks, key=self._kv_scores.of)

    def decode_rank(self, request: SimRequest, ranks: Sequence[str]) -> str:
        """See Rule."""
        return min(ranks, key=self._decoding_bytes.of)

    def began(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.DECODE:
            self._decoding_bytes.add(leg.rank, _bytes(leg))
        else:
            self._kv_scores.add(leg.rank, _score(leg))

    def answered(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is not LegKind.DECODE:
            self._kv_scores.add(leg.rank, -_score(leg))

    def ended(self, leg: Leg) -> None:
        """See Rule."""
        if leg.kind is LegKind.DECODE:
            self._decoding_bytes.add(leg.rank, -_bytes(leg))


def _bytes(leg: Leg) -> int:
    return leg.request.prompt_tokens * BYTES_PER_TOKEN


def _score(leg: Leg) -> float:
    return leg.request.prompt_tokens * SCORE_PER_TOKEN + SCORE_OF_ANY
