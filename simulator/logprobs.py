"""Log probabilities of the right shape: made up from the ids alone, in each API's form."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from simulator.model import PIECES
from simulator.tokens import piece


def completion_logprobs(ids: Sequence[int], top: int, offset: int, *, prompt_first: bool = False) -> dict[str, Any]:
    """The `logprobs` of a completion choice for these ids, whose text begins at character `offset` of the choice.

    Where the ids begin with the prompt (`echo`), the first one has none.
    """
    texts = [_text(token) for token in ids]
    offsets = []
    for text in texts:
        offsets.append(offset)
        offset += len(text)
    values: list[float | None] = [_logprob(token) for token in ids]
    tops: list[dict[str, float] | None] = [
        {_text(other): _logprob(other) for other in (token, *_others(token, top - 1))} for token in ids
    ]
    if prompt_first:
        values[0], tops[0] = None, None
    return {"text_offset": offsets, "token_logprobs": values, "tokens": texts, "top_logprobs": tops}


def prompt_logprobs(ids: Sequence[int], top: int) -> list[dict[str, Any] | None]:
    """The `prompt_logprobs` of a choice: per id its rank and the better ones; the first id has none."""
    entries: list[dict[str, Any] | None] = [None]
    for token in ids[1:]:
        ranked = [(token, top + 1), *((other, rank + 1) for rank, other in enumerate(_others(token, top)))]
        entries.append(
            {
                str(other): {"logprob": _logprob(other), "rank": rank, "decoded_token": _text(other)}
                for other, rank in ranked
            }
        )
    return entries


def chat_logprobs(ids: Sequence[int], top: int) -> dict[str, Any]:
    """The `logprobs` of a chat choice or delta for these ids."""
    return {
        "content": [
            {**_entry(token), "top_logprobs": [_entry(other) for other in (token, *_others(token, top - 1))][:top]}
            for token in ids
        ]
    }


def id_logprobs(ids: Sequence[int], top: int) -> dict[str, Any]:
    """The `logprobs` of a choice that has ids for tokens."""
    return {
        "content": [
            {
                **_ranked(token, top),
                "top_logprobs": [_ranked(other, top) for other in (token, *_others(token, top - 1))][:top],
            }
            for token in ids
        ]
    }


def _ranked(token: int, rank: int) -> dict[str, Any]:
    return {"token_id": token, "logprob": _logprob(token), "rank": max(1, rank)}


def _entry(token: int) -> dict[str, Any]:
    return {"token": _text(token), "logprob": _logprob(token), "bytes": list(piece(token))}


def _others(token: int, count: int) -> list[int]:
    at = token % len(PIECES)
    return [PIECES[(at + step) % len(PIECES)] for step in range(1, count + 1)]


def _logprob(token: int) -> float:
    return -((token * 2654435761 % 2**32) / 2**30) - 0.01


def _text(token: int) -> str:
    return piece(token).decode(errors="replace")
