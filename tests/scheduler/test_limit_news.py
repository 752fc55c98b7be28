"""Which accounts the store hears of."""

from __future__ import annotations

from scheduler.limit_account import Account
from scheduler.limit_news import News
from scheduler.limit_rule import Limits

NOW, RENEW_MS = 10_000, 500
LIMITS = Limits(requests_per_minute=60, requests_at_once=9)


def account(*, running: int = 0) -> Account:
    """The store has heard of it just now."""
    made = Account(NOW)
    made.limits = LIMITS
    for _ in range(running):
        made.admitted(1, 0)
    return made


def looked_through(accounts: dict[str, Account]) -> News:
    """At NOW."""
    news = News(RENEW_MS)
    news.take(accounts, (), NOW)
    return news


def test_it_hears_of_those_that_are_asked_for_and_of_those_with_news() -> None:
    accounts = {name: account(running=1) for name in "abcd"}
    news = looked_through(accounts)
    assert news.take(accounts, (), NOW) == {}
    assert [news.add("a"), news.add("b"), news.add("gone")] == [True, False, False]
    accounts["b"].ended(0, 0)
    assert news.take(accounts, {"c"}, NOW) == {name: accounts[name] for name in "bc"}, "of a there is none after all"
    assert news.add("a")


def test_of_what_runs_it_hears_again_though_nobody_says_that_there_is_news() -> None:
    accounts = {"a": account(running=1), "b": account()}
    news = looked_through(accounts)
    assert news.take(accounts, (), NOW + RENEW_MS - 1) == {}
    assert news.take(accounts, (), NOW + 3 * RENEW_MS // 2) == {"a": accounts["a"]}
