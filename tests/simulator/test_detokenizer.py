"""Text comes when its last byte has come, and stops where it was told to."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator.detokenizer import TextStream
from simulator.tokens import END, piece_id

cuts = st.lists(st.integers(1, 4), min_size=1)


def pieces(data: bytes, sizes: list[int]) -> list[int]:
    """The ids of these bytes, cut into pieces of the given sizes, over and over."""
    ids, at, turn = [], 0, 0
    while at < len(data):
        size = sizes[turn % len(sizes)]
        ids.append(piece_id(data[at : at + size]))
        at, turn = at + size, turn + 1
    return ids


def deltas(stream: TextStream, ids: list[int]) -> list[str]:
    found = []
    for at, token in enumerate(ids, 1):
        stopped = stream.push(token)
        found.append(stream.take(finished=stopped or at == len(ids)))
        if stopped:
            break
    return found


@given(st.text(st.characters(exclude_characters="\ufffd")), cuts)
def test_deltas_add_up_to_the_text_however_it_is_cut(text: str, sizes: list[int]) -> None:
    assert "".join(deltas(TextStream(), pieces(text.encode(), sizes))) == text


def test_a_split_character_comes_with_its_last_byte() -> None:
    wave = "\N{WATER WAVE}"
    assert deltas(TextStream(), pieces(wave.encode(), [1])) == ["", "", "", wave]


def test_what_comes_in_one_token_with_half_a_character_waits_for_the_rest() -> None:
    assert deltas(TextStream(), pieces(" \u20ac".encode(), [2])) == ["", " \u20ac"]


def test_an_unfinished_character_at_the_end_is_not_shown() -> None:
    assert "".join(deltas(TextStream(), pieces(b"a\xf0\x9f", [1]))) == "a"


def test_bytes_that_are_no_character_are_replaced() -> None:
    assert "".join(deltas(TextStream(), pieces(b"\xf0\x9fab", [2]))) == "\ufffdab"


@pytest.mark.parametrize(
    ("count", "shown"), [(1, "f"), (2, ""), (3, "caf\u00e9"), (4, ""), (5, ""), (6, "caf\u00e9 \u20ac"), (7, " ")]
)
def test_a_prompt_that_ends_within_a_character_comes_again(count: int, shown: str) -> None:
    """As captured from vLLM 0.32.0 with these pieces: the text of the token behind the first so many."""
    captured = [b"ca", b"f", b"\xc3", b"\xa9", b" \xe2", b"\x82", b"\xac", b" ", b"x"]
    ids = list(map(piece_id, captured))
    for stops in ((), ("never",)):
        stream = TextStream(stops, prompt=ids[:count])
        stream.push(ids[count])
        assert stream.take(finished=True) == shown


def test_it_comes_again_once() -> None:
    ids = pieces("caf\u00e9 \u20ac x".encode(), [1])
    assert "".join(deltas(TextStream(prompt=ids[:4]), ids[4:])) == "caf\u00e9 \u20ac x"


def test_the_end_of_sequence_has_no_text() -> None:
    assert deltas(TextStream(), [piece_id(b"a"), END]) == ["a", ""]


def test_what_may_become_a_stop_string_is_held_back() -> None:
    assert deltas(TextStream(["stop"]), pieces(b"unstoned", [1])) == ["", "", "", "u", "n", "s", "t", "oned"]


@given(st.text("ab", max_size=30), st.lists(st.text("ab", min_size=1, max_size=4), min_size=1, max_size=3), cuts)
def test_the_text_ends_before_the_first_stop_string(text: str, stops: list[str], sizes: list[int]) -> None:
    stream = TextStream(stops)
    shown = "".join(deltas(stream, pieces(text.encode(), sizes)))
    if stream.stopped_by is None:
        assert shown == text
        assert not any(stop in text for stop in stops)
    else:
        assert text.startswith(shown + stream.stopped_by)
        assert not any(stop in shown for stop in stops)


def test_the_stop_string_is_shown_where_asked_for() -> None:
    stream = TextStream(["ab"], include_stop=True)
    assert "".join(deltas(stream, pieces(b"xxabyy", [3]))) == "xxab"
    assert stream.stopped_by == "ab"


def test_a_stop_string_does_not_count_before_the_minimum() -> None:
    stream = TextStream(["a"])
    assert not stream.push(piece_id(b"a"), may_stop=False)
    assert stream.push(piece_id(b"ba"))
    assert stream.take(finished=True) == "ab"
