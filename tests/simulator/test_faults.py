"""Faults on demand, and clients that leave."""

from collections.abc import Iterator

import pytest

from tests.simulator.prefill_decode import running_pair
from tests.simulator.rank_process import RankProcess, eventually, parse, read_all, request, running_rank

ASK = {"prompt": "x", "max_tokens": 4, "ignore_eos": True}
LONG = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True, "stream": True}


@pytest.fixture
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "10") as process:
        yield process


def fault(rank: RankProcess, kind: str, **more: object) -> None:
    assert rank.post("/sim/fault", {"kind": kind, **more}).status == 200


def at_rest(rank: RankProcess) -> bool:
    state = rank.state()
    return (state["in_engine"], state["in_flight"], state["open_connections"]) == (0, 0, 0)


@pytest.mark.parametrize("stream", [False, True])
def test_a_client_that_leaves_takes_its_request_out_of_the_engine(rank: RankProcess, stream: bool) -> None:
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", {**LONG, "stream": stream}))
        eventually(lambda: rank.series("vllm:num_requests_running")['{engine="0",model_name="sim"}'] == 1)
        assert rank.get("/load").json() == {"server_load": 1}
    eventually(lambda: at_rest(rank))
    eventually(lambda: rank.series("vllm:num_requests_running")['{engine="0",model_name="sim"}'] == 0)
    assert rank.state()["aborted"] == 1
    assert set(rank.series("vllm:request_success_total").values()) == {0.0}
    assert rank.series("vllm:kv_cache_usage_perc") == {'{engine="0",model_name="sim"}': 0.0}


def test_a_client_that_does_not_read_gets_everything_later() -> None:
    asked = {**LONG, "max_tokens": 15_000, "logprobs": 10, "n": 2}
    with running_rank("--speed", "1000") as rank:
        with rank.connect(receive_buffer_bytes=4096) as client:
            client.sendall(request("POST", "/v1/completions", asked))
            eventually(lambda: rank.state()["in_engine"] == 0)
            assert rank.state()["in_flight"] == 1
            reply = parse(read_all(client))
        counts = [0, 0]
        for event in reply.events():
            choice = event["choices"][0]
            counts[choice["index"]] += len(choice["logprobs"]["tokens"])
        assert counts == [15_000, 15_000]
        eventually(lambda: at_rest(rank))


def test_an_error_is_answered_so_many_times(rank: RankProcess) -> None:
    fault(rank, "error", status=503, count=2)
    assert [rank.post("/v1/completions", ASK).status for _ in range(3)] == [503, 503, 200]


def test_a_hanging_request_is_never_answered(rank: RankProcess) -> None:
    fault(rank, "hang", count=1)
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", ASK))
        assert rank.post("/v1/completions", ASK).status == 200
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    eventually(lambda: at_rest(rank))


def test_a_stream_breaks_off_after_so_many_chunks(rank: RankProcess) -> None:
    fault(rank, "drop_after_chunks", chunks=3, count=1)
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", LONG))
        received = b""
        while data := client.recv(65536):
            received += data
    assert received.count(b"data: ") == 3
    eventually(lambda: at_rest(rank))


def test_a_frozen_engine_is_healthy_and_goes_on_when_told(rank: RankProcess) -> None:
    fault(rank, "freeze")
    with rank.connect() as client:
        client.sendall(request("POST", "/v1/completions", ASK))
        eventually(lambda: rank.state()["in_engine"] == 1)
        assert rank.get("/health").status == 200
        assert rank.series("vllm:iteration_tokens_total_count") == {'{engine="0",model_name="sim"}': 0.0}
        fault(rank, "clear")
        assert b'"finish_reason":"length"' in client.recv(65536)


def test_a_slow_first_byte_comes_all_the_same(rank: RankProcess) -> None:
    fault(rank, "slow_first_byte", delay_ms=50, count=2)
    assert rank.post("/v1/completions", ASK).status == 200
    assert rank.post("/v1/completions", {"prompt": ""}).status == 400


def test_a_fault_is_cleared(rank: RankProcess) -> None:
    fault(rank, "error")
    fault(rank, "clear")
    assert rank.post("/v1/completions", ASK).status == 200


@pytest.mark.parametrize("body", [b"", b"{}", b'{"kind":"burn"}', b'{"kind":"error","status":200}'])
def test_a_fault_that_is_none_is_refused(rank: RankProcess, body: bytes) -> None:
    assert rank.post("/sim/fault", body).status == 400


PREFILL = {**ASK, "max_tokens": 1, "kv_transfer_params": {"do_remote_decode": True}}


@pytest.fixture(scope="module")
def prefill() -> Iterator[RankProcess]:
    with running_rank("--role", "prefill", "--speed", "10") as process:
        yield process


@pytest.mark.parametrize("params", ["null", "missing_key", "other_shape", "error_body"])
def test_a_prefill_rank_answers_200_without_usable_params(prefill: RankProcess, params: str) -> None:
    fault(prefill, "prefill_params", params=params, count=1)
    assert prefill.post("/v1/completions", ASK).json()["kv_transfer_params"] is None
    wrong, right = (prefill.post("/v1/completions", PREFILL) for _ in range(2))
    assert wrong.status == 200
    found = wrong.json().get("kv_transfer_params")
    assert not (isinstance(found, dict) and "remote_block_ids" in found)
    assert ("error" in wrong.json()) == (params == "error_body")
    assert right.json()["kv_transfer_params"]["remote_block_ids"]


def test_a_prefill_rank_answers_what_is_no_json(prefill: RankProcess) -> None:
    fault(prefill, "prefill_params", params="not_json", count=1)
    assert prefill.post("/v1/completions", PREFILL).body.startswith(b"<html>{")


def test_a_prefill_rank_never_stops_answering(prefill: RankProcess) -> None:
    fault(prefill, "prefill_params", params="endless", count=1)
    received = b""
    with prefill.connect() as client:
        client.sendall(request("POST", "/v1/completions", PREFILL))
        while len(received) < 200_000:
            received += client.recv(65536)
    assert b'"kv_transfer_params":{' in received
    assert b"content-type: application/json" in received
    eventually(lambda: prefill.state()["open_connections"] == 0)


def test_pulls_of_kv_fail_so_many_times() -> None:
    asked = {**ASK, "max_tokens": 3}
    with running_pair("--speed", "10") as pair:
        fault(pair.decode, "lose_kv", count=1)
        assert [pair.answer("/v1/completions", asked).status for _ in range(2)] == [500, 200]
