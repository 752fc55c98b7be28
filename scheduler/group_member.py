"""A member's side of its DP group's generation: what it says of itself, and what it hears of the group."""

from __future__ import annotations

from contextlib import suppress
from random import Random

from scheduler import calls
from scheduler.errors import StoreUnavailableError, StoreWrongTypeError
from scheduler.group_generation import NONE, Claimed, Group, Span, Standing, Wish
from scheduler.group_rows import claimed, read_group, words
from scheduler.keys import POOLS, PoolKeys
from scheduler.opening import open_epoch
from scheduler.settings import SchedulerSettings
from scheduler.store import Store

TRIES = 3
"""Of one word, where the pool's epoch ends meanwhile."""
WORDS_TO_NAME_POOL = 64


class GroupMember:
    """One agent among those of a group. `name` is the node's; each start is another instance of it."""

    def __init__(
        self,
        store: Store,
        *,
        pool: str,
        group: str,
        name: str,
        span: Span,
        settings: SchedulerSettings,
        rng: Random | None = None,
    ) -> None:
        self._store, self._keys, self._settings = store, PoolKeys(pool), settings
        self._rng = rng or Random()
        self._pool, self._told = pool, 0
        self._epoch = ""
        self._known = NONE
        self.group = group
        self.me = calls.GroupMemberRow(name, new_mark(self._rng), span.first, span.ranks, span.size)

    async def tell(self, standing: Standing, wish: Wish | None = None) -> Group | Claimed:
        """Say where this member is, and hear of all. A wish counts once, and only against the generation that this
        member knows: of several that see one end, one begins the next.

        Raises StoreUnavailableError or StoreRejectedError.
        """
        for _ in range(TRIES):
            if not self._epoch:
                self._epoch = await open_epoch(self._store, self._keys, self._rng)
            try:
                (reply,) = await self._store.run([self._call(standing, wish)])
            except StoreWrongTypeError:
                self._epoch = await open_epoch(self._store, self._keys, self._rng, spoilt=self._epoch)
                continue
            if reply[0] == b"claimed":
                return claimed(reply[1])
            if reply[0] == b"ok":
                group = read_group(self.group, reply[2], reply[1])
                self._known = group.generation
                await self._name_pool()
                return group
            self._epoch = ""
        raise StoreUnavailableError("the pool's epoch changed again and again")

    async def _name_pool(self) -> None:
        """Now and then, as the reports do: a group that has yet to start has none, and is to be seen all the same."""
        self._told += 1
        if self._told % WORDS_TO_NAME_POOL == 1:
            with suppress(StoreWrongTypeError):
                await self._store.command("SADD", POOLS, self._pool)

    def _call(self, standing: Standing, wish: Wish | None) -> calls.Call:
        why = (wish.cause.value, words(wish.why)) if wish else ("", "")
        head = (self._epoch, self._settings.lease_ms, self.group, new_mark(self._rng))
        return calls.dp_group(self._keys, head, self._known, why, self.me, standing.at, standing.step.value)


def new_mark(rng: Random) -> str:
    """What tells a generation, or an instance of a member, from all others."""
    return f"{rng.getrandbits(32):08x}"
