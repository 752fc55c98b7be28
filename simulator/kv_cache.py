"""The KV blocks of one engine, with a prefix cache that evicts the least recently used block. Pure."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Sequence


class KvCache:
    """Blocks 0..num_blocks-1, each held by any number of sequences or free; free ones keep their content until reused.

    A block's key stands for its tokens and all before them; its content is what was written into it (see kv_taint), and
    differs from the key where wrong KV was written. Free blocks are reused in the order they were freed, and a
    sequence's last blocks are freed first, so the beginning of a prompt lives longest.
    """

    def __init__(self, num_blocks: int) -> None:
        self.num_blocks = num_blocks
        self._unused = 0
        self._free: OrderedDict[int, None] = OrderedDict()
        self._holders = [0] * num_blocks
        self._contents = [0] * num_blocks
        self._key_of: dict[int, int] = {}
        self._block_of: dict[int, int] = {}

    @property
    def num_free(self) -> int:
        """Blocks no sequence holds; those that keep cached content count."""
        return self.num_blocks - self._unused + len(self._free)

    @property
    def usage(self) -> float:
        """The share of blocks held, 0 to 1."""
        return 1 - self.num_free / self.num_blocks

    def match(self, keys: Sequence[int], most: int) -> list[int]:
        """The blocks that hold the longest cached prefix of `keys`, at most so many."""
        blocks = []
        for key in keys[:most]:
            block = self._block_of.get(key)
            if block is None:
                break
            blocks.append(block)
        return blocks

    def take_loaded(self) -> int:
        """Blocks that came from elsewhere since the last call, to be found here."""
        return 0

    def forget(self) -> bool:
        """Let no block be found any more; False (and no change) while any is held."""
        if self.num_free < self.num_blocks:
            return False
        self._key_of.clear()
        self._block_of.clear()
        return True

    def write(self, block: int, content: int) -> None:
        """Overwrite a block's KV."""
        self._contents[block] = content

    def held(self, blocks: Iterable[int]) -> list[int]:
        """The contents of these blocks, whoever they belong to now."""
        return [self._contents[block] for block in blocks]

    def take(self, cached: Sequence[int], new: int) -> list[int] | None:
        """Hold the cached blocks and so many new ones: all in order, or None (and no change) where too few are free."""
        if new + sum(1 for block in cached if not self._holders[block]) > self.num_free:
            return None
        for block in cached:
            if not self._holders[block]:
                del self._free[block]
            self._holders[block] += 1
        return [*cached, *(self._take_one() for _ in range(new))]

    def publish(self, block: int, key: int) -> None:
        """Let a full block be found by its key; where another block already is, that one stays the one found."""
        if block not in self._key_of and key not in self._block_of:
            self._key_of[block] = key
            self._block_of[key] = block

    def release(self, blocks: Sequence[int]) -> None:
        """Give back one hold on each block."""
        for block in reversed(blocks):
            self._holders[block] -= 1
            if not self._holders[block]:
                self._free[block] = None

    def _take_one(self) -> int:
        if self._unused < self.num_blocks:
            block = self._unused
            self._unused += 1
        else:
            block, _ = self._free.popitem(last=False)
            key = self._key_of.pop(block, None)
            if key is not None:
                del self._block_of[key]
        self._holders[block] = 1
        return block
