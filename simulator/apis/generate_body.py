"""The bytes of /inference/v1/generate answers, key for key as vLLM 0.32 writes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator import logprobs
from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError, as_event
from simulator.apis.choices_body import DONE
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage, cached_details, without_nulls

_encode = msgspec.json.encode


class GenerateBody(AnswerBody):
    """Writes the answer to one request; in the mode "text" the choices have that too."""

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        self._generation = generation
        self._stamp = stamp
        self._mode = generation.repeats["output_mode"]

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """One event."""
        asked = self._generation
        so_far = Usage(len(choice.prompt.ids), choice.generated, 0, 0).shown() if asked.continuous_usage else None
        event: dict[str, Any] = {"request_id": self._stamp.answer_id, "usage": so_far}
        if asked.return_token_ids and not choice.begun:
            event["prompt_token_ids"] = choice.prompt.ids
        event |= {"output_mode": self._mode, "choices": [self._choice(choice, text, ids)]}
        return (b"data: " + _encode(event) + b"\n\n",)

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The usage, if it is wanted, and the end."""
        del choices
        if not self._generation.include_usage:
            return (DONE,)
        total = without_nulls(self._total(usage))
        event = {"request_id": self._stamp.answer_id, "usage": total, "output_mode": self._mode, "choices": []}
        return b"data: " + _encode(event) + b"\n\n", DONE

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """The error, and the end."""
        return as_event(error), DONE

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The answer that is not streamed."""
        first = choices[0]
        return _encode(
            {
                "request_id": self._stamp.answer_id,
                "model": self._stamp.model,
                "created": self._stamp.created_s,
                "usage": self._total(usage),
                "prompt_logprobs": None,
                "prompt_token_id_logprobs": None,
                "prompt_token_ids": first.prompt.ids if self._generation.return_token_ids else None,
                "mm_placeholders": None,
                "metrics": None,
                "kv_transfer_params": first.kv_transfer_params,
                "ec_transfer_params": None,
                "output_mode": self._mode,
                "choices": [self._choice(each, each.text.take(finished=True), each.ids) for each in choices],
            }
        )

    def _total(self, usage: Usage) -> dict[str, Any]:
        return usage.shown(cached_details(usage.cached_tokens) if self._generation.shows_cached else None)

    def _choice(self, choice: Choice, text: str, ids: list[int]) -> dict[str, Any]:
        finished = choice.finish_reason is not None and choice.generated > 0
        versions = [{"version": "default", "start": 0, "end": choice.generated}] if finished else None
        found: dict[str, Any] = {
            "index": choice.index,
            "finish_reason": choice.finish_reason,
            "stop_reason": choice.stop_reason,
            "token_ids": ids,
            "routed_experts": None,
            "sampling_mask": None,
            "weight_versions": versions,
        }
        if self._mode == "text":
            found["text"] = text
        return found | {"logprobs": self._logprobs(ids)}

    def _logprobs(self, ids: list[int]) -> dict[str, Any] | None:
        top = self._generation.logprobs
        if top is None:
            return None
        return logprobs.chat_logprobs(ids, top) if self._mode == "text" else logprobs.id_logprobs(ids, top)
