"""The next token is a hash of all ids before it, however they came about."""

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import model, tokens

ids = st.lists(st.integers(0, tokens.VOCABULARY_SIZE - 1), min_size=1, max_size=60)
NEVER_ENDS = 0


def state_of(prompt: list[int]) -> int:
    return model.prompt_states(prompt, 16)[1]


def generate(prompt: list[int], count: int, end_below: int = NEVER_ENDS, salt: int = 0) -> list[int]:
    state, last, generated = state_of(prompt), prompt[-1], list[int]()
    for _ in range(count):
        last = model.next_token(state, last, salt, end_below)
        state = model.extend(state, last)
        generated.append(last)
    return generated


@given(ids, st.integers(1, 64))
def test_a_state_is_the_same_block_by_block_and_id_by_id(prompt: list[int], block_size: int) -> None:
    states, state = model.START, list[int]()
    for at, token in enumerate(prompt, 1):
        states = model.extend(states, token)
        if at % block_size == 0:
            state.append(states)
    assert model.prompt_states(prompt, block_size) == (state, states)


@given(ids, st.integers(1, 39))
def test_continuing_from_prompt_and_generated_ids_gives_the_same_continuation(prompt: list[int], cut: int) -> None:
    whole = generate(prompt, 40, model.end_threshold(20))
    assert whole[:cut] + generate(prompt + whole[:cut], 40 - cut, model.end_threshold(20)) == whole


@given(ids, st.data())
def test_a_changed_lost_or_doubled_id_changes_what_follows(prompt: list[int], data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(prompt) - 1))
    other = data.draw(st.integers(0, tokens.VOCABULARY_SIZE - 1).filter(lambda token: token != prompt[at]))
    changed = [*prompt[:at], other, *prompt[at + 1 :]]
    doubled = [*prompt[: at + 1], *prompt[at:]]
    lost = [*prompt[:at], *prompt[at + 1 :]]
    states = [state_of(each) for each in (changed, doubled, lost) if each]
    assert state_of(prompt) not in states


@given(ids)
def test_two_different_neighbours_may_not_be_swapped(prompt: list[int]) -> None:
    for at, (one, two) in enumerate(pairwise(prompt)):
        swapped = [*prompt[:at], two, one, *prompt[at + 2 :]]
        assert (state_of(swapped) == state_of(prompt)) == (one == two)


def test_choices_of_one_request_differ() -> None:
    assert len({tuple(generate([5, 6], 20, salt=salt)) for salt in range(8)}) == 8


def test_answers_end_after_the_mean_length_on_average() -> None:
    mean, lengths = 50, list[int]()
    for first in range(2000):
        answer = generate([first + 20], 1000, model.end_threshold(mean))
        lengths.append(answer.index(tokens.END) + 1 if tokens.END in answer else len(answer))
    assert sum(lengths) / len(lengths) == pytest.approx(mean, rel=0.1)


def test_answers_hold_characters_split_over_tokens_and_no_broken_ones() -> None:
    answer = generate([77], 3000)
    text = b"".join(map(tokens.piece, answer)).decode()
    pieces = [tokens.piece(token).decode(errors="replace") for token in answer]
    assert any("\ufffd" in piece for piece in pieces)
    assert {len(character.encode()) for character in text} == {1, 2, 3, 4}
