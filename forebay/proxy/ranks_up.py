"""Waits until a proxy has ranks to serve with."""

from __future__ import annotations

import logging
from collections.abc import Sequence

import anyio

from scheduler.draining import read_pool
from scheduler.errors import StoreRejectedError, StoreUnavailableError
from scheduler.messages import RankCard, RankState, Role
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

LOOK_S = 0.2

log = logging.getLogger(__name__)


async def until_ranks_are_up(store: Store, pool: str, roles: Sequence[Role]) -> None:
    """Until the pool has a rank of each role that requests may go to."""
    while True:
        try:
            view, _ = await read_pool(store, pool, SchedulerSettings())
        except (StoreUnavailableError, StoreRejectedError) as error:
            log.debug("%s", error)
        else:
            there = [rank.card for rank in view.ranks.values() if rank.seen.state is RankState.UP]
            if {card.role for card in there}.issuperset(roles):
                _warn_of_lengths(there)
                return
        await anyio.sleep(LOOK_S)


def _warn_of_lengths(cards: Sequence[RankCard]) -> None:
    """Buckets by length may have stood before ranks of different ones."""
    lengths = sorted({card.max_model_len for card in cards})
    if len(lengths) > 1:
        log.warning(
            "ranks have --max-model-len from %d to %d; a request goes to none that is surely too short for it, but a "
            "text's tokens are estimated, so one of about a rank's length may go there and be refused",
            lengths[0], lengths[-1],
        )  # fmt: skip
