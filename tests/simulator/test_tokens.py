"""The tokenizer: reversible, four bytes a token, a fixed vocabulary."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from simulator import tokens


@given(st.text())
def test_decoding_gives_the_text_back(text: str) -> None:
    assert tokens.decode(tokens.encode(text)) == text


@given(st.text())
def test_four_bytes_make_a_token(text: str) -> None:
    assert len(tokens.encode(text)) == -(-len(text.encode()) // 4)


@given(st.text(), st.text())
def test_texts_with_a_common_prefix_have_common_leading_ids(prefix: str, rest: str) -> None:
    shared = len(prefix.encode()) // 4
    assert tokens.encode(prefix)[:shared] == tokens.encode(prefix + rest)[:shared]


@given(st.binary(min_size=1, max_size=4))
def test_every_piece_has_an_id_of_its_own(piece: bytes) -> None:
    token = tokens.piece_id(piece)
    assert tokens.piece(token) == piece
    assert len(tokens.SPECIALS) <= token < tokens.VOCABULARY_SIZE


@pytest.mark.parametrize("token", [-1, tokens.VOCABULARY_SIZE])
def test_an_id_outside_the_vocabulary_is_found(token: int) -> None:
    assert tokens.first_unknown([3, token, 5]) == token


@pytest.mark.parametrize("ids", [[], [0, 15, tokens.VOCABULARY_SIZE - 1]])
def test_ids_of_the_vocabulary_are_known(ids: list[int]) -> None:
    assert tokens.first_unknown(ids) is None
