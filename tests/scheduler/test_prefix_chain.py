"""Which of a prompt's blocks the index knows."""

from __future__ import annotations

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from scheduler.prefix_chain import DENSE, chain_of, keyed


def blocks(count: int) -> list[bytes]:
    return [count.to_bytes(8) for count in range(count)]


@given(st.integers(0, 3_000), st.integers(0, 3_000))
def test_prompts_that_begin_alike_have_chains_that_begin_alike(one: int, other: int) -> None:
    short, long = sorted((one, other))
    chain, longer = chain_of(blocks(short)), chain_of(blocks(long))
    assert list(longer.hashes[: len(chain.hashes)]) == list(chain.hashes)
    assert list(longer.ends[: len(chain.ends)]) == list(chain.ends)


def test_a_short_prompts_blocks_are_all_known() -> None:
    assert chain_of(blocks(DENSE)) == (blocks(DENSE), list(range(1, DENSE + 1)))
    assert chain_of([]) == ([], [])


@given(st.integers(1, 3_000))
def test_what_is_not_known_is_a_16th_of_the_prompt_at_most(count: int) -> None:
    ends = [0, *chain_of(blocks(count)).ends]
    assert count - ends[-1] <= max(0, count / 16)
    assert all(after - before <= max(1, after / 16) for before, after in pairwise(ends))


def test_a_prompt_of_half_a_million_tokens_has_a_hundred_keys() -> None:
    assert len(chain_of(blocks(1_024)).hashes) == 32 + 5 * 16


def test_with_a_secret_what_is_written_down_is_nobodys_hash_without_it() -> None:
    hashes = [bytes([number] * 8) for number in range(3)]
    assert keyed(hashes, b"") == hashes
    mine, others = keyed(hashes, b"mine"), keyed(hashes, b"others")
    assert mine == keyed(hashes, b"mine")
    assert [len(each) for each in mine] == [8, 8, 8]
    assert not {*hashes, *mine} & {*others}
    assert not {*hashes} & {*mine}
