"""Keys with names: whom they let in, to which models, and what of them is shown."""

import logging
from datetime import timedelta

import pytest

from tests.gateway.fake_pools import FakePool, FakePools, card, pools_of_nobody
from tests.gateway.limited import limited
from tests.gateway.named_keys import CREATED, bearing, by_digest, named
from tests.gateway.running import CHAT, error_of
from tests.gateway.scripted_rank import scripted_rank


async def test_a_key_may_use_its_models_and_sees_no_others() -> None:
    async with scripted_rank() as rank:
        pools = FakePools(FakePool(card(rank.url), name="sim"), FakePool(card(rank.url), name="other"))
        async with limited(pools, named("team", models=("sim",)), named("free")) as (served, _):
            assert (await served.complete(bearing("team"))).status_code == 200
            refused = await served.complete(bearing("team"), model="other")
            unknown = await served.complete(bearing("team"), model="nope")
            seen = {
                name: [
                    each["id"] for each in (await served.client.get("/v1/models", headers=bearing(name))).json()["data"]
                ]
                for name in ("team", "free")
            }
    assert (refused.status_code, error_of(refused)["param"]) == (403, "model")
    assert unknown.status_code == 404
    assert seen == {"team": ["sim"], "free": ["other", "sim"]}


async def test_a_key_that_has_expired_or_is_unknown_lets_nobody_in() -> None:
    old = named("old", expires=CREATED + timedelta(days=-1))
    lasting = named("lasting", expires=CREATED + timedelta(days=36_500))
    async with scripted_rank() as rank, limited(FakePools(FakePool(card(rank.url))), old, lasting) as (served, _):
        statuses = {name: (await served.complete(bearing(name))).status_code for name in ("old", "lasting", "unknown")}
        assert statuses == {"old": 401, "lasting": 200, "unknown": 401}
        assert error_of(await served.complete(bearing("old")))["message"] == "The key has expired"
        served.gateway.keys.replace("test", {})
        assert (await served.complete(bearing("lasting"))).status_code == 401


@pytest.mark.parametrize(
    "authorization",
    [b"Bearer", b"", b"bearer fb-team,fb-team", b"Basic fb-team", b"Bearer fb-te\xc3\xa4m", b"Bearer team",
     b"Bearer " + b"x" * 50_000, b"Bearer\tfb-team", b"fb-team"],
)  # fmt: skip
async def test_odd_headers_let_nobody_in(authorization: bytes) -> None:
    async with limited(pools_of_nobody(), named("team")) as (served, _):
        response = await served.client.get("/v1/models", headers=[(b"authorization", authorization)])
    assert response.status_code == 401


async def test_before_the_keys_are_read_nobody_is_let_in_and_the_gateway_is_not_ready() -> None:
    async with limited(pools_of_nobody()) as (served, _):
        served.gateway.keys._named = {"redis": None}
        response = await served.client.get("/v1/models", headers=bearing("team"))
        ready = await served.client.get("/readyz")
        served.gateway.keys.replace("redis", by_digest(named("team")))
        assert (await served.client.get("/v1/models", headers=bearing("team"))).status_code == 200
        assert (await served.client.get("/readyz")).status_code == 200
    assert (response.status_code, response.headers["retry-after"]) == (503, "1")
    assert (ready.status_code, ready.json()["reason"]) == (503, "the keys have not been read yet")


async def test_a_key_is_called_by_its_name_and_shown_nowhere(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    key = named("team", tokens_per_minute=10_000)
    async with scripted_rank() as rank, limited(FakePools(FakePool(card(rank.url))), key) as (served, store):
        await served.client.post(
            CHAT, json={"model": "sim", "messages": [{"role": "user", "content": "x"}]}, headers=bearing("team")
        )
        await served.complete(bearing("stolen"))
        page = (await served.client.get("/metrics")).text
        kept = repr(store.data)
    assert '"tenant":"team"' in caplog.text
    assert '"error":"UnauthorizedError"' in caplog.text
    assert 'forebay_gateway_tokens_total{kind="prompt",pool="sim",tenant="team"}' in page
    for told in (caplog.text, page, kept):
        assert "fb-team" not in told
        assert "fb-stolen" not in told
        assert key.sha256 not in told
    assert all(request.header("authorization") is None for request in rank.requests)
