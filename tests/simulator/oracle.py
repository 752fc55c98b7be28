"""The right answer to a prompt, straight from the model: without an engine, blocks or KV."""

from __future__ import annotations

from collections.abc import Sequence

from simulator import chat_template, model, tokens
from simulator.detokenizer import TextStream

MEAN_OUTPUT_TOKENS = 256
"""The default of `forebay rank --mean-output-tokens`."""


def right_ids(
    prompt: Sequence[int],
    max_tokens: int,
    *,
    ignore_eos: bool = False,
    mean_output_tokens: int = MEAN_OUTPUT_TOKENS,
    salt: int = 0,
) -> list[int]:
    """The ids that follow the prompt's, with the end token if it comes; `salt` is the index of the choice."""
    end_below = 0 if ignore_eos else model.end_threshold(mean_output_tokens)
    _, state = model.prompt_states(prompt, 16)
    last, answer = prompt[-1], list[int]()
    while len(answer) < max_tokens:
        last = model.next_token(state, last, salt, end_below)
        state = model.extend(state, last)
        answer.append(last)
        if last == tokens.END:
            break
    return answer


def right_text(
    prompt: str | Sequence[int], max_tokens: int, *, ignore_eos: bool = False, mean_output_tokens: int = 256
) -> str:
    """The text any rank must answer a completion with, by whatever way the KV came."""
    ids = tokens.encode(prompt) if isinstance(prompt, str) else prompt
    stream = TextStream(prompt=ids)
    for token in right_ids(ids, max_tokens, ignore_eos=ignore_eos, mean_output_tokens=mean_output_tokens):
        stream.push(token)
    return stream.take(finished=True)


def right_chat_text(messages: list[dict[str, str]], max_tokens: int, *, ignore_eos: bool = False) -> str:
    """As `right_text`, for a chat."""
    return right_text(chat_template.render(messages), max_tokens, ignore_eos=ignore_eos)
