"""Who may use what."""

import hashlib
import logging

import pytest
from prometheus_client.parser import text_string_to_metric_families

from tests.gateway.fake_pools import FakePool, FakePools, card
from tests.gateway.running import COMPLETIONS, error_of, serving
from tests.gateway.scripted_rank import scripted_rank

KEYS = {"api_key": ("first-key", "second-key"), "admin_key": "root-key"}


@pytest.mark.parametrize(
    "authorization",
    [None, "", "Bearer", "Bearer wrong", "Bearer first-ke", "Bearer first-keyy", "Basic first-key",
     "first-key", "Bearer root-key", "Bearer first-key,second-key", "Bearer \u00e9"],
)  # fmt: skip
async def test_without_a_right_key_v1_is_closed(authorization: str | None) -> None:
    fakes = FakePools(pool := FakePool(card("http://127.0.0.1:9")))
    headers = [] if authorization is None else [(b"authorization", authorization.encode())]
    async with serving(fakes, **KEYS) as served:
        for method, path in (("POST", COMPLETIONS), ("GET", "/v1/models"), ("GET", "/v1/nope"), ("GET", "/v1")):
            response = await served.client.request(method, path, headers=headers)
            assert response.status_code == 401
            assert response.headers["www-authenticate"] == "Bearer"
            assert error_of(response)["message"] == "Unauthorized"
    assert pool.asked == []


@pytest.mark.parametrize("authorization", ["Bearer first-key", "bearer second-key", "BEARER  second-key"])
async def test_with_a_right_key_v1_is_open(authorization: str) -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), **KEYS) as served:
        assert (await served.complete(headers={"Authorization": authorization})).status_code == 200


async def test_anthropics_clients_bring_the_key_in_a_header_of_their_own() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), **KEYS) as served:
        assert (await served.complete(headers={"x-api-key": "second-key"})).status_code == 200
        assert (await served.complete(headers={"x-api-key": "wrong"})).status_code == 401
        both = {"x-api-key": "second-key", "authorization": "Bearer wrong"}
        assert (await served.complete(headers=both)).status_code == 401
    (request,) = rank.requests
    assert request.header("x-api-key") is None


async def test_what_is_not_under_v1_needs_no_key() -> None:
    async with serving(FakePools(), **KEYS) as served:
        for path in ("/healthz", "/readyz", "/metrics", "/version"):
            assert (await served.client.get(path)).status_code == 200


@pytest.mark.parametrize("path", ["/docs", "/docs/oauth2-redirect", "/openapi.json"])
async def test_the_docs_take_a_key_where_there_is_one(path: str) -> None:
    async with serving(FakePools(), **KEYS) as served:
        assert (await served.client.get(path)).status_code == 401
        assert (await served.client.get(path, headers={"Authorization": "Bearer first-key"})).status_code == 200
    async with serving(FakePools()) as served:
        assert (await served.client.get(path)).status_code == 200


async def test_the_schema_tells_nothing_of_admin() -> None:
    async with serving(FakePools()) as served:
        schema = (await served.client.get("/openapi.json")).json()
    assert "/v1/models" in schema["paths"]
    assert [path for path in schema["paths"] if path.startswith("/admin")] == []


async def test_admin_takes_the_admin_key_and_no_other() -> None:
    async with serving(FakePools(), **KEYS) as served:
        for key, status in (("first-key", 401), ("root-key", 200)):
            response = await served.client.get("/admin/state", headers={"Authorization": f"Bearer {key}"})
            assert response.status_code == status
    assert response.json() == {
        "gateway": "7@gateway",
        "requests": 0,
        "stopping": False,
        "reservations": 0,
        "rank_requests_open": 0,
    }


async def test_without_an_admin_key_there_is_no_admin() -> None:
    async with serving(FakePools(), api_key=("first-key",)) as served:
        response = await served.client.get("/admin/state", headers={"Authorization": "Bearer first-key"})
    assert response.status_code == 404
    error_of(response)


async def test_keys_are_in_no_line_of_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), **KEYS) as served:
        for key in ("first-key", "root-key", "stolen-key"):
            await served.complete(headers={"Authorization": f"Bearer {key}"}, prompt="my secret")
            await served.client.get("/admin/state", headers={"Authorization": f"Bearer {key}"})
    assert caplog.records
    assert not [word for word in ("first-key", "root-key", "stolen-key", "my secret") if word in caplog.text]


async def test_tokens_are_counted_by_the_key_that_brought_them_and_no_key_can_be_told_from_it() -> None:
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url))), api_key=("one", "two")) as served:
        for key, times in (("one", 1), ("two", 2)):
            for _ in range(times):
                await served.complete({"authorization": f"Bearer {key}"})
        page = (await served.client.get("/metrics")).text
    tokens = {
        (sample.labels["tenant"], sample.labels["kind"]): sample.value
        for family in text_string_to_metric_families(page)
        for sample in family.samples
        if sample.name == "forebay_gateway_tokens_total"
    }
    one, two = (hashlib.sha256(key).hexdigest()[:8] for key in (b"one", b"two"))
    assert tokens == {(one, "prompt"): 12, (one, "completion"): 1, (two, "prompt"): 24, (two, "completion"): 2}
