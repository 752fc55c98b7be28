"""Without an admin key, programs on the gateway's own machine may be let in; nobody else is."""

import pytest

from gateway.auth import KeyRing
from gateway.errors import UnauthorizedError, UnknownRouteError
from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import serving
from tests.gateway.scripted_rank import scripted_rank

RESET = "/reset_prefix_cache"


def test_only_what_comes_from_this_machine_passes() -> None:
    keys = KeyRing([], "", local_admin=True)
    keys.check(RESET, None, is_local=True)
    with pytest.raises(UnauthorizedError):
        keys.check(RESET, None)


def test_an_admin_key_is_asked_of_everybody() -> None:
    keys = KeyRing([], "root-key", local_admin=True)
    keys.check(RESET, b"Bearer root-key")
    with pytest.raises(UnauthorizedError):
        keys.check(RESET, None, is_local=True)


def test_without_leave_nobody_is_let_in() -> None:
    with pytest.raises(UnknownRouteError):
        KeyRing([], "").check(RESET, None, is_local=True)


async def test_a_program_on_this_machine_is_served() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), local_admin=True) as served:
        assert (await served.client.post(RESET)).status_code == 200


@pytest.mark.parametrize("header", ["x-forwarded-for", "forwarded", "via", "x-real-ip", "origin", "sec-fetch-site"])
async def test_a_proxy_or_a_web_page_on_this_machine_is_not(header: str) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), local_admin=True) as served:
        response = await served.client.post(RESET, headers={header: "127.0.0.1"})
    assert response.status_code == 401
    assert rank.requests == []
