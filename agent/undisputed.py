"""Ends an agent that is begun for ranks which another one has: whoever began it is told so by its end."""

from __future__ import annotations

import time

import anyio

from agent import claims
from agent.claims import Claims, claims_said
from agent.node import Node

_LOOK_S = 0.2


async def until_undisputed(node: Node) -> None:
    """Return when the store has taken ranks of the node and refused none for CLAIM_OVER_S. From then on a claim is for
    operators to look at: those of its ranks that are the node's must not leave the pool for one that is not.

    Raises RankClaimedError.
    """
    made = Claims()
    disputed_at_s = time.monotonic()
    while True:
        now_s = time.monotonic()
        if not (made.none_are_made(claims_said(node.refused()), now_s) and node.taken):
            disputed_at_s = now_s
        elif now_s - disputed_at_s > claims.CLAIM_OVER_S:
            return
        await anyio.sleep(_LOOK_S)
