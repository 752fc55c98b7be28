"""How long prompts and answers will be, learned from what the engines counted. Pure.

Estimates are means, never bounds. The first answer of an API replaces the guess of 256 output tokens.
"""

from __future__ import annotations

FIRST_BYTES_PER_TOKEN = 4.0
FIRST_OUTPUT_TOKENS = 256.0
MEMORY = 0.02
"""Weight of one observation: a mean over about the last 50 requests."""


class TokenEstimator:
    """Means for one pool: bytes of text per prompt token, and output tokens per API."""

    def __init__(self) -> None:
        self.bytes_per_token = FIRST_BYTES_PER_TOKEN
        self._output_tokens: dict[str, float] = {}

    def prompt_tokens(self, text_bytes: int) -> int:
        """Tokens of a prompt with that much text (data: URLs not counted); at least 1."""
        return max(1, round(text_bytes / self.bytes_per_token))

    def output_tokens(self, api: str, max_tokens: int | None) -> int:
        """Tokens a request will generate: what its API has generated on average, and never above its limit."""
        learned = round(self._output_tokens.get(api, FIRST_OUTPUT_TOKENS))
        return learned if max_tokens is None else min(max_tokens, learned)

    def observe(self, api: str, text_bytes: int, prompt_tokens: int, completion_tokens: int) -> None:
        """Learns from the usage of an answer."""
        if text_bytes > 0 and prompt_tokens > 0:
            self.bytes_per_token += MEMORY * (text_bytes / prompt_tokens - self.bytes_per_token)
        if completion_tokens > 0:
            former = self._output_tokens.get(api, float(completion_tokens))
            self._output_tokens[api] = former + MEMORY * (completion_tokens - former)
