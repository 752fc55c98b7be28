"""What one gateway remembers of who holds what, for while the index cannot be asked."""

from __future__ import annotations

from random import Random

import msgspec

from scheduler.decision import RequestShape
from scheduler.planning import Rules, plan_alone
from scheduler.policies import policy_named
from scheduler.recollection import MOST_HOLDERS, Recollection
from tests.scheduler.samples import rank, view

BLOCK_TOKENS = 500
POOL = view(*(rank(f"r{number}") for number in range(8)))


def prompt(*blocks: int, **fields: dict[str, int]) -> RequestShape:
    shape = RequestShape(
        prompt_tokens=BLOCK_TOKENS * len(blocks) + 100,
        output_tokens=10,
        prompt_key="k",
        blocks=tuple(bytes(blocks[: end + 1]) for end in range(len(blocks))),
        block_tokens=BLOCK_TOKENS,
    )
    return msgspec.structs.replace(shape, **fields)


def test_a_rank_holds_what_was_placed_there_as_deep_as_prompts_are_the_same() -> None:
    recollection = Recollection()
    recollection.placed(prompt(1, 2, 3), ["r1"], POOL)
    recollection.placed(prompt(1, 9), ["r2"], POOL)
    assert recollection.cached_tokens(prompt(1, 2, 4, 5), POOL) == {"r1": 1_000, "r2": 500}
    assert recollection.cached_tokens(prompt(7), POOL) == {}


def test_what_the_index_answered_is_remembered_as_deep_as_it_said() -> None:
    recollection = Recollection()
    recollection.found(prompt(1, 2, 3, cached_tokens={"r3": 1_000, "gone": 1_000}), POOL)
    assert recollection.cached_tokens(prompt(1, 2, 3), POOL) == {"r3": 1_000}


def test_a_new_life_holds_nothing() -> None:
    recollection = Recollection()
    recollection.placed(prompt(1, 2), ["r1"], POOL)
    assert recollection.cached_tokens(prompt(1, 2), view(rank("r1", incarnation="next"))) == {}


def test_the_ranks_met_last_are_remembered_of_a_block() -> None:
    recollection = Recollection()
    for number in range(8):
        recollection.placed(prompt(1), [f"r{number}"], POOL)
    assert set(recollection.cached_tokens(prompt(1), POOL)) == {f"r{number}" for number in range(8 - MOST_HOLDERS, 8)}


def test_what_was_met_longest_ago_is_forgotten() -> None:
    recollection = Recollection(most_blocks=2)
    recollection.placed(prompt(1), ["r1"], POOL)
    recollection.placed(prompt(2), ["r2"], POOL)
    recollection.placed(prompt(1), ["r1"], POOL)
    recollection.placed(prompt(3), ["r3"], POOL)
    assert [bool(recollection.cached_tokens(prompt(block), POOL)) for block in (1, 2, 3)] == [True, False, True]


def test_alone_a_prompt_may_go_to_ranks_that_hold_much_of_it_and_not_to_those_that_hold_little() -> None:
    rules = Rules(policy=policy_named("forebay"))

    def asked(**cached_tokens: int) -> set[str]:
        shape = prompt(1, 2, 3, 4, cached_tokens=cached_tokens)
        planned = plan_alone(shape, POOL, rules, pool_ms=0, chance=Random(1), avoid=frozenset())
        assert planned is not None
        return set(planned.ranks)

    by_hash = asked()
    others = sorted({f"r{number}" for number in range(8)} - by_hash)
    assert len(by_hash) == 2
    assert asked(**{others[0]: 2_000, others[1]: 500}) == by_hash | {others[0]}
    assert asked(**dict.fromkeys(others, 2_000)) == by_hash | set(others[:2])
