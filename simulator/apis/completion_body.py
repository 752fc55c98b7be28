"""The bytes of /v1/completions answers, key for key as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator import logprobs, tokens
from simulator.answer_body import Stamp
from simulator.apis.choices_body import ChoicesBody
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage, cached_details

_encode = msgspec.json.encode


class CompletionBody(ChoicesBody):
    """Writes the answer to one completion request."""

    kind = chunk_kind = "text_completion"

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        super().__init__(generation, stamp)
        self._chunk_head = self._event_head + b',"choices":[{"index":%d,"text":'

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """One event, unless it was aborted before its first token; `echo` puts the prompt into the first."""
        if not choice.generated:
            return ()
        first = not choice.begun
        if first:
            text = self._echoed(choice) + text
        finish = choice.finish_reason
        last = finish is not None
        probs = b"null"
        if self._generation.logprobs is not None:
            probs = _encode(self._logprobs(choice, ids, with_prompt=first and self._generation.echo))
        wants_ids = self._generation.return_token_ids
        event = b"".join(
            (
                self._chunk_head % choice.index,
                _encode(text),
                b',"logprobs":',
                probs,
                b',"finish_reason":',
                _encode(finish),
                b',"stop_reason":',
                _encode(choice.stop_reason),
                b',"prompt_token_ids":',
                _encode(choice.prompt.ids) if wants_ids and first else b"null",
                b',"token_ids":',
                _encode(ids) if wants_ids else b"null",
                b"}]",
                self._so_far(choice, choice.generated),
                self._fingerprint_tail if last and not self._generation.include_usage else b"",
                b"}\n\n",
            )
        )
        return (event,)

    def usage_details(self, usage: Usage) -> dict[str, Any]:
        """What was cached before."""
        return cached_details(usage.cached_tokens)

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The answer that is not streamed."""
        return _encode(
            {
                **self._head(self.kind),
                "choices": [self._choice(choice) for choice in choices],
                "service_tier": None,
                "system_fingerprint": self._stamp.fingerprint,
                "usage": self.total(usage),
                "kv_transfer_params": choices[0].kv_transfer_params,
                "ec_transfer_params": None,
                "metrics": None,
            }
        )

    def _choice(self, choice: Choice) -> dict[str, Any]:
        asked = self._generation
        text = choice.text.take(finished=True)
        wants_probs = asked.logprobs is not None
        return {
            "index": choice.index,
            "text": self._echoed(choice) + text,
            "logprobs": self._logprobs(choice, choice.ids, with_prompt=asked.echo) if wants_probs else None,
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": choice.ids if asked.return_token_ids else None,
            "prompt_logprobs": logprobs.prompt_logprobs(choice.prompt.ids, asked.logprobs)
            if asked.echo and asked.logprobs is not None
            else None,
            "prompt_token_ids": choice.prompt.ids if asked.return_token_ids else None,
            "routed_experts": None,
        }

    def _echoed(self, choice: Choice) -> str:
        """The prompt's text, where it is asked for; vLLM leaves it out where it gives the prompt's ids."""
        return _prompt_text(choice) if self._generation.echo and not self._generation.return_token_ids else ""

    def _logprobs(self, choice: Choice, ids: list[int], *, with_prompt: bool) -> dict[str, Any]:
        ids = [*choice.prompt.ids, *ids] if with_prompt else ids
        found = logprobs.completion_logprobs(
            ids, self._generation.logprobs or 0, choice.offset, prompt_first=with_prompt
        )
        choice.offset += sum(map(len, found["tokens"]))
        return found


def _prompt_text(choice: Choice) -> str:
    prompt = choice.prompt
    return prompt.text if prompt.source == "text" else tokens.decode(prompt.ids)
