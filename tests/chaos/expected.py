"""What a simulated rank must answer: the model's next token is a hash of all before it, so it can be known. Pure."""

from __future__ import annotations

from typing import NamedTuple

from simulator.detokenizer import TextStream
from simulator.model import end_threshold, extend, next_token, prompt_states
from simulator.settings import RankSettings
from simulator.tokens import END

_RANK = RankSettings()


class Expected(NamedTuple):
    """The one right answer."""

    prompt_tokens: int
    ids: tuple[int, ...]
    text: str
    finish_reason: str


def answer_to(prompt: list[int], max_tokens: int, *, ignore_eos: bool) -> Expected:
    """What follows these ids, up to so many tokens, on a rank with the default settings."""
    end_below = 0 if ignore_eos else end_threshold(_RANK.mean_output_tokens)
    _, state = prompt_states(prompt, _RANK.block_size_tokens)
    last, ids, finish = prompt[-1], list[int](), "length"
    while len(ids) < max_tokens:
        last = next_token(state, last, 0, end_below)
        state = extend(state, last)
        ids.append(last)
        if last == END:
            finish = "stop"
            break
    text = TextStream(prompt=prompt)
    for each in ids:
        text.push(each)
    return Expected(len(prompt), tuple(ids), text.take(finished=True), finish)
