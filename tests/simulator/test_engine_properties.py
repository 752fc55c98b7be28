"""What holds for the engine whatever is asked of it."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from simulator.engine import EngineCore
from simulator.settings import RankSettings
from simulator.step import Step
from tests.simulator.engines import answers, request, settings
from tests.simulator.random_asks import ASK, ENGINE, Ask


@dataclass(frozen=True, kw_only=True)
class AbortableAsk(Ask):
    """One that is perhaps aborted, so many turns after it arrived."""

    aborted_after: int | None


asks = st.lists(
    st.builds(AbortableAsk, **ASK, aborted_after=st.none() | st.integers(0, 10)),
    min_size=1,
    max_size=10,
)
engines = st.builds(
    settings,
    **ENGINE,
    speed=st.sampled_from([1, 50]),
    mean_output_tokens=st.sampled_from([3, 1000]),
)


def run(asked: list[AbortableAsk], options: RankSettings) -> list[Step]:
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


@given(asks, engines)
@hypothesis_settings(max_examples=200, deadline=None)
def test_no_block_leaks_no_bound_breaks_and_no_token_depends_on_company(
    asked: list[AbortableAsk], options: RankSettings
) -> None:
    found = answers(run(asked, options))
    for index, ask in enumerate(asked):
        answer = found.get(index, [])
        whole = ask.right_ids(index, options, mean_output_tokens=options.mean_output_tokens)
        if ask.aborted_after is None:
            assert answer == whole
        else:
            assert answer == whole[: len(answer)]
