"""What a request has cost in tokens. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


class Usage(msgspec.Struct, frozen=True):
    """Tokens of one request, of all its prompts and choices together.

    `cached_tokens` of the first prompt were cached, `created_tokens` of it are since; where the KV came from a prefill
    rank that said so, those are cached that were so there.
    """

    prompt_tokens: int
    completion_tokens: int
    cached_tokens: int
    created_tokens: int

    def shown(self, details: dict[str, Any] | None = None) -> dict[str, Any]:
        """OpenAI's `usage` as vLLM writes it whole; `details` are the prompt's."""
        return {
            "prompt_tokens": self.prompt_tokens,
            "total_tokens": self.prompt_tokens + self.completion_tokens,
            "completion_tokens": self.completion_tokens,
            "prompt_tokens_details": details,
            "completion_tokens_details": None,
        }


def cached_details(cached_tokens: int, created_tokens: int | None = None) -> dict[str, Any]:
    """The `prompt_tokens_details` of a usage."""
    return {"cached_tokens": cached_tokens, "created_cache_tokens": created_tokens, "multimodal_tokens": None}


def without_nulls(usage: dict[str, Any]) -> dict[str, Any]:
    """A usage as vLLM writes it in a stream."""
    shown = {name: without_nulls(value) if isinstance(value, dict) else value for name, value in usage.items()}
    return {name: value for name, value in shown.items() if value is not None}
