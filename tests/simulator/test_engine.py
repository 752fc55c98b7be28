"""The engine's scheduler, case by case, in virtual time."""

import pytest

from simulator.engine import EngineCore
from simulator.step import Step
from simulator.tokens import END
from tests.simulator.engines import answers, ids, request, run, settings


def step(core: EngineCore, now_s: float = 0.0) -> Step:
    found = core.step(now_s)
    assert found is not None
    return found


def test_an_idle_engine_has_no_step() -> None:
    assert EngineCore(settings()).step(0.0) is None


def test_a_prompt_gets_its_first_token_in_its_prefill_and_then_one_each_step() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 40), max_tokens=3))
    first, *rest = run(core)
    assert first.end_s == pytest.approx(0.020 + 40 / 8000)
    assert [each.prefill_tokens for each in (first, *rest)] == [40, 0, 0]
    assert [len(each.outputs) for each in (first, *rest)] == [1, 1, 1]
    assert rest[0].end_s - first.end_s == pytest.approx(0.00635)


def test_a_long_prompt_is_prefilled_in_chunks_and_has_no_token_before_the_last() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 90), max_tokens=1))
    steps = run(core)
    assert [each.prefill_tokens for each in steps] == [64, 26]
    assert [len(each.outputs) for each in steps] == [0, 1]


def test_decoding_goes_before_the_prefill_of_those_who_wait() -> None:
    core = EngineCore(settings(max_num_batched_tokens=10))
    core.add(request(1, ids(1, 4), max_tokens=5))
    step(core)
    core.add(request(2, ids(2, 30), max_tokens=1))
    mixed = step(core)
    assert (mixed.decode_tokens, mixed.prefill_tokens) == (1, 9)


def test_no_more_than_max_num_seqs_run_and_the_rest_waits_in_order() -> None:
    core = EngineCore(settings())
    for index in range(6):
        core.add(request(index, ids(index, 4), max_tokens=2))
    first = step(core)
    assert (first.running, first.waiting) == (4, 2)
    assert list(answers(run(core))) == [0, 1, 2, 3, 4, 5]


def test_a_prefix_seen_before_is_not_computed_again() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 20), max_tokens=1))
    run(core)
    core.add(request(2, [*ids(1, 20), *ids(2, 6)], max_tokens=1))
    [again] = run(core)
    assert (again.prefix_queries_tokens, again.prefix_hits_tokens, again.prefill_tokens) == (26, 20, 6)


def test_of_a_prompt_known_in_full_the_last_block_is_computed_for_its_token() -> None:
    core = EngineCore(settings())
    for index in (1, 2):
        core.add(request(index, ids(1, 20), max_tokens=1))
        [last] = run(core)
    assert (last.prefix_hits_tokens, last.prefill_tokens) == (16, 4)


def test_the_next_turn_finds_the_answer_of_the_last_one() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 16), max_tokens=9))
    [answer] = answers(run(core)).values()
    core.add(request(2, [*ids(1, 16), *answer, *ids(3, 5)], max_tokens=1))
    assert run(core)[0].prefix_hits_tokens == 24


def test_when_kv_runs_out_the_youngest_is_preempted_and_loses_no_token() -> None:
    roomy, tight = EngineCore(settings()), EngineCore(settings(kv_blocks=8, max_model_len=32))
    for core in (roomy, tight):
        for index in (1, 2):
            core.add(request(index, ids(index, 8), max_tokens=20))
    alone, crowded = run(roomy), run(tight)
    assert sum(each.preemptions for each in alone) == 0
    preempting = next(each for each in crowded if each.preemptions)
    assert [out.sequence.request.request_id for out in preempting.outputs] == [1]
    assert (preempting.running, preempting.waiting) == (1, 1)
    assert answers(crowded) == answers(alone)
    assert crowded[-1].kv_usage == 0


def test_an_aborted_request_is_gone_at_the_next_step() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 20), max_tokens=50))
    step(core)
    core.abort(1)
    report = step(core)
    assert (report.outputs, report.running, report.kv_usage) == ([], 0, 0)
    assert core.step(0.0) is None


def test_aborting_what_is_not_there_does_nothing() -> None:
    core = EngineCore(settings())
    core.abort(7)
    assert core.step(0.0) is None


def test_the_end_token_ends_an_answer_unless_it_is_ignored() -> None:
    core = EngineCore(settings(mean_output_tokens=1))
    core.add(request(1, ids(1, 4), max_tokens=5, ignore_eos=False))
    [out] = run(core)[-1].outputs
    assert (out.token, out.finish) == (END, "stop")
    core.add(request(2, ids(1, 4), max_tokens=5))
    assert END not in answers(run(core))[2]


def test_the_end_token_waits_for_the_minimum() -> None:
    core = EngineCore(settings(mean_output_tokens=1))
    core.add(request(1, ids(1, 4), max_tokens=50, ignore_eos=False, min_tokens=6))
    [answer] = answers(run(core)).values()
    assert answer.index(END) >= 6


def test_an_answer_ends_at_the_context() -> None:
    core = EngineCore(settings(max_model_len=30))
    core.add(request(1, ids(1, 20), max_tokens=50))
    steps = run(core)
    assert len(answers(steps)[1]) == 10
    assert steps[-1].outputs[0].finish == "length"


def test_a_stop_token_ends_an_answer_and_is_named() -> None:
    core = EngineCore(settings())
    core.add(request(1, ids(1, 4), max_tokens=5))
    third = answers(run(core))[1][2]
    core.add(request(2, ids(1, 4), max_tokens=5, stop_token_ids=frozenset([third])))
    [out] = run(core)[-1].outputs
    assert (out.finish, out.stop_token) == ("stop", third)
