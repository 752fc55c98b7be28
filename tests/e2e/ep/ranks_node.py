"""One node's simulated ranks in one process, each behind a port of its own, as external data parallelism has them.

    python -m tests.e2e.ep.ranks_node ROLE SPEED FIRST_ENGINE [HOST:]PORT...

A process for each of 72 ranks would take a test machine's memory and a minute of
its time, and say nothing more.
"""

import logging
import sys

import anyio

from simulator.server import serve
from simulator.settings import RankSettings

log = logging.getLogger(__name__)


async def run(ranks: list[RankSettings]) -> None:
    """Serves until a signal ends one of them, and with it all."""
    async with anyio.create_task_group() as tasks:

        async def until_ended(rank: RankSettings) -> None:
            await serve(rank, log.info)
            tasks.cancel_scope.cancel()

        for rank in ranks:
            tasks.start_soon(until_ended, rank, name=f"rank on port {rank.port}")


def main() -> None:
    role, speed, first_engine, *addresses = sys.argv[1:]
    anyio.run(
        run,
        [
            RankSettings(
                host=address.rpartition(":")[0] or "127.0.0.1",
                port=int(address.rpartition(":")[2]),
                role=role,  # type: ignore[arg-type]  # RankSettings is not built from text elsewhere
                speed=float(speed),
                first_engine=int(first_engine) + index,
                strict=True,
            )
            for index, address in enumerate(addresses)
        ],
    )


if __name__ == "__main__":
    main()
