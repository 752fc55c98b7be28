"""The bytes of /v1/chat/completions answers, key for key as vLLM 0.32 writes them."""

from __future__ import annotations

from typing import Any

import msgspec

from simulator import logprobs
from simulator.answer_body import AnswerBody
from simulator.choice import Choice
from simulator.generation import Generation

_encode = msgspec.json.encode


class ChatBody(AnswerBody):
    """Writes the answer to one chat request."""

    kind = "chat.completion"
    chunk_kind = "chat.completion.chunk"

    def __init__(self, generation: Generation, answer_id: str, created_s: int, model: str, fingerprint: str) -> None:
        super().__init__(generation, answer_id, created_s, model, fingerprint)
        self._chunk_head = self._event_head + b',"choices":[{"index":%d,"delta":{'

    def first(self, choice: Choice, usage: bytes) -> bytes:
        """The event that names the role."""
        return b"".join(
            (
                self._chunk_head % choice.index,
                b'"role":"assistant","content":""},"logprobs":null,"finish_reason":null}]',
                usage,
                b',"prompt_token_ids":',
                _encode(choice.prompt.ids if self._generation.return_token_ids else None),
                b',"prompt_text":null}\n\n',
            )
        )

    def delta(self, choice: Choice, text: str, ids: list[int], usage: bytes) -> bytes:
        """One event: the text and ids that came, and the finish if they are the last."""
        finish = choice.finish_reason
        last = finish is not None
        return b"".join(
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
                usage,
                self._fingerprint_tail if last and not self._generation.include_usage else b"",
                b"}\n\n",
            )
        )

    def whole(self, choices: list[Choice], usage: dict[str, Any]) -> bytes:
        """The answer that is not streamed."""
        wants_ids = self._generation.return_token_ids
        return _encode(
            {
                **self._head(self.kind),
                "choices": [self._choice(choice) for choice in choices],
                "service_tier": None,
                "system_fingerprint": self._fingerprint,
                "usage": usage,
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
