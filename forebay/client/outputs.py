"""Answers, in the shape of vLLM's RequestOutput. Pure."""

from __future__ import annotations

from typing import Any

import msgspec


class CompletionOutput(msgspec.Struct, frozen=True, kw_only=True):
    """One answer. `token_ids` is None unless `LLM(token_ids=True)` asked for them; `logprobs` as the API has them.

    `reasoning` is what a reasoning parser has taken out of a chat's answer.
    """

    index: int
    text: str
    finish_reason: str | None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    logprobs: Any = None
    reasoning: str | None = None
    tool_calls: list[Any] = []

    def finished(self) -> bool:
        """Whether it came to an end."""
        return self.finish_reason is not None


class RequestOutput(msgspec.Struct, frozen=True, kw_only=True):
    """The answers to one prompt; `prompt` is None for token ids and chats."""

    request_id: str
    prompt: str | None
    prompt_token_ids: list[int] | None
    outputs: list[CompletionOutput]
    num_prompt_tokens: int | None = None
    num_cached_tokens: int | None = None
    finished: bool = True


class _Message(msgspec.Struct):
    content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Any] | None = None


class _Choice(msgspec.Struct):
    index: int
    text: str | None = None
    message: _Message | None = None
    finish_reason: str | None = None
    stop_reason: int | str | None = None
    token_ids: list[int] | None = None
    prompt_token_ids: list[int] | None = None
    logprobs: Any = None


class _Details(msgspec.Struct):
    cached_tokens: int | None = None


class _Usage(msgspec.Struct):
    prompt_tokens: int | None = None
    prompt_tokens_details: _Details | None = None


class _Answer(msgspec.Struct):
    id: str
    choices: list[_Choice]
    usage: _Usage | None = None
    prompt_token_ids: list[int] | None = None


def output_of(body: bytes | msgspec.Raw, prompt: str | None, prompt_token_ids: list[int] | None) -> RequestOutput:
    """From the body of a completion or a chat completion. Raises msgspec.DecodeError where it is neither."""
    answer = msgspec.json.decode(body, type=_Answer)
    first = answer.choices[0] if answer.choices else _Choice(index=0)
    usage = answer.usage or _Usage()
    return RequestOutput(
        request_id=answer.id,
        prompt=prompt,
        prompt_token_ids=prompt_token_ids or answer.prompt_token_ids or first.prompt_token_ids,
        outputs=[_completion(choice) for choice in sorted(answer.choices, key=lambda each: each.index)],
        num_prompt_tokens=usage.prompt_tokens,
        num_cached_tokens=usage.prompt_tokens_details.cached_tokens if usage.prompt_tokens_details else None,
    )


def _completion(choice: _Choice) -> CompletionOutput:
    message = choice.message or _Message(content=choice.text)
    return CompletionOutput(
        index=choice.index,
        text=message.content or "",
        finish_reason=choice.finish_reason,
        stop_reason=choice.stop_reason,
        token_ids=choice.token_ids,
        logprobs=choice.logprobs,
        reasoning=message.reasoning,
        tool_calls=message.tool_calls or [],
    )
