"""How answers are sampled, by the names and defaults of vLLM's SamplingParams. Pure."""

from __future__ import annotations

from typing import Any

import msgspec

ALWAYS_SENT = ("temperature", "top_p", "max_tokens")
"""A server's own defaults are those of the model; here vLLM's hold, as they do offline."""


class SamplingParams(msgspec.Struct, frozen=True, kw_only=True):
    """`logprobs`: alternatives per token. `extra`: further fields of the request, as the server's API has them."""

    n: int = 1
    temperature: float = 1.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    presence_penalty: float = 0.0
    frequency_penalty: float = 0.0
    repetition_penalty: float = 1.0
    seed: int | None = None
    stop: str | list[str] | None = None
    stop_token_ids: list[int] | None = None
    include_stop_str_in_output: bool = False
    ignore_eos: bool = False
    max_tokens: int | None = 16
    min_tokens: int = 0
    logprobs: int | None = None
    skip_special_tokens: bool = True
    spaces_between_special_tokens: bool = True
    extra: dict[str, Any] = {}

    def as_completion(self) -> dict[str, Any]:
        """The fields of a request to /v1/completions."""
        return self._fields() | ({} if self.logprobs is None else {"logprobs": self.logprobs}) | self.extra

    def as_chat(self) -> dict[str, Any]:
        """The fields of a request to /v1/chat/completions."""
        logprobs = {} if self.logprobs is None else {"logprobs": True, "top_logprobs": self.logprobs}
        return self._fields() | logprobs | self.extra

    def _fields(self) -> dict[str, Any]:
        """Those that are not as the API has them anyway: not every server knows all of them."""
        defaults = {field.name: field.default for field in msgspec.structs.fields(self)}
        values = {name: getattr(self, name) for name in defaults if name not in {"logprobs", "extra"}}
        return {
            name: value
            for name, value in values.items()
            if value is not None and (name in ALWAYS_SENT or value != defaults[name])
        }
