"""How long a step of the simulated engine takes, in virtual time too. Pure."""

from __future__ import annotations

import msgspec

from simulator.settings import RankSettings


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of a step: base + prefill tokens / rate + attended pairs x cost of each + decoding sequences x theirs.

    The base is `prefill_step_s` where any token is prefilled, else `decode_step_s`. So an uncached prompt alone takes
    20 ms + tokens/8000 s per step of `max_num_batched_tokens`, and n decoding sequences get a token each 6 + 0.35 n ms.

    Attention makes a prefill token dearer the more context is before it: it costs `attention_s_per_pair` for each token
    that it looks at. Source of the form: 2 x parameters + 4 x layers x hidden size x context FLOPs a token (Kaplan et
    al. 2020, arXiv:2001.08361, section 2.1, without the halves of causality, which the pairs already leave out). For
    Llama 3 8B (32 layers, hidden size 4,096: 16.1 G and 0.52 M a pair) both parts are equal 30,600 tokens into a
    prompt, or over a whole prompt of 61,000; at 8,000 tokens a second that is 4.1 ms for a million pairs.

    Decoding has no such term: `decode_s_per_seq` stands for the KV that a sequence of ordinary length has read. 0.35 ms
    at 3.35 TB/s is that of 9,000 tokens of 128 KiB, and a step's length stays the same while a batch decodes.
    """

    prefill_tokens_per_s: float
    attention_s_per_pair: float
    prefill_step_s: float
    decode_step_s: float
    decode_s_per_seq: float
    kv_transfer_tokens_per_s: float
    kv_transfer_base_s: float

    def step_s(self, prefill_tokens: int, decode_seqs: int, pairs: int = 0, loaded_tokens: int = 0) -> float:
        """Seconds a step takes that prefills so many tokens and decodes one token of each of so many sequences.

        `pairs` are the attended pairs of what is prefilled; the KV of `loaded_tokens` comes out of a store before.
        """
        base_s = self.prefill_step_s if prefill_tokens else self.decode_step_s
        prefill_s = prefill_tokens / self.prefill_tokens_per_s + pairs * self.attention_s_per_pair
        load_s = self.kv_transfer_s(loaded_tokens) if loaded_tokens else 0.0
        return base_s + load_s + prefill_s + decode_seqs * self.decode_s_per_seq

    def prompt_s(self, tokens: int, max_num_batched_tokens: int) -> float:
        """Seconds that a rank which does nothing else takes for a prompt that it knows nothing of."""
        whole, rest = divmod(tokens, max_num_batched_tokens)
        rest_s = self.step_s(rest, 0) if rest else 0.0
        attention_s = attended_pairs(0, tokens) * self.attention_s_per_pair
        return whole * self.step_s(max_num_batched_tokens, 0) + rest_s + attention_s

    def kv_transfer_s(self, tokens: int) -> float:
        """Seconds it takes to pull the KV of so many tokens from another engine."""
        return self.kv_transfer_base_s + tokens / self.kv_transfer_tokens_per_s


def attended_pairs(context_tokens: int, tokens: int) -> int:
    """Of so many tokens behind a context: the pairs of one of them and a token that it looks at, itself included."""
    return tokens * (2 * context_tokens + tokens + 1) // 2


def timing_of(settings: RankSettings) -> Timing:
    """The timing these settings describe, all times divided by `speed`."""
    per_ms = 1e-3 / settings.speed
    return Timing(
        prefill_tokens_per_s=settings.prefill_tokens_per_s * settings.speed,
        attention_s_per_pair=settings.attention_ms_per_million_pairs * per_ms / 1e6,
        prefill_step_s=settings.prefill_step_ms * per_ms,
        decode_step_s=settings.decode_step_ms * per_ms,
        decode_s_per_seq=settings.decode_ms_per_seq * per_ms,
        kv_transfer_tokens_per_s=settings.kv_transfer_tokens_per_s * settings.speed,
        kv_transfer_base_s=settings.kv_transfer_base_ms * per_ms,
    )
