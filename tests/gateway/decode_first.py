"""Simulated ranks that speak vllm-ascend's layerwise connector, as processes."""

from __future__ import annotations

from collections.abc import Collection, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any, NamedTuple

from scheduler.messages import Role
from simulator.misuse import Kind
from tests.gateway.fake_pools import FakePool, card
from tests.gateway.strict_ranks import is_busy, transferred_tokens
from tests.simulator.rank_process import RankProcess, running_rank

CONNECTOR = "mooncake_layerwise"
OPTIONS = (
    *("--strict", "--speed", "20", "--block-size-tokens", "32", "--enable-prompt-tokens-details"),
    *("--kv-connector", CONNECTOR),
)


class DecodeFirstRanks(NamedTuple):
    """Two of each role."""

    prefills: list[RankProcess]
    decodes: list[RankProcess]

    def pool(self, **about: Any) -> FakePool:
        """A pool of them."""
        prefills = (card(r.url, role=Role.PREFILL, block_size=32, connector=CONNECTOR) for r in self.prefills)
        decodes = (card(r.url, role=Role.DECODE, block_size=32, connector=CONNECTOR) for r in self.decodes)
        return FakePool(*prefills, *decodes, **about)

    def are_idle(self) -> bool:
        """Whether no rank has a request, or KV."""
        return not any(map(is_busy, (*self.prefills, *self.decodes)))

    def pushed_tokens(self) -> float:
        """Prompt tokens that the decode ranks have from the prefill ranks."""
        return transferred_tokens(self.decodes)


@contextmanager
def running_decode_first(*options: str, misuse: Collection[Kind] = ()) -> Iterator[DecodeFirstRanks]:
    """Two ranks of each role, with which nothing was done wrong but perhaps this when the block ends."""
    with ExitStack() as stack:
        prefills, decodes = (
            [stack.enter_context(running_rank("--role", role, *OPTIONS, *options, misuse=misuse)) for _ in range(2)]
            for role in ("prefill", "decode")
        )
        yield DecodeFirstRanks(prefills, decodes)
