"""What probes, operators and scrapers see."""

import asyncio
import json
import logging
from importlib.metadata import version
from typing import Any

import pytest

from scheduler.prefix_calibration import CacheBelief
from tests.gateway.fake_pools import FakePool, FakePools, FakePoolView, FakeRankView, card
from tests.gateway.running import COMPLETIONS, eventually, post, serving
from tests.gateway.scripted_rank import breaks_off, completes, scripted_rank, stalls, streams

ACCESS = "gateway.access"


async def test_a_gateway_that_lives_says_so_under_three_names() -> None:
    fakes = FakePools()
    fakes.ready = False
    async with serving(fakes) as served:
        for path in ("/healthz", "/health", "/ping"):
            assert (await served.client.get(path)).status_code == 200


async def test_a_gateway_is_ready_from_the_first_contact_with_the_store_on() -> None:
    fakes = FakePools()
    fakes.ready = False
    async with serving(fakes) as served:
        before = await served.client.get("/readyz")
        fakes.ready = True
        after = await served.client.get("/readyz")
        fakes.degraded = True
        degraded = await served.client.get("/readyz")
    assert before.status_code == 503
    assert (after.status_code, after.json()) == (200, {"ready": True, "degraded": False})
    assert (degraded.status_code, degraded.json()) == (200, {"ready": True, "degraded": True})


@pytest.mark.parametrize("rank_wait_ms", [0, 20])
async def test_before_the_first_contact_no_model_is_said_not_to_exist(rank_wait_ms: int) -> None:
    fakes = FakePools()
    fakes.ready = False
    async with serving(fakes, rank_wait_ms=rank_wait_ms) as served:
        answers = [await served.complete(model="sim"), await served.client.get("/v1/models")]
    for answer in answers:
        assert (answer.status_code, answer.headers["retry-after"]) == (503, "1")
        assert answer.json()["error"]["message"] == "the store has not been reached yet"


async def test_models_are_the_pools_in_vllms_shape() -> None:
    long = FakePool(card("http://a:1", max_model_len=8192), card("http://b:1", max_model_len=4096), name="long")
    async with serving(FakePools(long, FakePool(name="empty"))) as served:
        listing = (await served.client.get("/v1/models")).json()
    assert listing["object"] == "list"
    empty, model = listing["data"]
    assert (empty["id"], empty["max_model_len"]) == ("empty", None)
    assert (model["id"], model["root"], model["parent"], model["object"]) == ("long", "long", None, "model")
    assert (model["created"], model["max_model_len"]) == (1_700_000_000, 4096)
    assert model["permission"][0]["object"] == "model_permission"


async def test_a_model_whose_ranks_are_away_for_a_moment_is_listed() -> None:
    fakes = FakePools(FakePool(card("http://a:1")))
    fakes.lost["away"] = FakePool(name="away")
    async with serving(fakes) as served:
        listing = (await served.client.get("/v1/models")).json()
    assert [(model["id"], model["max_model_len"]) for model in listing["data"]] == [("away", None), ("sim", 4096)]


async def test_the_version_is_forebays() -> None:
    async with serving(FakePools()) as served:
        assert (await served.client.get("/version")).json() == {"version": version("forebay")}


async def test_metrics_count_requests_placements_and_times() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r1")))) as served:
        pool.degraded = True
        await served.complete()
        rank.script = streams
        await served.complete(stream=True)
        rank.script = breaks_off
        await served.complete()
        await served.complete(model="unknown-1")
        await served.client.get("/nowhere-1")
        page = (await served.client.get("/metrics")).text
    for line in (
        'forebay_gateway_requests_total{pool="sim",route="/v1/completions",status="200"} 2.0',
        'forebay_gateway_requests_total{pool="sim",route="/v1/completions",status="502"} 1.0',
        'forebay_gateway_requests_total{pool="",route="/v1/completions",status="404"} 1.0',
        'forebay_gateway_requests_total{pool="",route="other",status="404"} 1.0',
        'forebay_gateway_placements_total{pool="sim",rank="r1"} 5.0',
        'forebay_gateway_placements_degraded_total{pool="sim"} 5.0',
        'forebay_gateway_place_seconds_count{pool="sim"} 5.0',
        'forebay_gateway_retries_total{pool="sim",reason="rank_failed"} 2.0',
        'forebay_gateway_ttft_seconds_count{pool="sim"} 1.0',
        'forebay_gateway_e2e_seconds_count{pool="sim"} 2.0',
        'forebay_gateway_rank_errors_total{error="RankFailedError",pool="sim"} 3.0',
        'forebay_gateway_prompt_estimate_ratio_count{pool="sim"} 2.0',
        'forebay_scheduler_events_total{event="resyncs"} 3.0',
        "forebay_gateway_reservations 0.0",
        "forebay_gateway_rank_requests_open 0.0",
        "forebay_gateway_in_flight_requests 1.0",
        "forebay_gateway_ready 1.0",
        "forebay_gateway_degraded 0.0",
        'forebay_gateway_snapshot_age_seconds{pool="sim"} 0.25',
        'forebay_gateway_rank_left_out{pool="sim",rank="r1"} 0.0',
    ):
        assert line in page
    assert "unknown-1" not in page
    assert "nowhere-1" not in page


async def test_a_rank_that_left_its_pool_is_no_longer_counted() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r1")))) as served:
        await served.complete()
        view, pool.view = pool.view, FakePool().view
        gone = (await served.client.get("/metrics")).text
        pool.view = view
        back = (await served.client.get("/metrics")).text
    assert 'rank="r1"' not in gone
    assert 'forebay_gateway_placements_total{pool="sim",rank="r1"} 0.0' in back


async def test_what_is_believed_of_a_ranks_prefix_cache_stands_beside_what_it_found() -> None:
    async with scripted_rank() as rank, serving(FakePools(pool := FakePool(card(rank.url, rank="r1")))) as served:
        assert 'prefix_span_tokens{pool="sim",rank="r1"}' not in (await served.client.get("/metrics")).text
        pool.view = FakePoolView({"r1": FakeRankView(card(rank.url, rank="r1"), prefix_belief=CacheBelief(9, 8, 7))})
        page = (await served.client.get("/metrics")).text
    for line in (
        'forebay_gateway_prefix_span_tokens{pool="sim",rank="r1"} 9.0',
        'forebay_gateway_prefix_believed_tokens_total{pool="sim",rank="r1"} 8.0',
        'forebay_gateway_prefix_found_tokens_total{pool="sim",rank="r1"} 7.0',
    ):
        assert line in page


def lines(caplog: pytest.LogCaptureFixture) -> list[dict[str, Any]]:
    return [json.loads(record.getMessage()) for record in caplog.records if record.name == ACCESS]


async def test_each_request_is_one_line_in_the_log(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted_rank(streams) as rank, serving(FakePools(FakePool(card(rank.url, rank="r1")))) as served:
        await served.complete(stream=True, headers={"X-Request-Id": 'job-7"}\\n'})
        rank.script = completes
        await served.complete()
        await served.complete(model="nope")
        await served.client.get("/healthz")
        await served.client.get("/readyz")
    streamed, completed, unknown = lines(caplog)
    assert streamed["client_id"] == 'job-7"}\\n'
    assert streamed["attempt_id"] == rank.requests[0].header("x-request-id") != streamed["id"]
    assert (streamed["route"], streamed["pool"], streamed["rank"], streamed["status"]) == (
        COMPLETIONS,
        "sim",
        "r1",
        200,
    )
    assert 0 < streamed["ttft_ms"] <= streamed["ms"]
    assert "ttft_ms" not in completed
    assert (unknown["status"], unknown["error"], unknown["pool"], unknown["rank"]) == (404, "UnknownModelError", "", "")


async def test_a_request_id_cannot_start_a_line_of_its_own(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with serving(FakePools()) as served:
        for strange in ("a\tb", "x" * 500, "\u2028", "\u00ff"):
            await served.client.get("/v1/models", headers=[(b"x-request-id", strange.encode())])
    assert [line["client_id"] for line in lines(caplog)] == [None] * 4


async def test_a_client_that_left_first_is_counted_as_such(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted_rank(stalls) as rank, serving(FakePools(FakePool(card(rank.url)))) as served:
        _, writer = await asyncio.open_connection("127.0.0.1", served.port)
        writer.write(post(COMPLETIONS, b'{"prompt":"x"}'))
        await eventually(lambda: len(rank.requests) == 1)
        writer.close()
        await eventually(lambda: served.gateway.alive == 0)
        page = (await served.client.get("/metrics")).text
    assert 'forebay_gateway_requests_total{pool="sim",route="/v1/completions",status="499"} 1.0' in page
    (line,) = lines(caplog)
    assert (line["status"], line["client_left"]) == (499, True)


async def test_what_is_no_request_is_counted_and_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    async with serving(FakePools()) as served:
        for raw in (b"\x16\x03\x01\r\n\r\n", b"GET\r\n\r\n", b"GET /" + b"x" * 70_000 + b" HTTP/1.1\r\n\r\n"):
            await served.send(raw)
        page = (await served.client.get("/metrics")).text
    assert 'forebay_gateway_refused_connections_total{status="400"} 2.0' in page
    assert 'forebay_gateway_refused_connections_total{status="431"} 1.0' in page
    assert [record for record in caplog.records if record.levelno > logging.DEBUG] == []


async def test_a_fault_of_the_gateway_is_a_500_in_the_same_shape(caplog: pytest.LogCaptureFixture) -> None:
    pool = FakePool(card("http://127.0.0.1:9"))
    pool.place_s = "a fault"  # type: ignore[assignment]
    async with serving(FakePools(pool)) as served:
        response = await served.complete()
        page = (await served.client.get("/metrics")).text
    assert response.status_code == 500
    assert response.json()["error"] == {
        "message": "Internal server error",
        "type": "InternalServerError",
        "param": None,
        "code": 500,
    }
    assert 'route="/v1/completions",status="500"} 1.0' in page
    assert "can't multiply" in caplog.text


async def test_a_receipt_is_logged_where_one_was_asked_for(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with scripted_rank() as rank, serving(FakePools(FakePool(card(rank.url, rank="r1"))), explain=True) as served:
        await served.complete(headers={"x-forebay-explain": "1"})
        await served.complete()
    (receipt,) = [json.loads(record.getMessage()) for record in caplog.records if record.name == "gateway.notes"]
    assert (receipt["event"], receipt["rank"], receipt["cost_s"], receipt["candidates"]) == ("receipt", "r1", 0.5, [])
