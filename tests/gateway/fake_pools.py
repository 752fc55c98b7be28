"""Pools that place as a test says and remember everything they are told."""

from collections import Counter
from collections.abc import Mapping, Sequence
from random import Random
from typing import Any, NamedTuple

import anyio

from scheduler.decision import Decision, Leg, LegKind, Place, RequestShape
from scheduler.errors import SchedulerError
from scheduler.homes import Home
from scheduler.messages import KvAddress, Phase, RankCard, RankState, Role
from scheduler.named_rank import Fault
from scheduler.prefix_calibration import CacheBelief


def card(
    endpoint: str,
    *,
    rank: str = "",
    role: Role = Role.MIXED,
    local_index: int | None = None,
    max_model_len: int = 4096,
    block_size: int = 0,
    incarnation: str = "1",
    connector: str = "nixl",
    kv: KvAddress | None = None,
) -> RankCard:
    return RankCard(
        rank=rank or endpoint.removeprefix("http://"),
        endpoint=endpoint,
        role=role,
        model="sim",
        incarnation=incarnation,
        node="node",
        local_index=local_index,
        block_size=block_size,
        connector="" if role is Role.MIXED else connector,
        kv=kv,
        max_num_seqs=64,
        max_model_len=max_model_len,
        kv_capacity_tokens=100_000,
    )


NOWHERE = card("http://127.0.0.1:9")
"""A rank at a port where nobody listens."""


class FakeRankView(NamedTuple):
    card: RankCard
    state: RankState = RankState.UP
    prefix_belief: CacheBelief | None = None


class FakePoolView(NamedTuple):
    ranks: Mapping[str, FakeRankView]


class FakePool:
    """Places on its cards in turn (or always on the first ones), after a delay between 0 and `place_s`.

    `answer` replaces its decisions; whoever waits for a rank waits for `has_rank`.

    What is pairable goes to a prefill and a decode rank if it has any. A rebinding answers the next of `rebinds`, else
    the rank placed on, after `rebind_s`.

    A prompt of more than `stalls_above_tokens` is never placed, nor any from the placement `stalls_from` on; they are
    counted in `stalled`.
    `history` has every word it was told of a reservation, in order; `live` what was not released; `moved` what was
    released by the placement that came instead.
    """

    def __init__(
        self,
        *cards: RankCard,
        name: str = "sim",
        place_s: float = 0.0,
        answer: Decision | None = None,
        takes_turns: bool = True,
    ) -> None:
        self.name = name
        self.view = FakePoolView({one.rank: FakeRankView(one) for one in cards})
        self.place_s = place_s
        self.answer = answer
        self.faults: dict[str, Fault] = {}
        self._takes_turns = takes_turns
        self.degraded = False
        self.snapshot_age_s = 0.25
        self.first_token_s = 3600.0
        self.stalls_above_tokens = 1 << 30
        self.stalls_from = 1 << 30
        self.stalled = 0
        self.placed: dict[int, tuple[Leg, ...]] = {}
        self.rebinds: list[RankCard | None] = []
        self.rebind_s = 0.0
        self.rebound_avoiding: list[frozenset[str]] = []
        self.rebound_for: list[str] = []
        self.asked: list[RequestShape] = []
        self.foreseen: list[RequestShape] = []
        self.avoided: list[frozenset[str]] = []
        self.explained: list[str] = []
        self.history: list[tuple[int, str]] = []
        self.live: set[int] = set()
        self.moved: list[int] = []
        self.given_back = 0
        self.shunned: list[str] = []
        self.has_rank = anyio.Event()
        self.heard_of: list[tuple[str, bool]] = []
        self.heard_for: list[int | None] = []
        self.left_out: frozenset[str] = frozenset()
        self._random = Random(7)

    def fault_of(self, rank: str) -> Fault | None:
        return self.faults.get(rank) if rank in self.view.ranks else Fault.UNKNOWN

    def foresee(self, shape: RequestShape) -> None:
        self.foreseen.append(shape)

    async def place(
        self,
        shape: RequestShape,
        *,
        receipt_for: str = "",
        avoid: frozenset[str] = frozenset(),
        instead_of: int | None = None,
    ) -> Decision:
        if instead_of is not None:
            assert instead_of in self.live, "a reservation is moved while it is held"
            self.live.remove(instead_of)
            self.history.append((instead_of, "released"))
            self.moved.append(instead_of)
        self.asked.append(shape)
        self.avoided.append(avoid)
        self.explained.append(receipt_for)
        if self.answer is not None:
            return self.answer
        reservation = len(self.asked)
        self.live.add(reservation)
        try:
            if shape.prompt_tokens > self.stalls_above_tokens or reservation >= self.stalls_from:
                self.stalled += 1
                await anyio.sleep_forever()
            await anyio.sleep(self.place_s * self._random.random())
        except anyio.get_cancelled_exc_class():
            self.live.remove(reservation)
            self.given_back += 1
            raise
        self.placed[reservation] = self._legs(reservation, shape, avoid)
        return Place(
            reservation=reservation,
            legs=self.placed[reservation],
            cost_s=0.5,
            first_token_s=self.first_token_s,
            alone=self.degraded,
        )

    def _legs(self, reservation: int, shape: RequestShape, avoid: frozenset[str]) -> tuple[Leg, ...]:
        turn = reservation if self._takes_turns else 0
        cards = [rank.card for rank in self.view.ranks.values()]
        prefills = [card for card in cards if card.role is Role.PREFILL]
        prefills = [card for card in prefills if card.rank not in avoid] or prefills
        others = [card for card in cards if card.role is not Role.PREFILL]
        others = [card for card in others if shape.only_on in ("", card.rank)]
        others = [card for card in others if card.rank not in avoid] or others
        if prefills and shape.pairable:
            prefill = Leg(kind=LegKind.PREFILL, card=prefills[turn % len(prefills)])
            return (prefill, Leg(kind=LegKind.DECODE, card=others[turn % len(others)]))
        return (Leg(kind=LegKind.WHOLE, card=others[turn % len(others)]),)

    async def rebind(
        self, reservation: int, *, receipt_for: str = "", avoid: frozenset[str] = frozenset()
    ) -> Leg | None:
        self.history.append((reservation, "prefill_done"))
        self.rebound_avoiding.append(avoid)
        self.rebound_for.append(receipt_for)
        await anyio.sleep(self.rebind_s)
        card = self.rebinds.pop(0) if self.rebinds else self.placed[reservation][-1].card
        return Leg(kind=LegKind.DECODE, card=card) if card else None

    async def rank_comes(self, shape: RequestShape, avoid: frozenset[str]) -> None:
        await self.has_rank.wait()

    def advance(self, reservation: int, phase: Phase) -> None:
        self.history.append((reservation, phase.name.lower()))

    def decode_waits(self, reservation: int) -> None:
        self.history.append((reservation, "decode_waits"))

    def heard(self, card: RankCard, well: bool, reservation: int | None = None) -> None:
        self.heard_of.append((card.rank, well))
        self.heard_for.append(reservation)

    def shun(self, rank: str) -> None:
        self.shunned.append(rank)

    def release(self, reservation: int) -> None:
        self.history.append((reservation, "released"))
        self.live.discard(reservation)

    def words(self, reservation: int = 1) -> list[str]:
        """What it was told of one reservation."""
        return [word for number, word in self.history if number == reservation]

    def releases(self) -> Counter[int]:
        """How often each reservation was released."""
        return Counter(number for number, word in self.history if word == "released")


class FakeHomes:
    """Remembers homes in a dict; while `error` is set it raises that, while `is_slow` it never answers.

    `drained` are ranks; while `drains_error` is set it raises that where it is asked for them.
    """

    def __init__(self) -> None:
        self.kept: dict[str, tuple[Home, int]] = {}
        self.drained: set[str] = set()
        self.error: SchedulerError | None = None
        self.drains_error: SchedulerError | None = None
        self.is_slow = False

    async def keep(self, response: str, home: Home, ttl_s: int) -> None:
        await self._exchange()
        self.kept[response] = home, ttl_s

    async def find(self, response: str) -> Home | None:
        await self._exchange()
        home, _ = self.kept.get(response, (None, 0))
        return home

    async def is_drained(self, home: Home) -> bool:
        await self._exchange()
        if self.drains_error is not None:
            raise self.drains_error
        return home.rank in self.drained

    async def _exchange(self) -> None:
        if self.is_slow:
            await anyio.sleep_forever()
        if self.error is not None:
            raise self.error


class FakeAddresses(dict[str, str]):
    """Those of other gateways, by their lives; while `error` is set it raises that."""

    error: SchedulerError | None = None
    asked = 0

    async def find(self, life: str) -> Sequence[str]:
        self.asked += 1
        if self.error is not None:
            raise self.error
        return self.get(life, "").split()


class FakePools:
    """Pools by name."""

    def __init__(self, *pools: FakePool) -> None:
        self.ready = True
        self.degraded = False
        self.counters: Mapping[str, int] = {"resyncs": 3}
        self.homes: Any = FakeHomes()
        self.addresses = FakeAddresses()
        self.lost: dict[str, FakePool] = {}
        self._pools: dict[str, FakePool] = {}
        self.show(*pools)

    def show(self, *pools: FakePool) -> None:
        """These are all there are from now on."""
        self._pools = {pool.name: pool for pool in pools}

    @property
    def all(self) -> Sequence[FakePool]:
        return list(self._pools.values())

    def get(self, model: str) -> FakePool | None:
        return self._pools.get(model)

    def known(self, model: str) -> FakePool | None:
        return self._pools.get(model) or self.lost.get(model)

    def names(self) -> Sequence[str]:
        return sorted(self._pools)

    def known_names(self) -> Sequence[str]:
        return sorted({*self._pools, *self.lost})

    @property
    def placed(self) -> int:
        """How many requests were to be placed."""
        return sum(len(pool.asked) for pool in self._pools.values())

    @property
    def reservations(self) -> int:
        return sum(len(pool.live) for pool in self._pools.values())


def pools_of_nobody(*names: str) -> FakePools:
    """Pools whose only rank cannot be reached."""
    return FakePools(*(FakePool(NOWHERE, name=name) for name in names or ("sim",)))
