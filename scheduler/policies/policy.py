"""What a policy is: which ranks are worth a price, and what a leg of a request costs on each. Pure."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from scheduler.decision import Candidate, LegKind, RequestShape
from scheduler.placeable import Placeable
from scheduler.policies.context import Context
from scheduler.policies.order import Order
from scheduler.rank_view import RankView


class Policy(msgspec.Struct, frozen=True, kw_only=True):
    """A way to choose.

    `likely` names ranks of one role that may be the best, by the snapshot and the turn, which counts this gateway's
    placements; its last argument is how many pair classes share the prices. The planner adds some by chance. `price`
    answers one candidate for each rank it is given, in their order, for one kind of leg; a whole request may be priced
    on a decode rank.

    `order` says which group of ranks has its turn, and `later_s` what all others cost more. `in_seconds`: costs are
    seconds, so that the transfer between two legs adds to them. `prefills_on_decode`, for costs in seconds only: to
    prefill on a decode rank is one more alternative to a pair; else that is done only where no pair can be made.
    `rebinds`: a decode rank is left for a better one when the prefill is done. `knows_prefixes`: what ranks hold of a
    prompt is looked up before they are priced.
    """

    price: Callable[[LegKind, RequestShape, Sequence[RankView], Context], list[Candidate]]
    likely: Callable[[Placeable, int, int], Sequence[RankView]]
    order: Order
    later_s: float
    in_seconds: bool = False
    prefills_on_decode: bool = False
    rebinds: bool = False
    knows_prefixes: bool = False
