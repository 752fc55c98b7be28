"""What all tests share."""

import os
from collections.abc import Iterator

import pytest
from hypothesis import settings

from scheduler.store import ANSWER_TIMEOUT_S, CONNECT_TIMEOUT_S
from simulator.cluster import store_link
from tests.invariants.profiles import LONG
from tests.namespace import Namespace, hindrance, namespace
from tests.polling import PATIENCE_S

settings.register_profile("the same examples", derandomize=True, database=None, deadline=None)
settings.register_profile("long", max_examples=100 * LONG, database=None, deadline=None)


def pytest_configure() -> None:
    """Property tests try the same examples each time: what fails is the change at hand, not luck. Others, and many
    more, are tried with HYPOTHESIS_PROFILE=long, which tests/invariants/profiles.py knows too.
    """
    settings.load_profile("long" if os.environ.get("HYPOTHESIS_PROFILE") == "long" else "the same examples")


@pytest.fixture
def place() -> Iterator[Namespace]:
    """A network namespace; without root and `ip` the test is skipped."""
    if hindrance():
        pytest.skip(f"no network namespace: {hindrance()}")
    with namespace() as made:
        yield made


@pytest.fixture(scope="session", autouse=True)
def patient_store() -> Iterator[None]:
    """What is held is what the store answers, not how soon: a busy machine may take its time, once for all tests.

    But for the simulated way to it, which has taken its time-out by now: there time is virtual.
    """
    assert vars(store_link)["ANSWER_TIMEOUT_S"] == ANSWER_TIMEOUT_S
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("scheduler.store.ANSWER_TIMEOUT_S", PATIENCE_S)
        patch.setattr("scheduler.store.CONNECT_TIMEOUT_S", PATIENCE_S)
        yield


@pytest.fixture
def hasty_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """The store gives up as soon as a user's does, for tests of a Redis that does not answer."""
    monkeypatch.setattr("scheduler.store.ANSWER_TIMEOUT_S", ANSWER_TIMEOUT_S)
    monkeypatch.setattr("scheduler.store.CONNECT_TIMEOUT_S", CONNECT_TIMEOUT_S)
