"""What holds of exact token ids: the ground on which a broken stream can be resumed elsewhere."""

from __future__ import annotations

import json
from typing import Any

import pytest

from tests.real_engine.asking import CHAT, COMPLETIONS, PATHS, asked, said, text_of_words
from tests.real_engine.conftest import Told
from tests.real_engine.engine import Engine
from tests.real_engine.stack import Stack

TOKENS = 24
CUT = 10
WITH_IDS = {"return_token_ids": True, "max_tokens": TOKENS}


def _chunks(body: bytes) -> list[dict[str, Any]]:
    events = [line.removeprefix("data: ") for line in body.decode().split("\n\n") if line]
    return [json.loads(event) for event in events if event != "[DONE]"]


def _prompt_ids(path: str, whole: dict[str, Any]) -> list[int]:
    ids: list[int] = (whole if path == CHAT else whole["choices"][0])["prompt_token_ids"]
    return ids


@pytest.mark.parametrize("path", PATHS)
def test_a_stream_carries_the_prompts_ids_first_and_each_deltas_ids(
    stack: Stack, plain: Engine, told: Told, path: str
) -> None:
    body = asked(path, plain.model, text_of_words(8, seed=11), **WITH_IDS)
    whole = plain.post(path, body).json()
    prompt_ids, ids = _prompt_ids(path, whole), whole["choices"][0]["token_ids"]
    assert len(ids) == TOKENS
    assert len(prompt_ids) == whole["usage"]["prompt_tokens"]
    for url in (plain.url, *stack.gateways):
        chunks = _chunks(stack.post(url, path, body | {"stream": True}).content)
        assert _prompt_ids(path, chunks[0]) == prompt_ids
        assert [token for chunk in chunks for token in chunk["choices"][0].get("token_ids") or ()] == ids
    told(f"{len(prompt_ids)} ids of the prompt in the first event, {TOKENS} of the answer over {len(chunks)} events")


def _resumed(path: str, body: dict[str, Any], ids: list[int]) -> dict[str, Any]:
    """The rest of a request whose ids so far, prompt first, are `ids`."""
    rest = {"max_tokens": TOKENS - CUT}
    return body | rest | ({"kv_transfer_params": {"prompt_token_ids": ids}} if path == CHAT else {"prompt": ids})


@pytest.mark.parametrize("path", PATHS)
def test_an_answer_is_continued_exactly_from_its_ids(plain: Engine, told: Told, path: str) -> None:
    body = asked(path, plain.model, text_of_words(8, seed=12), **WITH_IDS)
    whole = plain.post(path, body).json()
    prompt_ids, ids = _prompt_ids(path, whole), whole["choices"][0]["token_ids"]
    rest = plain.post(path, _resumed(path, body, prompt_ids + ids[:CUT])).json()
    assert _prompt_ids(path, rest) == prompt_ids + ids[:CUT]
    assert rest["choices"][0]["token_ids"] == ids[CUT:]
    told(f"{len(ids) - CUT} tokens after {CUT} as without the cut, on a server without connector")


def test_completions_ignore_prompt_ids_among_the_params(plain: Engine, told: Told) -> None:
    body = asked(COMPLETIONS, plain.model, text_of_words(8, seed=13))
    given = plain.post(COMPLETIONS, body | {"kv_transfer_params": {"prompt_token_ids": [5, 6, 7]}})
    assert said(given.content) == said(plain.post(COMPLETIONS, body).content)
    told("so a completion is resumed by `prompt: [ids]`, a chat by `kv_transfer_params.prompt_token_ids`")


@pytest.mark.parametrize("path", PATHS)
def test_resumed_inside_a_character_an_engine_repeats_the_text_before_it(plain: Engine, told: Told, path: str) -> None:
    tokenized = plain.post(
        "/tokenize", {"model": plain.model, "prompt": "caf\N{EURO SIGN}", "add_special_tokens": False}
    )
    ids = tokenized.json()["tokens"]
    body = asked(path, plain.model, "x", max_tokens=1, allowed_token_ids=ids[-1:])
    resumed = _resumed(path, body, ids[:-1]) | {"max_tokens": 1}
    text = said(plain.post(path, resumed).content).text
    assert text == "caf\N{EURO SIGN}"
    told(f"the ids' last token completes the sign, and the first delta is `{text}`: resume at whole characters only")
