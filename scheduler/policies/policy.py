"""What a policy is: which ranks are worth a price, and what a request costs on each."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from scheduler.decision import Candidate, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.rank_view import RankView


class Policy(msgspec.Struct, frozen=True):
    """A way to choose.

    `likely` names ranks that may be the best, by the snapshot and the turn, which counts this gateway's placements; the
    planner adds some by chance. `price` answers one candidate for each rank it is given, in their order.
    """

    price: Callable[[RequestShape, Sequence[RankView], Context], list[Candidate]]
    likely: Callable[[Placeable, int], Sequence[RankView]]
