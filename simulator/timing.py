"""How long a step of the simulated engine takes, in virtual time too. Pure."""

from __future__ import annotations

import msgspec

from simulator.settings import RankSettings


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a step: base + prefill tokens / rate + decoding sequences x cost of each.

    The base is `prefill_step_s` where any token is prefilled, else `decode_step_s`. So an uncached prompt alone takes
    20 ms + tokens/8000 s per step of `max_num_batched_tokens`, and n decoding sequences get a token each 6 + 0.35 n ms.
    """

    prefill_tokens_per_s: float
    prefill_step_s: float
    decode_step_s: float
    decode_s_per_seq: float
    kv_transfer_tokens_per_s: float
    kv_transfer_base_s: float

    def step_s(self, prefill_tokens: int, decode_seqs: int) -> float:
        """Seconds a step takes that prefills so many tokens and decodes one token of each of so many sequences."""
        base_s = self.prefill_step_s if prefill_tokens else self.decode_step_s
        return base_s + prefill_tokens / self.prefill_tokens_per_s + decode_seqs * self.decode_s_per_seq

    def kv_transfer_s(self, tokens: int) -> float:
        """Seconds it takes to pull the KV of so many tokens from another engine."""
        return self.kv_transfer_base_s + tokens / self.kv_transfer_tokens_per_s


def timing_of(settings: RankSettings) -> Timing:
    """The timing these settings describe, all times divided by `speed`."""
    per_ms = 1e-3 / settings.speed
    return Timing(
        prefill_tokens_per_s=settings.prefill_tokens_per_s * settings.speed,
        prefill_step_s=settings.prefill_step_ms * per_ms,
        decode_step_s=settings.decode_step_ms * per_ms,
        decode_s_per_seq=settings.decode_ms_per_seq * per_ms,
        kv_transfer_tokens_per_s=settings.kv_transfer_tokens_per_s * settings.speed,
        kv_transfer_base_s=settings.kv_transfer_base_ms * per_ms,
    )
