"""The requests of a run, from a seed: what is sent, what must come back, and which clients hang up. Pure."""

from __future__ import annotations

from random import Random
from typing import NamedTuple

import msgspec

from simulator import chat_template, tokens
from tests.chaos.expected import Expected, answer_to

STREAMS, CHATS, LONG, LEAVING, SHARING, ENDLESS, USAGE = 0.6, 0.5, 0.1, 0.05, 0.3, 0.8, 0.5
"""Shares of requests: streamed, chats, with long prompts, of clients that hang up, with a beginning that others have
too, that may not end by themselves, and of streams those that ask for their usage."""
SHORT_BYTES, LONG_BYTES = (40, 1_200), (8_000, 24_000)
MAX_TOKENS, TINY_MAX_TOKENS = (4, 96), 16
LEAVES_WITHIN_BYTES = 4_000
IDS_UP_TO_TOKENS = 400
"""Prompts up to this length are asked for with ids, which answers repeat."""
WORDS = tuple("water gate mill race weir sluice head tail draft tube rotor blade fish pass rack pond dam".split())  # noqa: SIM905
SHARED = tuple(f"You tend forebay number {number}. " + " ".join(WORDS * 40) for number in range(4))


class Asked(NamedTuple):
    """One request. `leaves_after_bytes` of the answer's body its client hangs up, 0 before any; None: it stays."""

    number: int
    id: str
    path: str
    body: bytes
    stream: bool
    wants_usage: bool
    has_ids: bool
    is_long: bool
    expected: Expected
    leaves_after_bytes: int | None


def request(seed: int, number: int, model: str, *, tiny: bool = False) -> Asked:
    """The `number`-th request of the run with this seed; `tiny` ones are whole, short and stay to the end."""
    chance = Random(f"request {seed} {number}")
    stream, chat, is_long = (chance.random() < share for share in (STREAMS, CHATS, LONG))
    leaving = chance.random() < LEAVING and not tiny
    is_long = is_long and not tiny
    text = _prose(chance, chance.randint(*(LONG_BYTES if is_long else SHORT_BYTES)))
    shared = SHARED[chance.randrange(len(SHARED))] if chance.random() < SHARING else ""
    if chat:
        messages = [{"role": "system", "content": shared}] if shared else []
        messages.append({"role": "user", "content": text})
        asks: dict[str, object] = {"messages": messages}
        prompt = chat_template.render(messages)
    else:
        asks = {"prompt": shared + text}
        prompt = tokens.encode(shared + text)
    max_tokens = min(chance.randint(*MAX_TOKENS), TINY_MAX_TOKENS if tiny else MAX_TOKENS[1])
    ignore_eos = chance.random() < ENDLESS
    has_ids = len(prompt) <= IDS_UP_TO_TOKENS
    wants_usage = stream and chance.random() < USAGE
    body = {"model": model, **asks, "max_tokens": max_tokens, "stream": stream, "ignore_eos": ignore_eos}
    body |= {"stream_options": {"include_usage": True}} if wants_usage else {}
    body |= {"return_token_ids": True} if has_ids else {}
    return Asked(
        number=number,
        id=f"chaos-{seed}-{number}",
        path="/v1/chat/completions" if chat else "/v1/completions",
        body=msgspec.json.encode(body),
        stream=stream,
        wants_usage=wants_usage,
        has_ids=has_ids,
        is_long=is_long,
        expected=answer_to(prompt, max_tokens, ignore_eos=ignore_eos),
        leaves_after_bytes=chance.choice((0, chance.randrange(LEAVES_WITHIN_BYTES))) if leaving else None,
    )


def _prose(chance: Random, length: int) -> str:
    words = " ".join(chance.choices(WORDS, k=min(length // 5 + 1, 400)))
    return (f"{chance.getrandbits(64):016x} {words} " * (length // (len(words) + 1) + 1))[:length]
