"""What the model is to continue: token ids from a text, ids or a conversation, and the room they leave. Pure."""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from simulator import chat_template, tokens
from simulator.api_errors import ApiError, bad_request, bad_value
from simulator.settings import RankSettings


class Prompt(msgspec.Struct, frozen=True):
    """One prompt's ids and where they came from; a chat has been rendered and has no text of its own.

    `forwarded` ids came beside a chat, in its kv_transfer_params.
    """

    ids: list[int]
    source: Literal["text", "ids", "chat", "forwarded"]
    text: str = ""


def forwarded_prompt(ids: Any) -> Prompt:
    """A chat's prompt by its ids, in place of its messages; raises ApiError for what are none."""
    param = "kv_transfer_params.prompt_token_ids"
    if not isinstance(ids, list) or not ids or any(type(token) is not int or token < 0 for token in ids):
        text = "`kv_transfer_params['prompt_token_ids']` must be a non-empty list of non-negative integers."
        raise bad_value(text, param)
    unknown = tokens.first_unknown(ids)
    if unknown is not None:
        raise bad_value(f"Token id {unknown} is out of vocabulary", param)
    return Prompt(ids, "forwarded")


def chat_prompt(messages: list[dict[str, Any]], settings: RankSettings) -> Prompt:
    """The rendered conversation; raises ApiError where the template or the model cannot take it."""
    if not messages:
        raise bad_request("Cannot apply chat template to an empty conversation. Provide at least one message.")
    for message in messages:
        content = message.get("content")
        if isinstance(content, list) and any(part["type"] not in ("text", "refusal") for part in content):
            raise bad_request(f"{settings.model} is not a multimodal model")
    try:
        return Prompt(chat_template.render(messages), "chat")
    except UnicodeEncodeError as error:
        raise _surrogate(error) from None


def text_prompt(text: str) -> Prompt:
    """A tokenized text; raises ApiError for lone surrogates."""
    try:
        return Prompt(tokens.encode(text), "text", text)
    except UnicodeEncodeError as error:
        raise _surrogate(error) from None


def no_prompt() -> ApiError:
    """The body has none."""
    return bad_value("Either prompt or prompt_embeds must be provided and non-empty.", "prompt")


def _surrogate(error: UnicodeEncodeError) -> ApiError:
    return bad_request(str(error))


def given_prompt(value: str | list[int]) -> Prompt:
    """One prompt of a completion; raises ApiError for an empty one and for what is not in the vocabulary."""
    if not value:
        raise no_prompt()
    if isinstance(value, str):
        return text_prompt(value)
    unknown = tokens.first_unknown(value)
    if unknown is not None:
        raise bad_request(f"Token id {unknown} is out of vocabulary")
    return Prompt(value, "ids")


def output_limits(
    prompts: tuple[Prompt, ...], wanted: int | None, param: str, settings: RankSettings
) -> tuple[int, ...]:
    """Output tokens each prompt may get: what is wanted, else the rest of the context; raises ApiError."""
    context = settings.max_model_len
    if wanted is not None and wanted > context:
        text = f"{param}={wanted} cannot be greater than max_model_len={context}. Please request fewer output tokens."
        raise bad_value(text, param, wanted)
    for prompt in prompts:
        _check_length(prompt, max(wanted or 0, 0), context)
    limits = tuple(min(context if wanted is None else wanted, context - len(prompt.ids)) for prompt in prompts)
    if (least := min(limits)) < 1:
        raise bad_value(f"max_tokens must be at least 1, got {least}.", "max_tokens", least)
    return limits


def _check_length(prompt: Prompt, wanted: int, context: int) -> None:
    count = len(prompt.ids)
    if prompt.source == "forwarded":  # vLLM looks at their length later than at others', and cuts the output to fit
        if count > context:
            raise bad_request(f"Input length ({count}) exceeds model's maximum context length ({context}).")
        return
    if prompt.source == "ids":
        shown, value = str(count), count
    else:
        # vLLM stops tokenizing a text one token past the context.
        value = min(count, context + 1)
        shown = f"at least {value}" if count > context else str(count)
    start = f"This model's maximum context length is {context} tokens. However, "
    if count >= context:
        text = (
            f"{start}your prompt contains {shown} input tokens, which exceeds this limit even without any output "
            "tokens. Please reduce the length of the input prompt."
        )
        raise bad_value(text, "input_tokens", value)
    if count + wanted > context:
        text = (
            f"{start}you requested {wanted} output tokens and your prompt contains {shown} input tokens, for a total "
            f"of {count + wanted} tokens. Please reduce the length of the input prompt or the number of requested "
            "output tokens."
        )
        raise bad_value(text, "input_tokens", value)
