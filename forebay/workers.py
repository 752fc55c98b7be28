"""`forebay gateway --workers N`: N gateways behind one port, each a process and a gateway of its own to the ledger.

No request passes through here. One listening socket is inherited by all; it stays open here, so that what waits in its
queue outlives any worker.
"""

from __future__ import annotations

import logging
import socket
from collections.abc import Callable, Mapping
from signal import SIGINT, SIGKILL, SIGTERM, Signals

import anyio
import click

from forebay.children import ChildEndedError
from forebay.options import variables_of
from forebay.restarts import Restarts
from forebay.settings import GatewayCommandSettings
from forebay.supervise import CannotStartError, Household
from forebay.worker import Shared, Worker, started
from forebay.worker_totals import WorkerTotals
from gateway.connection_counts import ConnectionCounts, create_shared_memory
from gateway.linked_site import answer_for
from gateway.listening import ListenError, listening, name_of
from gateway.shared_listener import BACKLOG
from gateway.site import Site

log = logging.getLogger(__name__)


async def serve_by_workers(
    settings: GatewayCommandSettings,
    household: Household,
    *,
    site: Site | None = None,
    announce: Callable[[str], None] = click.echo,
) -> None:
    """Run the workers until SIGTERM or SIGINT, which they are sent too; so are all further signals.

    One that ends by itself is started again. `announce` gets a line once all are ready. Raises CannotStartError, and
    ChildEndedError when one does not start.
    """
    try:
        with listening(settings.gateway.host, settings.gateway.port) as listener:
            listener.listen(BACKLOG)
            listener.setblocking(False)
            environment = {**household.environment, **variables_of(settings.gateway)}
            address = f"{settings.gateway.scheme}://{name_of(listener)}"
            workers = Workers(settings.workers, listener, environment, site=site)
            line = f"gateway ready: {settings.workers} workers on {address}"
            await workers.run(household.stop_within_s, lambda: announce(line))
    except ListenError as error:
        raise CannotStartError(str(error)) from error


class Workers:
    """The workers of one gateway."""

    def __init__(
        self, workers: int, listener: socket.socket, environment: Mapping[str, str], *, site: Site | None = None
    ) -> None:
        self._listener = listener
        self._environment = environment
        self._site = site
        self._shared = Shared(workers, listener.fileno(), create_shared_memory(workers), has_site=site is not None)
        self._counts = ConnectionCounts(self._shared.counts_fd, workers)
        self._running: dict[int, Worker] = {}
        self._totals = WorkerTotals(self._running.values)
        self._announced: Callable[[], None] | None = None
        self._stopping = anyio.Event()
        self._hopeless: ChildEndedError | None = None

    async def run(self, stop_within_s: float, announced: Callable[[], None]) -> None:
        """Until all have ended; from the first signal on they have so long. Raises ChildEndedError.

        `announced` is called once, when all are ready.
        """
        self._announced = announced
        async with anyio.create_task_group() as helpers:
            helpers.start_soon(self._pass_signals_on, name="signals")
            helpers.start_soon(self._kill_late_ones, stop_within_s, name="late ones")
            async with anyio.create_task_group() as tasks:
                for index in range(self._shared.workers):
                    tasks.start_soon(self._keep, index, name=f"worker-{index}")
            helpers.cancel_scope.cancel()
        if self._hopeless is not None:
            raise self._hopeless

    async def _keep(self, index: int) -> None:
        """Have this worker run, again and again."""
        restarts = Restarts()
        while not self._stopping.is_set():
            since_s = anyio.current_time()
            async with started(index, self._shared, self._environment) as worker:
                self._running[index] = worker
                if self._stopping.is_set():
                    worker.tell(SIGTERM)
                try:
                    await worker.run(self._answer, self._announce)
                finally:
                    del self._running[index]
                    self._counts.leave(index)
                    self._totals.retire(worker)
            if self._stopping.is_set():
                return
            restarts = restarts.after(anyio.current_time() - since_s, was_ready=worker.is_ready)
            if restarts.is_hopeless:
                self._give_up(f"{worker.describe_end()}; it did not start {restarts.failed_starts} times in a row")
                return
            log.error("%s; another is started in %g s", worker.describe_end(), restarts.delay_s)
            with anyio.move_on_after(restarts.delay_s):
                await self._stopping.wait()
            self._totals.restarted()

    def _announce(self) -> None:
        if len(self._running) < self._shared.workers or not all(each.is_ready for each in self._running.values()):
            return
        if announced := self._announced:
            self._announced = None
            announced()

    async def _answer(self, question: bytes) -> bytes:
        """What a worker asks: what /metrics shows, or the site."""
        if not question or self._site is None:
            return await self._totals.page()
        return await answer_for(self._site, question)

    def _give_up(self, why: str) -> None:
        self._hopeless = self._hopeless or ChildEndedError(why)
        self._stop(SIGTERM)

    def _stop(self, received: Signals) -> None:
        self._stopping.set()
        # A connection in its queue would wait for nobody once the workers have closed theirs.
        self._listener.close()
        for worker in self._running.values():
            worker.tell(received)

    async def _pass_signals_on(self) -> None:
        with anyio.open_signal_receiver(SIGTERM, SIGINT) as signals:
            async for received in signals:
                self._stop(received)

    async def _kill_late_ones(self, stop_within_s: float) -> None:
        await self._stopping.wait()
        await anyio.sleep(stop_within_s)
        for worker in self._running.values():
            log.error("%s did not end within %g s and is killed", worker.name, stop_within_s)
            worker.tell(SIGKILL)
