"""What holds for a prefill and a decode engine, whatever is asked of them and whoever gives up when."""

from dataclasses import dataclass, replace

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator import model
from simulator.engine import EngineCore
from simulator.kv_fetch import PullOrder
from simulator.settings import RankSettings
from simulator.step import Step
from simulator.transfer_params import RemoteKv
from tests.simulator.engines import request, settings
from tests.simulator.random_asks import ASK, ENGINE, Ask

TURNS = 400
ENOUGH_TOKENS = 8
"""So many wrong tokens are never the right ones by chance."""


@dataclass(frozen=True, kw_only=True)
class PairAsk(Ask):
    """One in two legs. Times are turns: how long the client and the transfer take, when the client gives up."""

    between_legs: int
    transfer: int
    fails: bool
    gives_up_after: int | None
    takes_kv_of: int | None


asks = st.lists(
    st.builds(
        PairAsk,
        **ASK,
        between_legs=st.integers(0, 5),
        transfer=st.integers(0, 5),
        fails=st.sampled_from([False, False, False, True]),
        gives_up_after=st.none() | st.integers(0, 20),
        takes_kv_of=st.none(),
    ),
    min_size=1,
    max_size=8,
)
engines = st.builds(
    settings,
    **ENGINE,
    role=st.just("decode"),
    kv_load_failure_policy=st.sampled_from(["fail", "recompute"]),
)


class Pair:
    """Both engines in turns, and what moves between them."""

    def __init__(self, asked: list[PairAsk], options: RankSettings) -> None:
        self.asked, self.options = asked, options
        self.prefill, self.decode = EngineCore(options), EngineCore(options)
        self.now_s = 0.0
        self.due: dict[int, list[tuple[PullOrder, list[int]]]] = {}
        self.second_legs: dict[int, list[int]] = {}
        self.offers: dict[int, RemoteKv] = {}
        self.answers: dict[int, list[int]] = {}
        self.wrong: set[int] = set()
        self.failed: set[int] = set()
        self.preempted: set[int] = set()
        self.gone: set[int] = set()

    def run(self) -> None:
        for turn in range(TURNS):
            for index, ask in enumerate(self.asked):
                self._client(turn, index, ask)
            for order, contents in self.due.pop(turn, []):
                self._transferred(order, contents)
            for index in self.second_legs.pop(turn, []):
                self._second_leg(index)
            for core in (self.prefill, self.decode):
                if (step := core.step(self.now_s)) is not None:
                    self._stepped(turn, core, step)
                check(core, self.options)

    def _client(self, turn: int, index: int, ask: PairAsk) -> None:
        if turn == ask.arrives_at:
            name = f"request {index}"
            self.prefill.add(request(index, ask.prompt(index), 1, arrival_s=self.now_s, kv_request_id=name))
        if ask.gives_up_after is not None and turn == ask.arrives_at + ask.gives_up_after:
            self.gone.add(index)
            self.prefill.abort(index)
            self.decode.abort(index)
            if index in self.offers and index not in self.decode.fetches.pending:
                self.prefill.release_held(f"request {index}")

    def _second_leg(self, index: int) -> None:
        ask = self.asked[index]
        if index in self.gone:
            self.prefill.release_held(f"request {index}")
            return
        taken = self.offers.get(index if ask.takes_kv_of is None else ask.takes_kv_of % len(self.asked))
        own = self.offers[index]
        remote = own if taken is None or len(taken.block_ids) < len(own.block_ids) else taken
        self.decode.add(request(index, ask.prompt(index), ask.max_tokens, arrival_s=self.now_s, pull=remote))

    def _transferred(self, order: PullOrder, contents: list[int]) -> None:
        self.prefill.release_held(order.remote.request_id)
        if self.asked[order.request_id].fails:
            if self.decode.load_failed(order.request_id) is not None:
                self.failed.add(order.request_id)
        elif self.decode.loaded(order.request_id, contents):
            self.wrong.add(order.request_id)

    def _stepped(self, turn: int, core: EngineCore, step: Step) -> None:
        self.now_s = max(self.now_s, step.end_s)
        for order in step.pulls:
            contents = self.prefill.kv.held(order.block_ids)
            self.due.setdefault(turn + 1 + self.asked[order.request_id].transfer, []).append((order, contents))
        for out in step.outputs:
            index = out.sequence.request.request_id
            if core is self.decode:
                self.answers.setdefault(index, []).append(out.token)
                if out.sequence.preemptions:
                    self.preempted.add(index)
            elif (held := core.held.find(f"request {index}")) is not None:
                self.offers[index] = RemoteKv("P", f"request {index}", "", 1, tuple(held.blocks))
                self.second_legs.setdefault(turn + 1 + self.asked[index].between_legs, []).append(index)


def check(core: EngineCore, options: RankSettings) -> None:
    """Every block is free or somebody's, and nobody writes into what is not theirs."""
    fetches = core.fetches
    sequences = [*core.running, *fetches.ready, *fetches.pending.values()]
    used = {block for sequence in sequences for block in sequence.blocks}
    used |= {block for index in range(8) if (held := core.held.find(f"request {index}")) for block in held.blocks}
    assert core.kv.num_free == options.kv_blocks - len(used)
    assert all(not sequence.blocks for sequence in core.waiting)
    own = [block for sequence in fetches.pending.values() for block in sequence.blocks[sequence.published :]]
    assert len(own) == len(set(own))


@given(asks, engines)
@hypothesis_settings(max_examples=150, deadline=None)
def test_kv_that_moves_changes_no_answer_and_no_block_leaks(asked: list[PairAsk], options: RankSettings) -> None:
    pair = Pair(asked, options)
    pair.run()
    assert not pair.wrong
    for index, ask in enumerate(asked):
        answer, whole = pair.answers.get(index, []), ask.right_ids(index, options, ignore_eos=True)
        assert answer == whole[: len(answer)]
        assert index in pair.gone | pair.failed or answer == whole
    for core in (pair.prefill, pair.decode):
        assert core.unfinished == 0
        assert core.kv.num_free == options.kv_blocks


@given(st.data(), asks, engines)
@hypothesis_settings(max_examples=150, deadline=None)
def test_kv_of_another_prompt_never_gives_the_right_answer(
    data: st.DataObject, asked: list[PairAsk], options: RankSettings
) -> None:
    asked = [replace(ask, takes_kv_of=data.draw(st.none() | st.integers(0, 7)), fails=False) for ask in asked]
    pair = Pair(asked, options)
    pair.run()
    for index in pair.wrong - pair.preempted:
        answer = pair.answers.get(index, [])
        right = asked[index].right_ids(index, options, ignore_eos=True)
        assert len(answer) < ENOUGH_TOKENS or answer != right[: len(answer)]


def test_kv_is_right_only_until_its_blocks_are_reused() -> None:
    options = settings(kv_blocks=10, max_model_len=40, kv_lease_ms=1)
    prefill, decode = EngineCore(options), EngineCore(options)
    prompt = list(range(700, 718))
    prefill.add(request(1, prompt, 1, kv_request_id="one"))
    step = prefill.step(0.0)
    assert step is not None
    held = prefill.held.find("one")
    assert held is not None
    blocks = held.blocks
    right, state = model.prompt_states(prompt, 4)
    assert prefill.kv.held(blocks) == [*right, state]
    ended = prefill.step(step.end_s + 1)
    assert ended is not None
    assert (ended.kv_expired, ended.kv_usage) == (["one"], 0)
    for index in (2, 3):
        prefill.add(request(index, list(range(1000 * index, 1000 * index + 36)), 1))
        prefill.step(step.end_s + index)
    decode.add(request(1, prompt, 12, pull=RemoteKv("P", "one", "", 1, tuple(blocks))))
    fetch = decode.step(0.0)
    assert fetch is not None
    [order] = fetch.pulls
    assert decode.loaded(1, prefill.kv.held(order.block_ids)) != 0


def test_a_prefill_that_is_aborted_in_its_last_step_keeps_nothing() -> None:
    options = settings(kv_blocks=10, max_model_len=40)
    engine = EngineCore(options)
    for leaves, name in ((True, "left"), (False, "kept")):
        engine.add(request(int(leaves), list(range(700, 718)), 1, kv_request_id=name))
    assert engine.step(0.0) is not None
    engine.abort(int(True))
    assert engine.held.find("left") is None
    assert engine.held.find("kept") is not None
    engine.step(1.0)
    engine.abort(int(False))
    assert engine.held.find("kept") is not None, "its step is over: somebody may have been told"
