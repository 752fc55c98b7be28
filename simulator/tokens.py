"""The simulated tokenizer: reversible, deterministic, with a fixed vocabulary. Pure.

The vocabulary is every byte string of one to four bytes, behind 16 special tokens. Text is cut into pieces of four
UTF-8 bytes (the last one may be shorter), so four bytes make a token, a character may be split over two tokens, and
texts with a common prefix have common leading ids. Decoding accepts any mixture of pieces.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Final

BYTES_PER_TOKEN: Final = 4

END: Final = 0
SPECIALS: Final = (
    "<|end|>", "<|system|>", "<|developer|>", "<|user|>", "<|assistant|>", "<|tool|>", "<|function|>", "<|role|>",
    "<|8|>", "<|9|>", "<|10|>", "<|11|>", "<|12|>", "<|13|>", "<|14|>", "<|15|>",
)  # fmt: skip

_FIRST: Final = (0, 16, 16 + 2**8, 16 + 2**8 + 2**16, 16 + 2**8 + 2**16 + 2**24)
"""`_FIRST[k]` is the id of the first piece of k bytes."""

VOCABULARY_SIZE: Final = _FIRST[4] + 2**32


def encode(text: str) -> list[int]:
    """The ids of `text`; raises UnicodeEncodeError for lone surrogates."""
    data = text.encode()
    whole = len(data) - len(data) % BYTES_PER_TOKEN
    first = _FIRST[BYTES_PER_TOKEN]
    ids = [first + value for value in struct.unpack(f">{whole // BYTES_PER_TOKEN}I", data[:whole])]
    if whole < len(data):
        ids.append(piece_id(data[whole:]))
    return ids


def piece_id(piece: bytes) -> int:
    """The id of a piece of one to four bytes."""
    return _FIRST[len(piece)] + int.from_bytes(piece, "big")


@lru_cache(maxsize=4096)
def piece(token_id: int) -> bytes:
    """The bytes of one id; special tokens have none."""
    for size in range(BYTES_PER_TOKEN, 0, -1):
        if token_id >= _FIRST[size]:
            return (token_id - _FIRST[size]).to_bytes(size, "big")
    return b""


def decode(ids: Iterable[int]) -> str:
    """The text of ids, special tokens spelt out; bytes that are no UTF-8 become U+FFFD."""
    parts = [SPECIALS[i].encode() if i < len(SPECIALS) else piece(i) for i in ids]
    return b"".join(parts).decode(errors="replace")


def first_unknown(ids: Sequence[int]) -> int | None:
    """The first id outside the vocabulary, if any."""
    if not ids or (min(ids) >= 0 and max(ids) < VOCABULARY_SIZE):
        return None
    return next(i for i in ids if not 0 <= i < VOCABULARY_SIZE)
