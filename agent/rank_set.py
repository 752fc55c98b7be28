"""A node's launched ranks, as whoever decides over their lives uses them."""

from __future__ import annotations

from typing import Protocol, TypeVar

import msgspec

Exit_co = TypeVar("Exit_co", covariant=True)


class RankExit(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one rank that nobody asked for.

    `index` counts the node's ranks from 0; `dp_rank` is its number in the DP group; `returncode` is the exit code of
    what the template started, or minus the signal that ended it; `log_path` is absolute.
    """

    index: int
    dp_rank: int
    returncode: int
    log_path: str

    @property
    def how(self) -> str:
        """What became of it, in words."""
        if self.returncode < 0:
            return f"was ended by signal {-self.returncode}"
        return f"ended with exit code {self.returncode}"


class RankSet(Protocol[Exit_co]):
    """All ranks that an agent launches on its node; `Exit_co` says of one's end as much as its user has to know."""

    async def start(self) -> None:
        """Start all ranks; returns when their processes run. Raises LaunchError; then none is left."""
        ...

    async def stop(self) -> None:
        """End all ranks with all that they started; returns when no process of any is left. Idempotent."""
        ...

    async def next_exit(self) -> Exit_co:
        """Wait for the first end that nobody asked for, after a start. A cancelled wait loses none."""
        ...
