"""KV of finished requests that a prefill engine keeps for the rank that decodes them, each under a lease. Pure."""

from __future__ import annotations

from math import inf
from typing import Final

import msgspec

from simulator.kv_cache import KvCache
from simulator.sequence import Sequence

_EXTENSION: Final = 2 / 3
"""Of a lease, what a heartbeat gives from its arrival on (vLLM: 20 s of 30 s)."""


class Held(msgspec.Struct):
    """The KV of one request; `cached_tokens` of its `num_tokens` were in the prefix cache."""

    blocks: list[int]
    num_tokens: int
    cached_tokens: int
    until_s: float


class HeldKv:
    """All that one engine keeps, by the requests' names to other engines. Its blocks count as used."""

    def __init__(self, kv: KvCache, block_size_tokens: int, lease_s: float) -> None:
        self._kv = kv
        self._block_size = block_size_tokens
        self._lease_s = lease_s
        self._held: dict[str, Held] = {}
        self._earliest_s = inf

    def hold(self, sequence: Sequence, now_s: float) -> None:
        """Take over a sequence's blocks for a lease.

        A last block that is not full holds the end of the prompt, or of the answer where that went on behind it.
        """
        request, size = sequence.request, self._block_size
        if sequence.computed % size:
            in_prompt = sequence.computed // size == request.prompt_tokens // size
            self._kv.write(sequence.blocks[-1], (request.state if in_prompt else sequence.state) ^ sequence.taint)
        until_s = now_s + self._lease_s
        self._held[request.kv_request_id] = Held(sequence.blocks, sequence.computed, sequence.cached_tokens, until_s)
        self._earliest_s = min(self._earliest_s, until_s)

    def find(self, kv_request_id: str) -> Held | None:
        """What is kept for a request."""
        return self._held.get(kv_request_id)

    def extend(self, kv_request_id: str, now_s: float) -> bool:
        """Take a heartbeat; False where nothing is kept for the request."""
        held = self._held.get(kv_request_id)
        if held is not None:
            held.until_s = max(held.until_s, now_s + self._lease_s * _EXTENSION)
        return held is not None

    def release(self, kv_request_id: str) -> bool:
        """The decode rank has it: free it. False where it is not kept (any more)."""
        held = self._held.pop(kv_request_id, None)
        if held is not None:
            self._kv.release(held.blocks)
        return held is not None

    def expire(self, now_s: float) -> list[str]:
        """Free what has outlived its lease; names it."""
        if now_s < self._earliest_s:
            return []
        ended = [request_id for request_id, held in self._held.items() if held.until_s <= now_s]
        for request_id in ended:
            self.release(request_id)
        self._earliest_s = min((held.until_s for held in self._held.values()), default=inf)
        return ended

    @property
    def wake_at_s(self) -> float:
        """No lease ends before; infinity where nothing is kept."""
        return self._earliest_s if self._held else inf
