"""The pool that the state machines drive: what runs by itself in it, and who has an excuse to be refused."""

from __future__ import annotations

from collections.abc import Callable

from hypothesis.stateful import RuleBasedStateMachine

from scheduler.decision import Ask, Candidate, LegKind
from tests.invariants.asks import ask
from tests.invariants.checks import check_settled
from tests.invariants.lossy_pool import Fate, LossyPool, LostError, Sample
from tests.invariants.raw_gateway import RawGateway, RefusedError

LEASE_MS = 50
RENEW_MS = 12
TICK_MS = 5
"""Between two reports."""
SLOW_RATE = 1e-9
"""Tokens per second: so slow that no progress is credited."""
SETTLE_MS = 2 * LEASE_MS
GROUPS = {"r0": "g", "r1": "g", "r2": "-"}


class MachinePool(RuleBasedStateMachine):
    """Three gateways and three ranks; who is killed is replaced at once."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = LossyPool(lease_ms=LEASE_MS)
        self.lives = dict.fromkeys(GROUPS, 1)
        self.born = 0
        self.agent = "node/1"
        self.replica = self.pool.store.snapshot()
        self.excused: set[RawGateway] = set()
        self.renew_at: dict[RawGateway, int] = {}
        self.asleep_until: dict[RawGateway, int] = {}
        self.killed: list[RawGateway] = []
        self.report()
        self.gateways = [self.newborn().join() for _ in range(3)]

    def settle(self) -> None:
        """The faults are over; soon the ledger is exactly what the living hold."""
        self.asleep_until.clear()
        for gateway in self.gateways:
            if gateway.in_doubt:
                self.resync_whole(gateway, Fate.ARRIVES)
        for _ in range(SETTLE_MS // TICK_MS):
            self.tick()
        for gateway in self.gateways:
            if gateway.in_doubt:
                self.resync_whole(gateway, Fate.ARRIVES)
        self.tick()
        seen = [] if self.is_refused else [f"{rank} i{life}" for rank, life in self.lives.items()]
        check_settled(self.pool, {gateway.name: gateway.live for gateway in self.gateways}, seen or self.known_lives())

    def report(self) -> None:
        """The agent says of each rank exactly what the ledger says, so that nothing is foreign."""
        self.pool.report(*(self.sample_of(rank) for rank in GROUPS), owner=self.agent)

    def tick(self) -> None:
        """A few ms in which all that runs by itself goes on."""
        store = self.pool.store
        store.now_ms += TICK_MS
        for gateway in self.gateways:
            if gateway.in_doubt or store.now_ms < self.asleep_until.get(gateway, 0):
                continue
            if store.now_ms >= self.renew_at.get(gateway, 0):
                self.renew_at[gateway] = store.now_ms + RENEW_MS
                self.attempt(gateway, gateway.renew)
        self.report()

    @property
    def is_refused(self) -> bool:
        """Whether another instance of the agent still has the ranks."""
        return any(row.split()[7] != self.agent for row in self.pool.rows(self.pool.keys.seen).values())

    def known_lives(self) -> list[str]:
        return [f"{rank} {row.split()[0]}" for rank, row in self.pool.rows(self.pool.keys.seen).items()]

    def newborn(self) -> RawGateway:
        self.born += 1
        return RawGateway(self.pool, f"gateway-{self.born}@127.0.0.1:8000")

    def attempt(self, gateway: RawGateway, deed: Callable[[], object]) -> None:
        """A refusal needs an excuse: something that happened to the store or to the gateway."""
        if self.pool.store.now_ms < self.asleep_until.get(gateway, 0):
            return
        try:
            deed()
        except LostError:
            self.renew_at.pop(gateway, None)
        except RefusedError:
            assert gateway in self.excused, f"{gateway.name} was refused without a fault"

    def resync_whole(self, gateway: RawGateway, fate: Fate) -> None:
        gateway.begin()
        self.state_piece(gateway, fate)

    def state_piece(self, gateway: RawGateway, fate: Fate) -> None:
        self.attempt(gateway, lambda: gateway.state(fate))
        if not gateway.in_doubt:
            self.excused.discard(gateway)

    def jump_clock(self, ms: int) -> None:
        """Who renews does so again right after, but a report may come first."""
        self.pool.store.now_ms += ms
        for gateway in self.gateways:
            self.renew_at.pop(gateway, None)
            if gateway in self.asleep_until:
                self.asleep_until[gateway] += ms
        self.report()
        self.tick()

    def replace_data(self, data: dict[bytes, object]) -> None:
        self.pool.store.data = data
        self.excused.update(self.gateways)

    def sample_of(self, rank: str) -> Sample:
        life = f"i{self.lives[rank]}"
        sums = self.pool.count().lives.get(f"{rank} {life}")
        requests, kv_tokens = (sums.dispatched, sums.engine_kv) if sums else (0, 0)
        return Sample(rank, life, requests=requests, kv_tokens=kv_tokens, rate=SLOW_RATE)

    def ask_for(self, kinds: tuple[str, ...], tokens: int, *, dear: str = "") -> Ask:
        """All ranks for each kind of leg; the `dear` one costs as much as two requests more."""
        of_kind = {
            kind: tuple(
                Candidate(rank, f"i{life}", LegKind(kind), "a", GROUPS[rank], 2.0 * (rank == dear), per_request_s=1.0)
                for rank, life in self.lives.items()
            )
            for kind in kinds
        }
        return ask(
            *of_kind.get("m", ()),
            prefills=of_kind.get("p", ()),
            decodes=of_kind.get("d", ()),
            transfer_s={"a": {"a": 0.0}},
            uncached=tokens // 2,
            tokens=tokens,
        )
