"""The bytes of /v1/chat/completions answers, key for key as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator import logprobs
from simulator.answer_body import Stamp
from simulator.apis.choices_body import ChoicesBody
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage, cached_details

_encode = msgspec.json.encode


class ChatBody(ChoicesBody):
    """Writes the answer to one chat request."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        super().__init__(generation, stamp)
        self._chunk_head = self._event_head + b',"choices":[{"index":%d,"delta":{'

    def first(self, choice: Choice) -> Sequence[bytes]:
        """The event that names the role."""
        event = b"".join(
            (
                self._chunk_head % choice.index,
                b'"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]',
                self._so_far(choice, 0),
                b',"prompt_token_ids":',
                _encode(choice.prompt.ids if self._generation.return_token_ids else None),
                b',"prompt_text":null}\n\n',
            )
        )
        return (event,)

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """One event, unless it was aborted before its first token."""
        if not choice.generated:
            return ()
        finish = choice.finish_reason
        last = finish is not None
        event = b"".join(
            (
                self._chunk_head % choice.index,
                b'"content":',
                _encode(text),
                b'},"logprobs":',
                b"null" if self._generation.logprobs is None else _encode(self._logprobs(ids)),
                b',"finish_reason":',
                _encode(finish),
                b',"stop_reason":' + _encode(choice.stop_reason) if last else b"",
                b',"token_ids":',
                _encode(ids) if self._generation.return_token_ids else b"null",
                b"}]",
                self._so_far(choice, choice.generated),
                self._fingerprint_tail if last and not self._generation.include_usage else b"",
                b"}\n\n",
            )
        )
        return (event,)

    def usage_details(self, usage: Usage) -> dict[str, Any]:
        """What was cached before, and what is since."""
        return cached_details(usage.cached_tokens, usage.created_tokens)

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The answer that is not streamed."""
        wants_ids = self._generation.return_token_ids
        return _encode(
            {
                **self._head(self.kind),
                "choices": [self._choice(choice) for choice in choices],
                "service_tier": None,
                "system_fingerprint": self._stamp.fingerprint,
                "usage": self.total(usage),
                "prompt_logprobs": None,
                "prompt_token_ids": choices[0].prompt.ids if wants_ids else None,
                "prompt_text": None,
                "kv_transfer_params": choices[0].kv_transfer_params,
                "ec_transfer_params": None,
                "metrics": None,
            }
        )

    def _choice(self, choice: Choice) -> dict[str, Any]:
        return {
            "index": choice.index,
            "message": {
                "role": "assistant",
                "content": choice.text.take(finished=True),
                "refusal": None,
                "annotations": None,
                "audio": None,
                "function_call": None,
                "reasoning": None,
            },
            "logprobs": None if self._generation.logprobs is None else self._logprobs(choice.ids),
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": choice.ids if self._generation.return_token_ids else None,
            "routed_experts": None,
        }

    def _logprobs(self, ids: list[int]) -> dict[str, Any]:
        return logprobs.chat_logprobs(ids, self._generation.logprobs or 0)
