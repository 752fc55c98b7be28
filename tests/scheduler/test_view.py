"""Folding deltas into a gateway's view of a pool."""

from __future__ import annotations

import msgspec
import pytest

from scheduler.breaker import Breaker
from scheduler.messages import CARD_VERSION, RankCard, RankState
from scheduler.view import Delta, Folding, PoolView, fold
from tests.samples import card
from tests.scheduler.samples import rank, view

SEEN = b"i1 up 0 500 0 0 1000 node/1 501 9 0 "
LOAD = b"100 1 400 1 0 110 0 0"
CARD = msgspec.json.encode(card("a"))


Row = tuple[bytes, bytes, bytes, bytes]
"""Of a rank without a breaker."""


def delta(*rows: Row, epoch: str = "e1", version: int = 9, breaker: bytes = b"") -> Delta:
    return Delta(epoch, version, 600, tuple((*row, breaker) for row in rows))


def folded(*rows: Row, former: PoolView | None = None, epoch: str = "e1") -> PoolView:
    result, skipped = fold(former or PoolView(), delta(*rows, epoch=epoch))
    assert skipped == 0
    return result


def test_a_reply_is_read_in_rows_of_five() -> None:
    reply = [b"e1", b"9", b"600", b"a", SEEN, LOAD, CARD, b"", b"b", b"", b"", b"", b""]
    assert Delta.read(reply) == delta((b"a", SEEN, LOAD, CARD), (b"b", b"", b"", b""))


def test_a_rank_s_breaker_comes_with_it_and_goes_with_it() -> None:
    breaker = Breaker("i1", trips=2, open_until_ms=900)
    first, _ = fold(PoolView(), delta((b"a", SEEN, LOAD, CARD), breaker=breaker.row().encode()))
    assert first.ranks["a"].breaker == breaker
    assert [each.card.rank for each in first.with_breakers] == ["a"]
    then, _ = fold(first, delta((b"a", SEEN, LOAD, b"")))
    assert then.ranks["a"].breaker is None


@pytest.mark.parametrize("breaker", [b"junk", b"\xff", b"i2 0 2 900 - 0 -1 -", b"i1 0 2 -900 - 0 -1 -"])
def test_a_breaker_that_cannot_be_read_or_is_another_life_s_keeps_nobody_from_the_rank(breaker: bytes) -> None:
    result, skipped = fold(PoolView(), delta((b"a", SEEN, LOAD, CARD), breaker=breaker))
    assert (result.ranks["a"].breaker, skipped) == (None, 0)


def test_a_new_rank_is_in_the_view() -> None:
    result = folded((b"a", SEEN, LOAD, CARD))
    assert (result.epoch, result.version, result.pool_ms) == ("e1", 9, 600)
    assert (result.ranks["a"].card, result.ranks["a"].book.queued_tokens) == (card("a"), 100)


def test_a_rank_without_a_load_row_is_idle() -> None:
    assert folded((b"a", SEEN, b"", CARD)).ranks["a"].book.requests == 0


def test_ranks_that_did_not_change_stay() -> None:
    former = view(rank("a"), rank("b"))
    result = folded((b"a", SEEN, LOAD, b""), former=former)
    assert result.ranks["b"] is former.ranks["b"]
    assert (result.ranks["a"].card, result.ranks["a"].book.requests) == (card("a"), 1)


def test_a_rank_that_left_leaves_the_view() -> None:
    assert set(folded((b"a", b"", b"", b""), former=view(rank("a"), rank("b"))).ranks) == {"b"}


def test_another_epoch_begins_with_nothing() -> None:
    assert set(folded((b"a", SEEN, LOAD, CARD), former=view(rank("b")), epoch="e2").ranks) == {"a"}


def test_an_older_version_of_the_same_epoch_begins_with_nothing() -> None:
    """A promoted replica that lagged knows less than it had told us, and then tells all it knows."""
    former = view(rank("a"), rank("b"))
    older, _ = fold(former, delta((b"a", SEEN, LOAD, CARD), version=former.version - 1))
    assert set(older.ranks) == {"a"}


def test_a_large_delta_is_folded_in_slices() -> None:
    rows = [(name.encode(), SEEN, LOAD, coded(card(name))) for name in ("a", "b", "c", "d", "e")]
    folding = Folding(PoolView(), delta(*rows))
    seen = [len(folding.view().ranks) for _ in folding.slices(2)]
    assert seen == [2, 4, 5, 5], "then the groups of all"
    assert folding.view() == folded(*rows)


def test_the_former_view_is_not_touched() -> None:
    former = view(rank("a"))
    folded((b"a", b"", b"", b""), former=former)
    assert set(former.ranks) == {"a"}


def test_a_view_s_ranks_cannot_be_changed() -> None:
    with pytest.raises(TypeError):
        folded((b"a", SEEN, LOAD, CARD)).ranks["b"] = rank("b")  # type: ignore[index]


def coded(changed: RankCard) -> bytes:
    return msgspec.json.encode(changed)


@pytest.mark.parametrize(
    "row",
    [
        pytest.param((b"a", b"junk", b"", CARD), id="a seen row that is none"),
        pytest.param((b"a", b"\xff\xfe", b"", CARD), id="a seen row that is no text"),
        pytest.param((b"a", SEEN, b"1 2", CARD), id="a load row cut short"),
        pytest.param((b"a", SEEN, b"", b"{"), id="a card that is no JSON"),
        pytest.param((b"a", SEEN, b"", b'{"rank":3}'), id="a card of wrong types"),
        pytest.param((b"a", SEEN, b"", coded(card("a", v=CARD_VERSION + 1))), id="a card of a later version"),
        pytest.param((b"a", SEEN, b"", coded(card("a", incarnation="i2"))), id="a card of another life"),
        pytest.param((b"a", SEEN, b"", coded(card("b"))), id="a card of another rank"),
        pytest.param((b"a", SEEN.replace(b"i1", b"i2"), b"", b""), id="a new life without its card"),
        pytest.param((b"c", SEEN, b"", b""), id="a rank without any card"),
    ],
)
def test_a_rank_that_cannot_be_read_is_skipped_and_counted(row: Row) -> None:
    result, skipped = fold(view(rank("a"), rank("b")), delta(row))
    assert row[0].decode() not in result.ranks
    assert "b" in result.ranks
    assert skipped == 1


def test_a_rank_s_name_that_is_no_text_is_harmless() -> None:
    result, skipped = fold(PoolView(), delta((b"\xff", SEEN, LOAD, CARD), (b"a", SEEN, LOAD, CARD)))
    assert (set(result.ranks), skipped) == ({"a"}, 1)


def placeable(former: PoolView) -> set[str]:
    return {each.card.rank for each in former.placeable()}


def test_only_ranks_that_are_up_and_not_drained_are_placeable() -> None:
    ranks = (rank("a"), rank("b", heard={"state": RankState.DOWN}), rank("c", heard={"drained": True}))
    assert placeable(view(*ranks)) == {"a"}


def test_a_dp_group_with_a_rank_down_is_not_placeable_at_all() -> None:
    grouped = coded(card("a", dp_group="g"))
    other = coded(card("b", dp_group="g"))
    former = folded(
        (b"a", SEEN, b"", grouped),
        (b"b", SEEN.replace(b"up", b"down"), b"", other),
        (b"c", SEEN, b"", coded(card("c"))),
    )
    assert placeable(former) == {"c"}
    assert placeable(folded((b"b", SEEN, b"", b""), former=former)) == {"a", "b", "c"}
