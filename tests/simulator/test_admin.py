"""What changes a rank as a whole."""

from collections.abc import Iterator

import pytest

from tests.simulator.prefill_decode import ENGINE, kv_usage, prompt
from tests.simulator.rank_process import RankProcess, eventually, parse, read_all, request, running_rank

ENDLESS = {"prompt": "x", "max_tokens": 100_000, "ignore_eos": True}


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    with running_rank("--speed", "10") as process:
        yield process


def test_a_paused_rank_works_on_nothing_until_it_goes_on(rank: RankProcess) -> None:
    assert rank.post("/pause", None).status == 200
    client = rank.connect()
    client.sendall(request("POST", "/v1/completions", {"prompt": "x", "max_tokens": 3}))
    eventually(lambda: rank.series("vllm:num_requests_waiting")[ENGINE] == 1)
    assert rank.get("/is_paused").json() == {"is_paused": True}
    rank.post("/resume", None)
    assert parse(read_all(client)).json()["usage"]["completion_tokens"] <= 3
    client.close()
    assert rank.get("/is_paused").json() == {"is_paused": False}


def test_a_pause_ends_what_is_in_flight(rank: RankProcess) -> None:
    client = rank.connect()
    client.sendall(request("POST", "/v1/completions", ENDLESS))
    eventually(lambda: rank.series("vllm:num_requests_running")[ENGINE] == 1)
    rank.post("/pause", None)
    assert parse(read_all(client)).json()["choices"][0]["finish_reason"] == "abort"
    client.close()
    eventually(lambda: rank.state()["in_engine"] == 0 and kv_usage(rank) == 0)
    rank.post("/resume", None)


@pytest.mark.parametrize("stream", [False, True])
def test_a_request_is_ended_by_its_id(rank: RankProcess, stream: bool) -> None:
    client = rank.connect()
    client.sendall(request("POST", "/v1/completions", ENDLESS | {"stream": stream}, X_Request_Id="mine"))
    eventually(lambda: rank.series("vllm:num_requests_running")[ENGINE] == 1)
    assert rank.post("/inference/v1/abort_requests", {"request_ids": ["other"]}).status == 200
    assert rank.state()["in_flight"] == 1
    rank.post("/inference/v1/abort_requests", {"request_ids": ["cmpl-mine-0"]})
    reply = parse(read_all(client))
    client.close()
    last = reply.events()[-1] if stream else reply.json()
    assert last["choices"][0]["finish_reason"] == "abort"
    eventually(lambda: rank.state()["in_engine"] == 0)


def test_a_sleeping_rank_says_so(rank: RankProcess) -> None:
    rank.post("/sleep?level=2", None)
    assert rank.get("/is_sleeping").json() == {"is_sleeping": True}
    states = rank.series("vllm:engine_sleep_state")
    assert [value for labels, value in states.items() if "discard_all" in labels] == [1]
    assert [value for labels, value in states.items() if "awake" in labels] == [0]
    rank.post("/wake_up", None)
    assert rank.get("/is_sleeping").json() == {"is_sleeping": False}
    assert rank.post("/v1/completions", {"prompt": "x", "max_tokens": 1}).status == 200


def test_a_prefix_cache_is_emptied_unless_it_is_in_use(rank: RankProcess) -> None:
    asked = {"prompt": prompt(64, "cached "), "max_tokens": 1}
    hits = "vllm:prefix_cache_hits_total"
    rank.post("/v1/completions", asked)
    eventually(lambda: kv_usage(rank) == 0)
    assert rank.post("/reset_prefix_cache", None).json() == {"success": True}
    before = rank.series(hits)[ENGINE]
    rank.post("/v1/completions", asked)
    assert rank.series(hits)[ENGINE] == before
    client = rank.connect()
    client.sendall(request("POST", "/v1/completions", ENDLESS))
    eventually(lambda: kv_usage(rank) > 0)
    assert rank.post("/reset_prefix_cache", None).json() == {"success": False}
    client.close()
    eventually(lambda: rank.state()["in_engine"] == 0)


def test_an_adapter_answers_under_its_name_while_it_is_loaded(rank: RankProcess) -> None:
    asked = {"model": "tuned", "prompt": "x", "max_tokens": 1}
    assert rank.post("/v1/completions", asked).status == 404
    assert rank.post("/v1/load_lora_adapter", {"lora_name": "tuned", "lora_path": "/a"}).status == 200
    assert rank.post("/v1/load_lora_adapter", {"lora_name": "tuned", "lora_path": "/a"}).status == 400
    assert rank.post("/v1/completions", asked).json()["model"] == "tuned"
    cards = rank.get("/v1/models").json()["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [("sim", None), ("tuned", "sim")]
    assert rank.post("/v1/unload_lora_adapter", {"lora_name": "tuned"}).status == 200
    assert rank.post("/v1/completions", asked).status == 404
