"""Everything that can happen to a pool, in any order: gateways, an agent, time, faults; leases of 50 ms.

After every step the book must agree with itself, and with each gateway that has no reason to doubt.
"""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import invariant, precondition, rule

from tests.invariants.asks import ask, record
from tests.invariants.checks import check_book
from tests.invariants.lossy_pool import Fate
from tests.invariants.machine_pool import GROUPS, LEASE_MS, MachinePool

which = st.integers(0, 2)
fates = st.sampled_from([Fate.ARRIVES] * 5 + [Fate.REQUEST_LOST, Fate.REPLY_LOST, Fate.LATE])
legs = st.sampled_from([("m",), ("p", "d")])
legs_of_their_own = st.sampled_from([("m",), ("p", "d"), ("p", "w")])
"""Also those of a pair whose decode rank has the request already; no call of the store's makes such a pair."""
ranks = st.sampled_from(sorted(GROUPS))


class LedgerMachine(MachinePool):
    """The rules; a subclass adds what else must hold."""

    # --- gateways -----------------------------------------------------------------------------------------------

    @rule(who=which, kinds=legs, tokens=st.integers(0, 300), fate=fates)
    def place(self, who: int, kinds: tuple[str, ...], tokens: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if not gateway.in_doubt:
            self.attempt(gateway, lambda: gateway.place(self.ask_for(kinds, tokens), fate))

    @rule(who=which, pick=st.integers(0, 99), kinds=legs, is_refused=st.booleans(), fate=fates)
    def move(self, who: int, pick: int, kinds: tuple[str, ...], is_refused: bool, fate: Fate) -> None:
        """A request is placed anew instead of where it failed; where no rank is left, it is refused."""
        gateway = self.gateways[who]
        if gateway.live and not gateway.in_doubt:
            failed = sorted(gateway.live)[pick % len(gateway.live)]
            asked = ask() if is_refused else self.ask_for(kinds, 100)
            self.attempt(gateway, lambda: gateway.place(asked, fate, instead_of=failed))

    @rule(who=which, kinds=legs_of_their_own, on=st.tuples(ranks, ranks), phase=st.integers(0, 3), fate=fates)
    def adopt(self, who: int, kinds: tuple[str, ...], on: tuple[str, str], phase: int, fate: Fate) -> None:
        spelled = [f"{kind} {rank} i{self.lives[rank]} {GROUPS[rank]}" for kind, rank in zip(kinds, on, strict=False)]
        self.attempt(self.gateways[who], lambda: self.gateways[who].adopt(record(phase, *spelled), fate))

    @rule(who=which, pick=st.integers(0, 99), phase=st.integers(1, 3), fate=fates)
    def advance(self, who: int, pick: int, phase: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if gateway.live:
            held = sorted(gateway.live)[pick % len(gateway.live)]
            self.attempt(gateway, lambda: gateway.advance(held, phase, fate))

    @rule(who=which, pick=st.integers(0, 99), dear=ranks, fate=fates)
    def rebind(self, who: int, pick: int, dear: str, fate: Fate) -> None:
        gateway = self.gateways[who]
        if (pairs := gateway.before_first_token()) and not gateway.in_doubt:
            asked = self.ask_for(("d",), 100, dear=dear)
            self.attempt(gateway, lambda: gateway.rebind(pairs[pick % len(pairs)], asked, fate))

    @rule(who=which, pick=st.integers(0, 99), fate=fates)
    def release(self, who: int, pick: int, fate: Fate) -> None:
        gateway = self.gateways[who]
        if gateway.live:
            held = sorted(gateway.live)[pick % len(gateway.live)]
            self.attempt(gateway, lambda: gateway.release(held, fate))

    @rule(who=which, fate=fates)
    def renew(self, who: int, fate: Fate) -> None:
        if not self.gateways[who].in_doubt:
            self.attempt(self.gateways[who], lambda: self.gateways[who].renew(fate))

    @rule(who=which, piece=st.integers(1, 3))
    def begin_resync(self, who: int, piece: int) -> None:
        self.gateways[who].begin(piece)

    @rule(who=which, fate=fates)
    def state_a_piece(self, who: int, fate: Fate) -> None:
        if self.gateways[who].is_stating:
            self.state_piece(self.gateways[who], fate)

    @rule(who=which, fate=fates)
    def resync(self, who: int, fate: Fate) -> None:
        self.resync_whole(self.gateways[who], fate)

    @rule(who=which)
    def kill(self, who: int) -> None:
        self.killed.append(self.gateways[who])
        self.gateways[who] = self.newborn()

    @rule(who=which, ms=st.integers(1, 3 * LEASE_MS))
    def fall_asleep(self, who: int, ms: int) -> None:
        """It neither renews nor does anything for a while; awake again, it may be refused."""
        self.asleep_until[self.gateways[who]] = self.pool.store.now_ms + ms
        self.excused.add(self.gateways[who])

    # --- the agent ----------------------------------------------------------------------------------------------

    @rule()
    def report_now(self) -> None:
        self.report()

    @rule(rank=ranks)
    def restart_rank(self, rank: str) -> None:
        self.lives[rank] += 1

    @rule()
    def say_goodbye(self) -> None:
        self.pool.report(*(self.sample_of(rank)._replace(state="gone") for rank in GROUPS), owner=self.agent)

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
        self.jump_clock(ms)

    @rule(ms=st.integers(1, 20_000))
    def promote_a_host_whose_clock_is_behind(self, ms: int) -> None:
        self.jump_clock(-ms)

    # --- the store ----------------------------------------------------------------------------------------------

    @rule()
    def remember_replica(self) -> None:
        self.replica = self.pool.store.snapshot()

    @rule()
    def promote_replica(self) -> None:
        self.replace_data(self.replica)
        self.replica = self.pool.store.snapshot()

    @rule()
    def restart_store_empty(self) -> None:
        self.replace_data({})

    @precondition(lambda self: self.pool.late)
    @rule(pick=st.integers(0, 99))
    def a_late_call_arrives(self, pick: int) -> None:
        self.pool.store.call(self.pool.late.pop(pick % len(self.pool.late)))

    # --- what must hold -----------------------------------------------------------------------------------------

    @invariant()
    def the_book_agrees_with_itself(self) -> None:
        check_book(self.pool)

    @invariant()
    def the_book_agrees_with_every_gateway_without_doubt(self) -> None:
        live = self.pool.live()
        for gateway in self.gateways:
            if not gateway.in_doubt and gateway not in self.excused:
                assert live.get(gateway.name, {}) == gateway.live
