"""What one gateway remembers of who holds what of a prompt, for while the prefix index is gone or empty. Pure.

It is what the index has answered it, and where it has placed prompts since. What other gateways placed it does not
know, nor how far the ranks' caches have moved on since, so it is bounded and forgets what it met longest ago.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable

from scheduler.decision import RequestShape
from scheduler.prefix_chain import chain_of
from scheduler.view import PoolView

MOST_BLOCKS = 65_536
"""Some 15 MB a pool."""
MOST_HOLDERS = 4
"""Lives that are remembered of a block, those met last."""

Life = tuple[str, str]
"""A rank and its incarnation: a new life holds nothing."""


class Recollection:
    """By block; `most_blocks` of them."""

    def __init__(self, most_blocks: int = MOST_BLOCKS) -> None:
        self._most_blocks = most_blocks
        self._lives: OrderedDict[bytes, tuple[Life, ...]] = OrderedDict()

    def found(self, shape: RequestShape, view: PoolView) -> None:
        """The index has answered what ranks hold of the prompt."""
        for rank, tokens in shape.cached_tokens.items():
            self._learn(shape, rank, tokens, view)

    def placed(self, shape: RequestShape, ranks: Iterable[str], view: PoolView) -> None:
        """These ranks will hold all of the prompt."""
        for rank in ranks:
            self._learn(shape, rank, shape.prompt_tokens, view)

    def cached_tokens(self, shape: RequestShape, view: PoolView) -> dict[str, int]:
        """Tokens of the prompt that ranks are remembered to hold, by rank."""
        cached: dict[str, int] = {}
        chain = chain_of(shape.blocks)
        for block, end in zip(reversed(chain.hashes), reversed(chain.ends), strict=True):
            for rank, incarnation in self._lives.get(block, ()):
                if rank not in cached and (known := view.ranks.get(rank)) and known.card.incarnation == incarnation:
                    cached[rank] = int(end * shape.block_tokens)
        return cached

    def _learn(self, shape: RequestShape, rank: str, tokens: int, view: PoolView) -> None:
        known = view.ranks.get(rank)
        if known is None:
            return
        life, chain = (rank, known.card.incarnation), chain_of(shape.blocks)
        for block, end in zip(chain.hashes, chain.ends, strict=True):
            if int(end * shape.block_tokens) > tokens:
                break
            others = [each for each in self._lives.get(block, ()) if each != life]
            self._lives[block] = (life, *others[: MOST_HOLDERS - 1])
            self._lives.move_to_end(block)
        while len(self._lives) > self._most_blocks:
            self._lives.popitem(last=False)
