"""Batches, the Python client and the load test against a real `forebay up`."""

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from forebay.client import LLM, RequestsFailedError, SamplingParams
from tests.e2e.up_process import Up, up_running
from tests.forebay.batch.batch_command import answers, batch, batch_process, line, written
from tests.forebay.load_test.bench_command import bench
from tests.polling import until_now

MIXED = ("--prefill", "0", "--decode", "0", "--mixed", "1", "--gateways", "2")


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    with up_running(tmp_path_factory.mktemp("up"), *MIXED) as running:
        yield running


def test_a_batch_asks_every_api_that_batches_are_made_of(up: Up, tmp_path: Path) -> None:
    chat = [{"role": "user", "content": "Tell me of turbines."}]
    lines = [
        line("chat", "/v1/chat/completions", messages=chat, max_tokens=4),
        line("completion", prompt=[1000, 2000], max_tokens=4, n=2),
        line("embedding", "/v1/embeddings", input=["a", "b"]),
        line("score", "/v1/score", text_1="a", text_2=["b", "c"]),
        line("rerank", "/v1/rerank", query="a", documents=["b", "c"]),
        line("response", "/v1/responses", input="Hello", max_output_tokens=4),
        line("refused", max_tokens=-1),
    ]
    output = tmp_path / "out.jsonl"
    done = batch(written(tmp_path / "in.jsonl", lines), "-o", str(output), "--url", ",".join(up.gateways))
    assert done.exit_code == 1
    assert "failed: refused: status 400: max_tokens must be at least 1" in done.stderr
    found = {each["custom_id"]: each["response"] for each in answers(output)}
    assert {name: answer["status_code"] for name, answer in found.items()} == {
        **dict.fromkeys(("chat", "completion", "embedding", "score", "rerank", "response"), 200),
        "refused": 400,
    }
    assert found["chat"]["body"]["object"] == "chat.completion"
    assert len(found["completion"]["body"]["choices"]) == 2
    assert len(found["embedding"]["body"]["data"]) == len(found["score"]["body"]["data"]) == 2
    assert len(found["rerank"]["body"]["results"]) == 2
    assert all(answer["request_id"] for answer in found.values())


def test_a_batch_that_is_killed_leaves_no_load_behind_and_is_resumed(up: Up, tmp_path: Path) -> None:
    names = [f"r-{number}" for number in range(24)]
    output, journal = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal"
    given = written(tmp_path / "in.jsonl", (line(name, max_tokens=1000, ignore_eos=True) for name in names))
    arguments = (given, "-o", str(output), "--url", ",".join(up.gateways), "--concurrency", "3", "--resume")
    with batch_process(*arguments) as process:
        until_now(lambda: journal.exists() and journal.read_text().count("\n") > 3, "some are answered")
        process.kill()
    kept = [json.loads(each) for each in journal.read_text().splitlines()]
    assert 3 < len(kept) < len(names)
    until_now(lambda: up.status()["reservations"] == 0, "what the killed client asked for is given back")
    done = batch(*arguments)
    assert done.exit_code == 0, done.output
    found = answers(output)
    assert [each["custom_id"] for each in found] == names
    assert {each["response"]["body"]["usage"]["completion_tokens"] for each in found} == {1000}
    assert all(each in found for each in kept)


def test_the_offline_snippet_runs_with_another_constructor(up: Up) -> None:
    prompts = ["Hello, my name is", "你好, 请问今天是星期", "请写6个以数字开头的成语"]
    sampling_params = SamplingParams(temperature=0.8, top_p=0.95, max_tokens=12, ignore_eos=True)
    llm = LLM(up.gateways[0])
    outputs = llm.generate(prompts, sampling_params)
    assert [output.prompt for output in outputs] == prompts
    for output in outputs:
        assert output.outputs[0].text
        assert output.outputs[0].finish_reason == "length"
        assert output.outputs[0].token_ids is None


def test_token_ids_are_there_if_asked_for_and_come_in_a_notebook_too(up: Up) -> None:
    async def cell() -> None:
        llm = LLM([f"{url}/v1" for url in up.gateways], "sim", token_ids=True)
        params = SamplingParams(n=2, max_tokens=5, ignore_eos=True, seed=3)
        given, text = llm.generate([[1000, 2000, 3000], {"prompt": "Hello"}], [params, SamplingParams(max_tokens=1)])
        assert [len(each.token_ids or ()) for each in given.outputs] == [5, 5]
        assert given.prompt_token_ids == [1000, 2000, 3000]
        assert (text.prompt, len(text.outputs), text.num_prompt_tokens) == ("Hello", 1, 2)
        assert text.prompt_token_ids is not None
        (chat,) = llm.chat([{"role": "user", "content": "Hello"}], params)
        assert len(chat.outputs) == 2

    asyncio.run(cell())


def test_a_prompt_that_is_refused_says_so_and_the_others_are_kept(up: Up) -> None:
    params = [SamplingParams(max_tokens=2), SamplingParams(max_tokens=-1)]
    with pytest.raises(RequestsFailedError, match="1 of 2 prompts failed, the first at place 1: status 400") as failed:
        LLM(up.gateways[0]).generate(["a", "b"], params)
    kept, missing = failed.value.outputs
    assert kept is not None
    assert kept.prompt == "a"
    assert missing is None


def test_a_load_test_measures_what_was_asked_for(up: Up, tmp_path: Path) -> None:
    report, plot = tmp_path / "report.json", tmp_path / "plot.svg"
    rate = ("--request-rate", "100", "--max-concurrency", "8", "--num-prompts", "40", "--warmup", "3")
    size = ("--input-tokens", "300", "--output-tokens", "20", "--slo-ttft-ms", "60000")
    done = bench("--url", up.gateways[0], *rate, *size, "--json", str(report), "--plot", str(plot))
    assert done.exit_code == 0, done.output
    assert "40 of 40 requests succeeded" in done.stdout
    found = json.loads(report.read_text())
    figures = found["figures"]
    assert (figures["sent"], figures["succeeded"], figures["output_tokens"]) == (40, 40, 800)
    assert figures["prompt_tokens"] / 40 == pytest.approx(300, rel=0.1)
    assert 1 <= found["most_at_once"] <= 8
    assert figures["goodput"]["share"] == 1
    for name in ("ttft", "tpot", "itl", "e2e"):
        spread = figures[name]
        assert 0 <= spread["p50"] <= spread["p90"] <= spread["p99"] <= spread["most"]
    assert figures["e2e"]["p50"] >= figures["ttft"]["p50"] > 0
    assert found["own_load"]["cores"] > 0
    assert plot.read_text().startswith("<svg")
    assert "api_key" not in found["options"]
