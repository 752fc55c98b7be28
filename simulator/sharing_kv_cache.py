"""The KV cache of an engine that shares KV with others; whoever made it says how the others are reached. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from simulator.kv_cache import KvCache
from simulator.settings import RankSettings


class BlockStore(Protocol):
    """KV that several ranks share, by the blocks' keys."""

    def get(self, key: int) -> int | None:
        """The content of the block with that key; None where it is not here."""

    def put(self, key: int, content: int) -> None:
        """Keep a block."""


class SharingKvCache(KvCache):
    """Looks for what it does not have in the shared KV, and with `saves` puts there what it computes."""

    def __init__(self, num_blocks: int, shared: BlockStore, *, saves: bool) -> None:
        super().__init__(num_blocks)
        self._shared = shared
        self._saves = saves
        self._loaded = 0

    def match(self, keys: Sequence[int], most: int) -> list[int]:
        """The blocks that hold the longest prefix of `keys` to be had here or there, at most so many."""
        for key in keys[len(super().match(keys, most)) : most]:
            content = self._shared.get(key)
            block = None if content is None else self.take((), 1)
            if content is None or block is None:
                break
            self.write(block[0], content)
            super().publish(block[0], key)
            self.release(block)
            self._loaded += 1
        return super().match(keys, most)

    def take_loaded(self) -> int:
        """Blocks that came from there since the last call."""
        loaded, self._loaded = self._loaded, 0
        return loaded

    def publish(self, block: int, key: int) -> None:
        """Let a full block be found by its key, here and there."""
        super().publish(block, key)
        if self._saves:
            self._shared.put(key, *self.held((block,)))


def kv_cache_of(settings: RankSettings, shared: BlockStore | None) -> KvCache:
    """An engine's KV cache; decode ranks put nothing into the shared KV."""
    if shared is None:
        return KvCache(settings.kv_blocks)
    return SharingKvCache(settings.kv_blocks, shared, saves=settings.role != "decode")
