"""A pool of simulated ranks whose legs come at once."""

from typing import NamedTuple

from scheduler.messages import RankCard, Role
from tests.gateway.fake_pools import FakePool, card
from tests.gateway.strict_ranks import is_busy, transferred_tokens
from tests.simulator.joint_ranks import Met
from tests.simulator.rank_process import RankProcess


class JointRanks(NamedTuple):
    """Prefill and decode ranks of one connector."""

    connector: str
    prefills: list[Met]
    decodes: list[RankProcess]

    def cards(self) -> list[RankCard]:
        """P, P2, ..., D, D2, ..."""
        names = [f"P{number or ''}" for number in range(len(self.prefills))]
        prefills = [
            card(met.rank.url, rank=name, role=Role.PREFILL, kv=met.kv, connector=self.connector, block_size=32)
            for name, met in zip(names, self.prefills, strict=True)
        ]
        decodes = [
            card(rank.url, rank=f"D{number or ''}", role=Role.DECODE, connector=self.connector, block_size=32)
            for number, rank in enumerate(self.decodes)
        ]
        return [*prefills, *decodes]

    def pool(self, *, takes_turns: bool = True) -> FakePool:
        """A pool of them."""
        return FakePool(*self.cards(), takes_turns=takes_turns)

    def are_idle(self) -> bool:
        """Whether no rank has a request, or KV that is kept for anybody."""
        ranks = [*(met.rank for met in self.prefills), *self.decodes]
        return not any(is_busy(rank) for rank in ranks)

    def fetched_tokens(self) -> float:
        """Prompt tokens that the decode ranks took from the prefill ranks."""
        return transferred_tokens(self.decodes)
