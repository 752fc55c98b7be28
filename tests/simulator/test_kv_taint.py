"""Wrong KV gives wrong text, right KV the right one, and the same KV the same one."""

from hypothesis import given
from hypothesis import strategies as st

from simulator.engine import EngineCore
from simulator.kv_taint import taint_of
from simulator.sequence import EngineRequest
from tests.simulator.engines import answers, ids, request, run, settings

states = st.lists(st.integers(1, 2**62), min_size=1, max_size=20)


@given(states, st.integers(0, 19))
def test_kv_is_tainted_if_and_only_if_a_block_differs(right: list[int], at: int) -> None:
    at %= len(right)
    held = [*right[:at], right[at] ^ 1, *right[at + 1 :]]
    assert taint_of(right, right) == 0
    assert taint_of(held, right) == taint_of(held, right) != 0


def test_what_was_computed_on_wrong_kv_stays_wrong_for_all_who_share_the_prefix() -> None:
    core, clean = EngineCore(settings()), EngineCore(settings())
    asks = [request(1, ids(1, 20), max_tokens=30), request(2, [*ids(1, 20), 7, 8, 9, 10], max_tokens=30)]
    run_one(core, request(0, ids(1, 8), max_tokens=1))
    core.kv.write(core.kv.match(asks[0].block_keys, 1)[0], 12345)
    wrong = [run_one(core, ask) for ask in asks]
    computed = asks[0].block_keys[2]
    assert core.kv.held([core.kv.match(asks[0].block_keys, 3)[2]]) != [computed]
    right = [run_one(clean, ask) for ask in asks]
    assert all(one[:10] != other[:10] for one, other in zip(wrong, right, strict=True))


def run_one(core: EngineCore, ask: EngineRequest) -> list[int]:
    core.add(ask)
    return next(iter(answers(run(core)).values()))
