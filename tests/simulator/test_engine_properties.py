"""What holds for the engine whatever is asked of it."""

from typing import NamedTuple

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.engine import EngineCore
from simulator.settings import RankSettings
from simulator.step import Step
from tests.simulator.engines import answers, request, settings
from tests.simulator.oracle import right_ids


class Ask(NamedTuple):
    """One request: prompts that begin alike share blocks; it arrives, and perhaps is aborted, at a step."""

    shared_tokens: int
    own_tokens: int
    max_tokens: int
    arrives_at: int
    aborted_after: int | None

    def prompt(self, index: int) -> list[int]:
        return [*range(500, 500 + self.shared_tokens), *range(10_000 * index, 10_000 * index + self.own_tokens)]


asks = st.lists(
    st.builds(
        Ask,
        shared_tokens=st.integers(0, 12),
        own_tokens=st.integers(1, 12),
        max_tokens=st.integers(1, 16),
        arrives_at=st.integers(0, 12),
        aborted_after=st.none() | st.integers(0, 10),
    ),
    min_size=1,
    max_size=10,
)
engines = st.builds(
    settings,
    max_model_len=st.just(40),
    kv_blocks=st.integers(10, 40),
    max_num_seqs=st.integers(1, 5),
    max_num_batched_tokens=st.integers(3, 40),
    speed=st.sampled_from([1, 50]),
    mean_output_tokens=st.sampled_from([3, 1000]),
)


def run(asked: list[Ask], options: RankSettings) -> list[Step]:
    """All requests through one engine; its bounds are checked after each step."""
    core, steps, now_s = EngineCore(options), list[Step](), 0.0
    for turn in range(1500):
        for index, ask in enumerate(asked):
            if ask.arrives_at == turn:
                core.add(request(index, ask.prompt(index), ask.max_tokens, ignore_eos=False, arrival_s=now_s))
            if ask.aborted_after is not None and ask.arrives_at + ask.aborted_after == turn:
                core.abort(index)
        step = core.step(now_s)
        if step is None:
            if turn > 25:
                break
            continue
        check(core, step, options)
        assert step.end_s >= now_s
        now_s = step.end_s
        steps.append(step)
    assert not core.running
    assert not core.waiting
    assert core.kv.num_free == options.kv_blocks
    return steps


def check(core: EngineCore, step: Step, options: RankSettings) -> None:
    assert step.prefill_tokens + step.decode_tokens <= options.max_num_batched_tokens
    assert len(core.running) <= options.max_num_seqs
    held = {block for sequence in core.running for block in sequence.blocks}
    assert core.kv.num_free == options.kv_blocks - len(held)
    assert all(not sequence.blocks for sequence in core.waiting)
    for sequence in core.running:
        assert len(sequence.blocks) * options.block_size_tokens >= sequence.computed


def expected(ask: Ask, index: int, options: RankSettings) -> list[int]:
    """The request's answer, straight from the model."""
    prompt = ask.prompt(index)
    most = min(ask.max_tokens, options.max_model_len - len(prompt))
    return right_ids(prompt, most, mean_output_tokens=options.mean_output_tokens)


@given(asks, engines)
@hypothesis_settings(max_examples=200, deadline=None)
def test_no_block_leaks_no_bound_breaks_and_no_token_depends_on_company(
    asked: list[Ask], options: RankSettings
) -> None:
    found = answers(run(asked, options))
    for index, ask in enumerate(asked):
        answer, whole = found.get(index, []), expected(ask, index, options)
        if ask.aborted_after is None:
            assert answer == whole
        else:
            assert answer == whole[: len(answer)]
