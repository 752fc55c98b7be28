"""What is tried next: a pure rule over a closed set of outcomes."""

from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import RankFailedError, RankTimeoutError
from gateway.outcome import Failed, Outcome, Served, Trouble
from gateway.retry import MAX_PLACEMENTS, Finish, GiveUp, PlaceAgain, Tries, next_step
from gateway.usage import Usage
from scheduler.decision import Leg, LegKind, Place
from tests.gateway.fake_pools import card

ERROR = RankFailedError("broke off")
SILENCE = RankTimeoutError("silent")
FIRST = Tries(pairable=True)
TROUBLES = st.sampled_from(Trouble)
RANKS = st.sampled_from(["", "a", "b"])


def failed(trouble: Trouble, rank: str = "a") -> Failed:
    return Failed(trouble, rank, ERROR)


def after(*outcomes: Outcome) -> Tries:
    """The tries after attempts that ended so."""
    tries = FIRST
    for outcome in outcomes:
        step = next_step(tries, outcome)
        assert isinstance(step, PlaceAgain)
        tries = step.tries
    return tries


def test_what_is_served_is_finished() -> None:
    usage = Usage(prompt_tokens=1)
    assert next_step(FIRST, Served(usage)) == Finish(usage)


def test_one_prefill_rank_that_failed_is_replaced_by_another() -> None:
    tries = after(failed(Trouble.PREFILL_FAILED))
    assert (tries.pairable, tries.avoid) == (True, frozenset("a"))


def test_after_two_prefill_ranks_that_failed_the_decode_rank_prefills() -> None:
    tries = after(failed(Trouble.PREFILL_FAILED), failed(Trouble.PREFILL_FAILED, "b"))
    assert (tries.pairable, tries.avoid, tries.is_last) == (False, frozenset("ab"), True)


def test_the_prefill_rank_whose_kv_a_decode_rank_failed_with_is_avoided_too() -> None:
    tries = after(Failed(Trouble.DECODE_FAILED, "a", ERROR, kv_of="b"))
    assert (tries.pairable, tries.avoid) == (True, frozenset("ab"))


def test_where_no_kv_is_offered_the_decode_rank_prefills_and_nobody_is_avoided() -> None:
    tries = after(failed(Trouble.NO_TRANSFER, ""))
    assert (tries.pairable, tries.avoid) == (False, frozenset())


@given(st.lists(st.builds(failed, TROUBLES, RANKS), min_size=MAX_PLACEMENTS, max_size=MAX_PLACEMENTS))
def test_whatever_goes_wrong_three_placements_are_all(outcomes: list[Failed]) -> None:
    tries = after(*outcomes[:-1])
    assert tries.is_last
    assert next_step(tries, outcomes[-1]) == GiveUp(ERROR)


@given(st.lists(st.builds(failed, TROUBLES, RANKS), max_size=MAX_PLACEMENTS - 1), st.booleans())
def test_every_rank_that_failed_is_avoided_and_what_is_not_pairable_never_becomes_so(
    outcomes: list[Failed], pairable: bool
) -> None:
    tries = Tries(pairable=pairable)
    for outcome in outcomes:
        step = next_step(tries, outcome)
        assert isinstance(step, PlaceAgain)
        assert not step.tries.pairable or tries.pairable
        assert step.after is outcome
        tries = step.tries
    assert tries.avoid == {outcome.rank for outcome in outcomes} - {""}


def placed_on(*ranks: str) -> Place:
    cards = [card("http://127.0.0.1:9", rank=rank) for rank in ranks]
    return Place(
        reservation=1, legs=tuple(Leg(kind=LegKind.WHOLE, card=each) for each in cards), cost_s=0.0, first_token_s=0.0
    )


def test_what_was_silent_for_too_long_is_not_tried_again_and_what_failed_otherwise_may_be() -> None:
    tries = after(Failed(Trouble.SILENT, "a", SILENCE, silent=frozenset("a")), failed(Trouble.UNREACHABLE, "b"))
    assert tries.end_before(placed_on("a")) is SILENCE
    assert tries.end_before(placed_on("c", "a")) is SILENCE
    assert tries.end_before(placed_on("b")) is None


def test_the_last_try_needs_no_prefill_rank() -> None:
    assert after(failed(Trouble.DECODE_FAILED)).pairable
    assert not after(failed(Trouble.DECODE_FAILED), failed(Trouble.PREFILL_FAILED, "b")).pairable
    assert not after(failed(Trouble.RECOMPUTED), failed(Trouble.DECODE_FAILED, "b")).pairable


def test_who_needs_a_prefill_rank_is_paired_to_the_end() -> None:
    tries = Tries(pairable=True, needs_pair=True)
    for trouble in (Trouble.PREFILL_FAILED, Trouble.PREFILL_FAILED):
        step = next_step(tries, failed(trouble))
        assert isinstance(step, PlaceAgain)
        tries = step.tries
        assert tries.pairable
    assert isinstance(next_step(tries, failed(Trouble.NO_TRANSFER)), GiveUp)
