"""The blocks a prompt begins with, as a chain of hashes: ranks cache prompts by their beginnings. Pure.

A prompt is one stream of what is said in it, roles included, cut into blocks of `BLOCK_BYTES`, or of `BLOCK_IDS` token
ids. Each hash is of its block and of all before it, so an equal hash means that all is equal up to there, and a
conversation that goes on begins with the blocks it had. What is left behind the last whole block has no hash. The JSON
around what is said does not matter: key order, spaces, escapes, sampling. An engine's own blocks are smaller, and of
what its template makes of all this; where these blocks are equal, so are those, but for their ends.
"""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from hashlib import blake2b, sha1
from typing import Final

BLOCK_BYTES: Final = 2048
"""About 512 tokens of English text."""
BLOCK_IDS: Final = 512
HASH_BYTES: Final = 8
"""Two prompts of a million with equal hashes are 1 in 30 million, and would be placed a little worse."""
MOST_BLOCKS: Final = 1024
"""Of a longer prompt, 2 MiB of text, the beginning has to do."""
LONGEST_MARK_BYTES: Final = 64
"""What is longer is no role but a picture, and stands in the stream by its hash: it is no text that takes up blocks."""

_MARK, _END = b"\xfe", b"\xff"
"""UTF-8 has neither of these bytes, so pieces cannot run together."""


class Transcript:
    """Gathers what is said. `seed` tells apart prompts in which the same is said (rendering.py)."""

    def __init__(self, seed: bytes = b"") -> None:
        self._seed = seed
        self._pieces: list[bytes] = []
        self._room = MOST_BLOCKS * BLOCK_BYTES

    def mark(self, sign: bytes) -> None:
        """Adds what is no text: a role, or the JSON of a picture."""
        short = sign if len(sign) <= LONGEST_MARK_BYTES else blake2b(sign, digest_size=16).hexdigest().encode()
        self._add(_MARK + short)

    def say(self, text: bytes) -> None:
        """Adds a text in UTF-8."""
        self._add(text)

    def blocks(self) -> tuple[bytes, ...]:
        """The hashes of all whole blocks of what was added."""
        stream = memoryview(b"".join(self._pieces))
        whole = min(len(stream) // BLOCK_BYTES, MOST_BLOCKS)
        return _chain(b"text" + self._seed, stream, BLOCK_BYTES, whole)

    def _add(self, piece: bytes) -> None:
        if self._room <= 0:
            return
        self._pieces += (piece, _END)
        self._room -= len(piece) + 1


def blocks_of_ids(ids: Sequence[int], seed: bytes = b"") -> tuple[bytes, ...]:
    """The same of token ids; none where one of them is no token's."""
    whole = min(len(ids) // BLOCK_IDS, MOST_BLOCKS)
    try:
        words = array("I", ids[: whole * BLOCK_IDS])
    except OverflowError:
        return ()
    return _chain(b"ids" + seed, memoryview(words).cast("B"), BLOCK_IDS * words.itemsize, whole)


def _chain(seed: bytes, stream: memoryview, size: int, whole: int) -> tuple[bytes, ...]:
    # One hash that goes on, read off behind each block. Twice as fast as blake2b; who finds a collision has two prompts
    # placed badly.
    said = sha1(sha1(seed, usedforsecurity=False).digest(), usedforsecurity=False)
    hashes = []
    for at in range(0, whole * size, size):
        said.update(stream[at : at + size])
        hashes.append(said.copy().digest()[:HASH_BYTES])
    return tuple(hashes)
