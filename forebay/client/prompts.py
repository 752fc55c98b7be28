"""What a caller may give as prompts and chats, read into single requests. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from forebay.client.sampling_params import SamplingParams

COMPLETIONS, CHATS = "/v1/completions", "/v1/chat/completions"


class Asked(msgspec.Struct, frozen=True):
    """One request: its path, its body but for the model, and of its prompt what is known."""

    path: str
    fields: dict[str, Any]
    prompt: str | None = None
    prompt_token_ids: list[int] | None = None


def prompts_of(given: Any) -> list[str | list[int]]:
    """A text, token ids, `{"prompt": ...}` or `{"prompt_token_ids": ...}`, one or a list. Raises TypeError."""
    if isinstance(given, str | Mapping) or (_is_list(given) and given and _is_number(given[0])):
        return [_prompt(given)]
    if not _is_list(given):
        raise TypeError(f"prompts: expected a text, token ids, or a list of these, and not {type(given).__name__}")
    return [_prompt(each) for each in given]


def chats_of(given: Any) -> list[list[dict[str, Any]]]:
    """One chat, a list of messages, or a list of chats. Raises TypeError."""
    if not _is_list(given):
        raise TypeError(f"messages: expected a list of messages or of chats, and not {type(given).__name__}")
    chats = [given] if given and isinstance(given[0], Mapping) else given
    if not all(_is_list(chat) and chat and all(isinstance(each, Mapping) for each in chat) for chat in chats):
        raise TypeError("messages: expected each chat to be a list of messages, and each message a dict")
    return [[dict(each) for each in chat] for chat in chats]


def params_for(count: int, given: SamplingParams | Sequence[SamplingParams] | None) -> list[SamplingParams]:
    """The same for all, or one each. Raises TypeError, and ValueError where the numbers differ."""
    if given is None or isinstance(given, SamplingParams):
        return [given or SamplingParams()] * count
    if not _is_list(given) or not all(isinstance(each, SamplingParams) for each in given):
        raise TypeError("sampling_params: expected SamplingParams, or a list with one for each prompt")
    if len(given) != count:
        raise ValueError(f"sampling_params: there are {len(given)} for {count} prompts")
    return list(given)


def completion(prompt: str | list[int], params: SamplingParams) -> Asked:
    """The request for one prompt."""
    known = {"prompt": prompt} if isinstance(prompt, str) else {"prompt_token_ids": prompt}
    return Asked(COMPLETIONS, {"prompt": prompt, **params.as_completion()}, **known)


def chat(messages: list[dict[str, Any]], params: SamplingParams, further: Mapping[str, Any]) -> Asked:
    """The request for one chat."""
    return Asked(CHATS, {"messages": messages, **params.as_chat(), **further})


def _prompt(given: Any) -> str | list[int]:
    if isinstance(given, Mapping):
        given = given.get("prompt_token_ids") or given.get("prompt")
    if isinstance(given, str):
        return given
    if _is_list(given) and given and all(map(_is_number, given)):
        return list(given)
    raise TypeError("prompts: expected each to be a text, a list of token ids, or a dict with one of these")


def _is_list(given: Any) -> bool:
    return isinstance(given, Sequence) and not isinstance(given, str | bytes)


def _is_number(given: Any) -> bool:
    return isinstance(given, int) and not isinstance(given, bool)
