"""What one gateway lets in while it cannot ask, and what it has the store hear."""

from scheduler.limit_account import Account
from scheduler.limit_rule import EMPTY, SPAN, Levels, Limits, Verdict, wait_ms

ADMITTED, REQUESTS, TOKENS, AT_ONCE = Verdict


def account(**limits: int) -> Account:
    made = Account(0)
    made.limits = Limits(**limits)
    return made


def alone(one: Account, gateways: int, *tokens: int) -> list[Verdict]:
    return [one.ask_alone(gateways, each)[0] for each in tokens]


def test_a_gateway_alone_lets_in_its_share() -> None:
    one = account(requests_per_minute=9)
    assert alone(one, 3, 0, 0, 0, 0) == [ADMITTED] * 3 + [REQUESTS]
    one.passes(20_000, 3, alone=True)
    assert alone(one, 3, 0, 0) == [ADMITTED, REQUESTS]


def test_what_it_let_in_with_the_store_counts_when_that_is_gone() -> None:
    one = account(requests_per_minute=9, tokens_per_minute=900)
    for _ in range(9):
        one.admitted(3, 100)
    assert alone(one, 3, 0) == [REQUESTS]
    one.passes(60_000, 3, alone=True)  # however much it had let in, a minute later there is a whole share
    assert alone(one, 3, 300, 0) == [ADMITTED] * 2


def test_a_share_holds_one_request_and_an_empty_bucket_takes_any() -> None:
    one = account(requests_per_minute=2, tokens_per_minute=100, requests_at_once=2)
    assert alone(one, 50, 80, 80) == [ADMITTED, AT_ONCE]
    one.ended(80, 80)
    one.passes(60_000, 50, alone=True)
    assert alone(one, 50, 80) == [TOKENS]


def test_what_was_let_in_alone_is_told_as_far_as_it_has_not_drained() -> None:
    one = account(requests_per_minute=60, tokens_per_minute=600)
    alone(one, 2, 100)
    one.passes(10_000, 2, alone=True)
    assert one.take(10_000) == Levels(0, 50 * SPAN)
    assert one.take(10_000) == EMPTY


def test_refunds_are_told_whole_while_the_store_is_there() -> None:
    one = account(tokens_per_minute=600)
    one.admitted(2, 100)
    one.ended(100, 30)
    one.passes(10_000, 2, alone=False)
    assert one.take(10_000) == Levels(0, -70 * SPAN)


def test_what_an_exchange_that_failed_has_carried_is_said_again_where_it_takes_and_not_where_it_gives() -> None:
    one = account(requests_per_minute=10, tokens_per_minute=600)
    for more in (Levels(5, -7), Levels(-5, 7)):
        one.untold(more)
    assert one.take(0) == Levels(5, 7)


def test_the_store_hears_at_once_of_what_has_ended_and_again_of_what_runs() -> None:
    one = account(requests_at_once=2)
    one.admitted(1, 0)
    one.take(1_000)
    assert not one.is_due(999)
    assert one.is_due(1_000)
    one.ended(0, 0)
    assert one.is_due(0)
    one.take(1_000)
    assert not one.is_due(5_000)
    assert one.is_idle


def test_time_counts_from_when_a_key_was_first_asked_for() -> None:
    one = Account(1_000_000)
    one.limits = Limits(requests_per_minute=60)
    assert alone(one, 1, *[0] * 61) == [ADMITTED] * 60 + [REQUESTS]
    one.passes(1_000_500, 1, alone=True)
    assert alone(one, 1, 0) == [REQUESTS]
    assert one.take(1_000_500) == Levels(59 * SPAN + SPAN // 2, 0)


def test_there_is_something_to_remember_of_what_runs_or_was_not_told() -> None:
    one = account(requests_at_once=2)
    assert one.is_idle
    assert not one.leave()
    one.admitted(1, 0)
    one.take(0)
    assert not one.is_idle
    one.ended(0, 0)
    assert not one.is_idle
    one.take(0)
    assert one.is_idle
    one.unwanted(0)
    assert not one.is_idle
    assert one.leave()


def test_of_what_is_not_limited_nothing_is_told() -> None:
    one = account(requests_per_minute=5)
    one.admitted(1, 1_000)
    one.ended(1_000, 10)
    assert not one.is_due(60_000)
    one.passes(60_000, 1, alone=False)
    assert one.is_idle


def test_the_wait_is_until_it_fits() -> None:
    assert wait_ms(100 * SPAN, 10 * SPAN, 100) == 6_000
    assert wait_ms(50 * SPAN, 200 * SPAN, 100) == 30_000  # an empty bucket takes it
    assert wait_ms(0, SPAN, 0) == 0
