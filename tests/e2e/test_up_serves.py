"""What a user can do once `forebay up` says that it is ready."""

import json
import shlex
import subprocess
from collections.abc import Iterator
from functools import partial

import httpx
import openai
import pytest

from tests.e2e.up_process import START_S, Up, forebay, up_running
from tests.polling import until_now

CHATS = 6


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up_running(tmp_path_factory.mktemp("up")) as running:
        yield running


def test_every_gateway_streams_the_same_answer_to_the_openai_client(up: Up) -> None:
    answers = []
    for gateway in up.gateways:
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0) as client:
            chunks = list(
                client.chat.completions.create(
                    model="sim",
                    messages=[{"role": "user", "content": "Tell me of turbines."}],
                    max_tokens=20,
                    seed=7,
                    stream=True,
                    stream_options={"include_usage": True},
                    extra_body={"ignore_eos": True},
                )
            )
        answers.append("".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices))
        usage = chunks[-1].usage
        assert usage is not None
        assert usage.completion_tokens == 20
    assert len(answers) == 2
    assert answers[0] == answers[1] != ""


def test_every_gateway_serves_the_clients_of_other_apis(up: Up) -> None:
    said = set()
    for gateway in up.gateways:
        with openai.OpenAI(base_url=f"{gateway}/v1", api_key="none", max_retries=0) as client:
            response = client.responses.create(model="sim", input="Tell me of turbines.", max_output_tokens=8)
            assert client.responses.retrieve(response.id).output_text == response.output_text
            assert len(client.embeddings.create(model="sim", input=["a", "b"]).data) == 2
        asked = {"model": "sim", "max_tokens": 8, "messages": [{"role": "user", "content": "Tell me of turbines."}]}
        message = httpx.post(f"{gateway}/v1/messages", json=asked, trust_env=False).json()
        said |= {response.output_text, message["content"][0]["text"]}
    assert len(said) == 1


def test_the_printed_curl_lines_name_a_request_that_is_answered(up: Up) -> None:
    lines = [shlex.split(line) for line in up.said.splitlines() if line.strip().startswith("curl ")]
    assert [line[2] for line in lines] == [f"{gateway}/v1/chat/completions" for gateway in up.gateways]
    for line in lines:
        name, _, value = line[line.index("-H") + 1].partition(": ")
        answer = httpx.post(line[2], content=line[line.index("-d") + 1], headers={name: value}, trust_env=False)
        assert answer.status_code == 200
        assert answer.text.endswith("data: [DONE]\n\n")


def test_the_printed_look_line_can_be_pasted(up: Up) -> None:
    (line,) = [line for line in up.said.splitlines() if line.split()[:1] == ["look"]]
    done = subprocess.run(shlex.split(line)[1:], capture_output=True, text=True, timeout=START_S, check=False)
    assert "4 ranks, 2 gateways" in done.stdout, done.stderr


def test_status_shows_ranks_gateways_and_reservations_to_programs(up: Up) -> None:
    until_now(lambda: up.status()["reservations"] == 0, "no reservation is left")
    status = up.status()
    assert len(status["ranks"]) == 4
    assert {rank["state"] for rank in status["ranks"]} == {"up"}
    assert sorted(rank["role"] for rank in status["ranks"]) == ["decode", "decode", "prefill", "prefill"]
    assert {f"http://{gateway['address']}" for gateway in status["gateways"]} == set(up.gateways)
    assert all(rank["report_age_ms"] < 10_000 for rank in status["ranks"])


def test_status_shows_whole_names_to_people(up: Up) -> None:
    shown = forebay("status", FOREBAY_REDIS=up.redis_url).stdout
    for rank in up.status()["ranks"]:
        assert rank["rank"] in shown
    for gateway in up.gateways:
        assert gateway.removeprefix("http://") in shown
    assert "4 ranks, 2 gateways" in shown


def is_placed_on(up: Up, gateway: str, ranks: list[str]) -> bool:
    return up.rank_of_a_chat(gateway) in ranks


def test_a_drained_rank_gets_nothing_until_it_is_undrained(up: Up) -> None:
    *drained, last = up.ranks("decode")
    for rank in drained:
        done = forebay("drain", rank, "--redis", up.redis_url)
        assert (done.returncode, done.stdout) == (0, f"{rank} of pool sim is drained: nothing more is placed on it\n")
    assert sum(rank["drained"] for rank in up.status()["ranks"]) == 1
    for gateway in up.gateways:
        until_now(partial(is_placed_on, up, gateway, [last]), f"{gateway} knows of the drain")
        assert {up.rank_of_a_chat(gateway) for _ in range(CHATS)} == {last}
    for rank in drained:
        assert forebay("undrain", rank, "--redis", up.redis_url).returncode == 0
    assert not any(rank["drained"] for rank in up.status()["ranks"])
    forebay("drain", last, "--redis", up.redis_url)
    for gateway in up.gateways:
        until_now(partial(is_placed_on, up, gateway, drained), f"{gateway} knows of the end of the drain")
    forebay("undrain", last, "--redis", up.redis_url)


@pytest.mark.parametrize("command", ["drain", "undrain"])
def test_an_unknown_rank_is_refused_with_the_known_ones(up: Up, command: str) -> None:
    done = forebay(command, "127.0.0.1:1", "--redis", up.redis_url)
    assert done.returncode == 1
    assert "127.0.0.1:1" in done.stderr
    for rank in up.status()["ranks"]:
        assert rank["rank"] in done.stderr


def test_every_process_says_one_line_when_it_is_ready(up: Up) -> None:
    lines = up.complained.splitlines()
    ranks = ["prefill-0", "prefill-1", "decode-0", "decode-1"]
    started = [*ranks, "redis", "agent-prefill", "agent-decode", "gateway-0", "gateway-1"]
    assert sorted(line.partition(": ")[0] for line in lines) == sorted([*started, "reports", "gateways"])


def test_a_request_leaves_no_line_on_the_terminal(up: Up) -> None:
    before = up.complained
    up.rank_of_a_chat(up.gateways[0])
    assert up.complained == before
    assert json.dumps("Hello") in up.said
