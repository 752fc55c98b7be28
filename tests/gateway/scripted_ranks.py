"""Three ranks that serve requests whole and do to the letter what a test says."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from scheduler.messages import RankCard
from tests.gateway.fake_pools import FakePool, FakePools, FakeRankView, card
from tests.gateway.running import Served, nothing_is_held, serving
from tests.gateway.scripted_rank import Exchange, Script, ScriptedRank, completes, scripted_rank, streams


async def answers_well(exchange: Exchange) -> None:
    """As it is asked."""
    await (streams if b'"stream":true' in exchange.request.body else completes)(exchange)


class Ranks(NamedTuple):
    """A gateway over the ranks A, B and C, of which it takes the first unless it is to avoid it."""

    served: Served
    pool: FakePool
    first: ScriptedRank
    second: ScriptedRank
    third: ScriptedRank

    def names(self) -> str:
        """The ranks that were asked, in order of their names."""
        ranks = {"A": self.first, "B": self.second, "C": self.third}
        return "".join(name * len(rank.requests) for name, rank in ranks.items())

    def nothing_is_held(self) -> bool:
        """Of all that was asked."""
        return nothing_is_held(self.served, self.pool)

    def replace(self, name: str, new: RankCard) -> None:
        """The pool shows a rank so from now on."""
        self.pool.view.ranks[name] = FakeRankView(new)  # type: ignore[index]


@asynccontextmanager
async def scripted_ranks(*scripts: Script, **options: Any) -> AsyncIterator[Ranks]:
    """Serve three ranks, of which the first ones follow these scripts; the others answer well."""
    first, second, third = [*scripts, answers_well, answers_well, answers_well][:3]
    async with scripted_rank(first) as a, scripted_rank(second) as b, scripted_rank(third) as c:
        cards = (card(a.url, rank="A"), card(b.url, rank="B"), card(c.url, rank="C"))
        pool = FakePool(*cards, takes_turns=False)
        async with serving(FakePools(pool), **options) as served:
            yield Ranks(served, pool, a, b, c)
