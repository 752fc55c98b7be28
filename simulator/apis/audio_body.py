"""The bytes of audio answers, as vLLM 0.32's source writes them: nobody captured any."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec

from simulator.answer_body import AnswerBody, Stamp
from simulator.api_errors import ApiError, as_event
from simulator.apis.choices_body import DONE
from simulator.choice import Choice
from simulator.generation import Generation
from simulator.usage import Usage

_encode = msgspec.json.encode


class AudioBody(AnswerBody):
    """Writes one text; `kind` is the name of its chunks. A transcription says how long the sound was."""

    kind = "transcription.chunk"

    def __init__(self, generation: Generation, stamp: Stamp) -> None:
        self._generation = generation
        self._stamp = stamp

    def delta(self, choice: Choice, text: str, ids: list[int]) -> Sequence[bytes]:
        """One event, if there is any text or it is the last."""
        del ids
        if choice.finish_reason is None and not text:
            return ()
        said: dict[str, Any] = {"delta": {"content": text}}
        if choice.finish_reason is not None:
            said |= {"finish_reason": choice.finish_reason, "stop_reason": choice.stop_reason}
        usage = {}
        if self._generation.continuous_usage:
            usage = {"usage": _counted(Usage(len(choice.prompt.ids), choice.generated, 0, 0))}
        return (self._event([said], usage),)

    def ending(self, choices: list[Choice], usage: Usage) -> Sequence[bytes]:
        """The usage, if it is wanted, and the end."""
        del choices
        if not self._generation.include_usage:
            return (DONE,)
        return self._event([], {"usage": _counted(usage)}), DONE

    def failure(self, error: ApiError) -> Sequence[bytes]:
        """The error, and the end."""
        return as_event(error), DONE

    def whole(self, choices: list[Choice], usage: Usage) -> bytes:
        """The text."""
        del usage
        return _encode({"text": choices[0].text.take(finished=True), **self.told()})

    def told(self) -> dict[str, Any]:
        """What is said beside the text."""
        return {"usage": {"type": "duration", "seconds": self._generation.repeats["seconds"]}}

    def _event(self, choices: list[dict[str, Any]], usage: dict[str, Any]) -> bytes:
        stamp = self._stamp
        head = {"id": stamp.answer_id, "object": self.kind, "created": stamp.created_s}
        return b"data: " + _encode({**head, "choices": choices, "model": stamp.model, **usage}) + b"\n\n"


class TranslationBody(AudioBody):
    """Writes one text, and nothing beside it."""

    kind = "translation.chunk"

    def told(self) -> dict[str, Any]:
        """Nothing."""
        return {}


def _counted(usage: Usage) -> dict[str, int]:
    return {
        "prompt_tokens": usage.prompt_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
        "completion_tokens": usage.completion_tokens,
    }
