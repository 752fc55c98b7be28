"""Everything that can happen to a pool, in any order: gateways, an agent, time, faults; leases of 50 ms.

After every step the book must agree with itself, and with each gateway that has no reason to doubt.
"""

from __future__ import annotations

from collections.abc import Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from scheduler.decision import Ask, Candidate, LegKind
from tests.invariants.asks import ask, record
from tests.invariants.bench import Bench, Fate, LostError, Sample
from tests.invariants.checks import check_book, check_settled
from tests.invariants.raw_gateway import RawGateway, RefusedError

LEASE_MS = 50
RENEW_MS = 12
TICK_MS = 5
"""Between two reports."""
SLOW_RATE = 1e-9
"""Tokens per second: so slow that no progress is credited."""
SETTLE_MS = 2 * LEASE_MS
GROUPS = {"r0": "g", "r1": "g", "r2": "-"}

which = st.integers(0, 2)
fates = st.sampled_from([Fate.ARRIVES] * 5 + [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
legs = st.sampled_from([("m",), ("p", "d")])
ranks = st.sampled_from(sorted(GROUPS))


class LedgerMachine(RuleBasedStateMachine):
    """Three gateways and three ranks; who is killed is replaced at once."""

    def __init__(self) -> None:
        super().__init__()
        self.bench = Bench(lease_ms=LEASE_MS)
        self.lives = dict.fromkeys(GROUPS, 1)
        self.born = 0
        self.agent = "node/1"
        self.replica = self.bench.store.snapshot()
        self.excused: set[RawGateway] = set()
        self.renew_at: dict[RawGateway, int] = {}
        self.asleep_until: dict[RawGateway, int] = {}
        self.killed: list[RawGateway] = []
        self.report()
        self.gateways = [self._newborn().join() for _ in range(3)]

    # --- gateways -----------------------------------------------------------------------------------------------

    @rule(who=which, kinds=legs, tokens=st.integers(0, 300), fate=fates)
    def place(self, who: int, kinds: tuple[str, ...], tokens: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if not gateway.in_doubt:
            self._attempt(gateway, lambda: gateway.place(self._ask(kinds, tokens), fate))

    @rule(who=which, kinds=legs, on=st.tuples(ranks, ranks), phase=st.integers(0, 3), fate=fates)
    def adopt(self, who: int, kinds: tuple[str, ...], on: tuple[str, str], phase: int, fate: Fate) -> None:
        spelled = [f"{kind} {rank} i{self.lives[rank]} {GROUPS[rank]}" for kind, rank in zip(kinds, on, strict=False)]
        self._attempt(self.gateways[who], lambda: self.gateways[who].adopt(record(phase, *spelled), fate))

    @rule(who=which, pick=st.integers(0, 99), phase=st.integers(1, 3), fate=fates)
    def advance(self, who: int, pick: int, phase: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if gateway.live:
            held = sorted(gateway.live)[pick % len(gateway.live)]
            self._attempt(gateway, lambda: gateway.advance(held, phase, fate))

    @rule(who=which, pick=st.integers(0, 99), fate=fates)
    def release(self, who: int, pick: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if gateway.live:
            held = sorted(gateway.live)[pick % len(gateway.live)]
            self._attempt(gateway, lambda: gateway.release(held, fate))

    @rule(who=which, fate=fates)
    def renew(self, who: int, fate: Fate) -> None:
        if not self.gateways[who].in_doubt:
            self._attempt(self.gateways[who], lambda: self.gateways[who].renew(fate))

    @rule(who=which, piece=st.integers(1, 3))
    def begin_resync(self, who: int, piece: int) -> None:
        self.gateways[who].begin(piece)

    @rule(who=which, fate=fates)
    def state_a_piece(self, who: int, fate: Fate) -> None:
        if self.gateways[who].is_stating:
            self._state(self.gateways[who], fate)

    @rule(who=which, fate=fates)
    def resync(self, who: int, fate: Fate) -> None:
        self._resync(self.gateways[who], fate)

    @rule(who=which)
    def kill(self, who: int) -> None:
        self.killed.append(self.gateways[who])
        self.gateways[who] = self._newborn()

    @rule(who=which, ms=st.integers(1, 3 * LEASE_MS))
    def fall_asleep(self, who: int, ms: int) -> None:
        """It neither renews nor does anything for a while; awake again, it may be refused."""
        self.asleep_until[self.gateways[who]] = self.bench.store.now_ms + ms
        self.excused.add(self.gateways[who])

    # --- the agent ----------------------------------------------------------------------------------------------

    @rule()
    def report(self) -> None:
        """It says of each rank exactly what the ledger says, so that nothing is foreign."""
        self.bench.report(*(self._sample(rank) for rank in GROUPS), owner=self.agent)

    @rule(rank=ranks)
    def restart_rank(self, rank: str) -> None:
        self.lives[rank] += 1

    @rule()
    def say_goodbye(self) -> None:
        self.bench.report(*(self._sample(rank)._replace(state="gone") for rank in GROUPS), owner=self.agent)

    @rule(agent=st.sampled_from(["node/1", "node/2"]))
    def restart_agent(self, agent: str) -> None:
        self.agent = agent

    # --- time ---------------------------------------------------------------------------------------------------

    @rule(ticks=st.integers(1, 8))
    def pass_time(self, ticks: int) -> None:
        for _ in range(ticks):
            self.tick()

    @rule(ms=st.integers(LEASE_MS // 4 + 1, 20_000))
    def freeze(self, ms: int) -> None:
        """The store does nothing for a while, or another host's clock is ahead."""
        self._jump(ms)

    @rule(ms=st.integers(1, 20_000))
    def promote_a_host_whose_clock_is_behind(self, ms: int) -> None:
        self._jump(-ms)

    # --- the store ----------------------------------------------------------------------------------------------

    @rule()
    def remember_replica(self) -> None:
        self.replica = self.bench.store.snapshot()

    @rule()
    def promote_replica(self) -> None:
        self._lose(self.replica)
        self.replica = self.bench.store.snapshot()

    @rule()
    def restart_store_empty(self) -> None:
        self._lose({})

    @precondition(lambda self: self.bench.late)
    @rule(pick=st.integers(0, 99))
    def a_late_call_arrives(self, pick: int) -> None:
        self.bench.store.call(self.bench.late.pop(pick % len(self.bench.late)))

    # --- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def the_book_agrees_with_itself(self) -> None:
        check_book(self.bench)

    @invariant()
    def the_book_agrees_with_every_gateway_without_doubt(self) -> None:
        live = self.bench.live()
        for gateway in self.gateways:
            if not gateway.in_doubt and gateway not in self.excused:
                assert live.get(gateway.name, {}) == gateway.live

    def settle(self) -> None:
        """The faults are over; soon the ledger is exactly what the living hold."""
        self.asleep_until.clear()
        for gateway in self.gateways:
            if gateway.in_doubt:
                self._resync(gateway, Fate.ARRIVES)
        for _ in range(SETTLE_MS // TICK_MS):
            self.tick()
        for gateway in self.gateways:
            if gateway.in_doubt:
                self._resync(gateway, Fate.ARRIVES)
        self.tick()
        seen = [] if self._is_refused else [f"{rank} i{life}" for rank, life in self.lives.items()]
        check_settled(self.bench, {gateway.name: gateway.live for gateway in self.gateways}, seen or self._known())

    def tick(self) -> None:
        """A few ms in which all that runs by itself goes on."""
        store = self.bench.store
        store.now_ms += TICK_MS
        for gateway in self.gateways:
            if gateway.in_doubt or store.now_ms < self.asleep_until.get(gateway, 0):
                continue
            if store.now_ms >= self.renew_at.get(gateway, 0):
                self.renew_at[gateway] = store.now_ms + RENEW_MS
                self._attempt(gateway, gateway.renew)
        self.report()

    # --- how it is done -----------------------------------------------------------------------------------------

    @property
    def _is_refused(self) -> bool:
        """Whether another instance of the agent still has the ranks."""
        return any(row.split()[7] != self.agent for row in self.bench.rows(self.bench.keys.seen).values())

    def _known(self) -> list[str]:
        return [f"{rank} {row.split()[0]}" for rank, row in self.bench.rows(self.bench.keys.seen).items()]

    def _newborn(self) -> RawGateway:
        self.born += 1
        return RawGateway(self.bench, f"gateway-{self.born}@127.0.0.1:8000")

    def _attempt(self, gateway: RawGateway, deed: Callable[[], object]) -> None:
        """A refusal needs an excuse: something that happened to the store or to the gateway."""
        if self.bench.store.now_ms < self.asleep_until.get(gateway, 0):
            return
        try:
            deed()
        except LostError:
            self.renew_at.pop(gateway, None)
        except RefusedError:
            assert gateway in self.excused, f"{gateway.name} was refused without a fault"

    def _resync(self, gateway: RawGateway, fate: Fate) -> None:
        gateway.begin()
        self._state(gateway, fate)

    def _state(self, gateway: RawGateway, fate: Fate) -> None:
        self._attempt(gateway, lambda: gateway.state(fate))
        if not gateway.in_doubt:
            self.excused.discard(gateway)

    def _jump(self, ms: int) -> None:
        self.bench.store.now_ms += ms
        for gateway in self.gateways:
            self.renew_at.pop(gateway, None)
            if gateway in self.asleep_until:
                self.asleep_until[gateway] += ms

    def _lose(self, data: dict[bytes, object]) -> None:
        self.bench.store.data = data
        self.excused.update(self.gateways)

    def _sample(self, rank: str) -> Sample:
        life = f"i{self.lives[rank]}"
        sums = self.bench.count().lives.get(f"{rank} {life}")
        requests, kv_tokens = (sums.dispatched, sums.engine_kv) if sums else (0, 0)
        return Sample(rank, life, requests=requests, kv_tokens=kv_tokens, rate=SLOW_RATE)

    def _ask(self, kinds: tuple[str, ...], tokens: int) -> Ask:
        of_kind = {
            kind: tuple(
                Candidate(rank, f"i{life}", LegKind(kind), "c", GROUPS[rank], 0.0, per_request_s=1.0)
                for rank, life in self.lives.items()
            )
            for kind in kinds
        }
        return ask(
            *of_kind.get("m", ()),
            prefills=of_kind.get("p", ()),
            decodes=of_kind.get("d", ()),
            transfer_s={"c": {"c": 0.0}},
            uncached=tokens // 2,
            prompt=tokens,
        )
