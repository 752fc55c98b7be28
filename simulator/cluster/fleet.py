"""The simulated cluster: requests in, outcomes out."""

from __future__ import annotations

import gc
from collections.abc import Iterable
from random import Random

from scheduler import calls
from scheduler.keys import PoolKeys
from simulator.cluster.agents import Agent
from simulator.cluster.arrivals import Arrivals, OpenLoop, arrivals_of
from simulator.cluster.clock import EventQueue
from simulator.cluster.gateways import ledger_placers
from simulator.cluster.journey import Journey
from simulator.cluster.memory_store import MemoryStore
from simulator.cluster.outcome import Outcome
from simulator.cluster.peers import PEERS
from simulator.cluster.peers.placers import peer_placers
from simulator.cluster.ranks import build_sites, cards_of, nodes_of, silences_of
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.store_link import EPOCH_MS, Store, StoreLink

EPOCH = "simulated"


class Fleet:
    """One cluster at virtual time 0, its ranks known to the empty `store` and its gateways to the ledger.

    Where a peer's rule places, no agent tells the store of them: its gateways go by what that peer's would see.
    Raises UnknownPolicyError.
    """

    def __init__(self, settings: FleetSettings, store: Store) -> None:
        self._settings = settings
        self._queue = EventQueue()
        self.sites = build_sites(self._queue, settings)
        outage, empties = settings.outage, settings.outage_empties
        link = StoreLink(self._queue, store, settings.store_ms / 1000, outage, empties=empties)
        keys = PoolKeys("sim")
        link.now(calls.open_pool(keys, EPOCH))
        self._start_agents(link, keys)
        if settings.policy in PEERS:
            self._placers = peer_placers(self._queue, self.sites, settings)
        else:
            self._placers = ledger_placers(self._queue, link, keys, settings, ranks=len(self.sites), epoch=EPOCH)
        self._gateway_of = Random(f"{settings.seed}/gateways")
        self._most_tokens = min(site.rank.shape.kv_tokens for site in self.sites.values())
        self._outcomes: list[Outcome] = []
        self._under_way = 0
        self._arrivals: Arrivals = OpenLoop(())

    def run(self, requests: Iterable[SimRequest], clients: int | None = None) -> list[Outcome]:
        """Serves requests, which come in the order of their arrival; returns their outcomes in the order they ended.

        With `clients` each of so many asks for the next request when it has its last answer, whatever the arrivals.
        """
        self._arrivals = arrivals_of(requests, clients)
        self._arrivals.begin(self._queue, self._arrive, self._stop_if_done)
        self._queue.run()
        return self._outcomes

    def _start_agents(self, link: StoreLink, keys: PoolKeys) -> None:
        if self._settings.policy in PEERS:
            return
        settings, cards = self._settings, cards_of(self.sites, self._settings)
        phase = Random(f"{settings.seed}/agents")
        silences = silences_of(settings)
        for node, ranks in nodes_of(self.sites, settings).items():
            agent = Agent(self._queue, link, keys, ranks, epoch=EPOCH, node=node, silence=silences[node])
            agent.start(
                cards,
                report_ms=settings.report_ms,
                late_ms=settings.report_late_ms,
                first_s=phase.random() * settings.report_ms / 1000,
            )

    def _arrive(self, request: SimRequest) -> None:
        gateway = self._gateway_of.randrange(self._settings.gateways)
        self._under_way += 1
        journey = Journey(
            self._queue,
            self.sites,
            self._placers[gateway],
            request,
            gateway=gateway,
            hop_s=self._settings.network_ms / 1000,
            end=self._end,
        )
        if request.prompt_tokens + request.output_tokens <= self._most_tokens:
            journey.begin()
        else:
            journey.reject()

    def _end(self, outcome: Outcome) -> None:
        self._outcomes.append(outcome)
        self._under_way -= 1
        self._arrivals.ended()
        self._stop_if_done()

    def _stop_if_done(self) -> None:
        if self._arrivals.all_came and not self._under_way:
            self._queue.stop()


def run(requests: Iterable[SimRequest], settings: FleetSettings, clients: int | None = None) -> list[Outcome]:
    """Serves requests on a fresh cluster; see `Fleet.run`.

    Meanwhile no garbage is collected: there are no cycles in what a simulation lets go, and to look for them costs a
    sixth of the time.
    """
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        return Fleet(settings, MemoryStore(EPOCH_MS)).run(requests, clients)
    finally:
        if was_enabled:
            gc.enable()
