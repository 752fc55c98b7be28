"""What callers of the client may give, and what reaches the server."""

from typing import Any

import pytest

from forebay.client import LLM, ClientError, RequestsFailedError, SamplingParams
from tests.forebay.model_server.scripted_server import Asked, Reply, completion, echo, scripted_server


@pytest.mark.parametrize(
    ("given", "sent"),
    [
        ("one", ["one"]),
        (["one", "two"], ["one", "two"]),
        ([1, 2], [[1, 2]]),
        ([[1, 2], "two", {"prompt": "three"}, {"prompt_token_ids": [4]}], [[1, 2], "two", "three", [4]]),
        ([], []),
    ],
)
def test_prompts_are_texts_or_token_ids_one_or_many(given: Any, sent: list[Any]) -> None:
    with scripted_server() as server:
        outputs = LLM(server.url, concurrency=1).generate(given)
        assert [each.body["prompt"] for each in server.posts] == sent
    assert [output.outputs[0].text for output in outputs] == [f"to {prompt}" for prompt in sent]


@pytest.mark.parametrize("given", [3, None, [1, "a"], [{"text": "a"}], [[]], [True]])
def test_what_is_no_prompt_is_refused_before_anything_is_asked(given: Any) -> None:
    with scripted_server() as server, pytest.raises(TypeError, match="prompts: expected"):
        LLM(server.url).generate(given)
    assert server.posts == []


@pytest.mark.parametrize("given", ["hi", [["hi"]], [[]], [3]])
def test_what_is_no_chat_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match="messages: expected"):
        LLM("http://127.0.0.1:1").chat(given)


def test_only_what_differs_from_the_apis_defaults_is_sent() -> None:
    with scripted_server() as server:
        LLM(server.url, api_key="secret").generate("a")
        LLM(server.url, "other").generate("a", SamplingParams(max_tokens=None, top_k=5, extra={"guided": 1}))
        bare, full = server.posts
    assert bare.body == {"model": "sim", "prompt": "a", "temperature": 1.0, "top_p": 1.0, "max_tokens": 16}
    assert bare.headers["authorization"] == "Bearer secret"
    assert full.body == {
        "model": "other", "prompt": "a", "temperature": 1.0, "top_p": 1.0, "top_k": 5, "guided": 1,
    }  # fmt: skip


def test_a_chat_asks_for_logprobs_in_its_own_way() -> None:
    def script(asked: Asked, _: int) -> Reply:
        message = {"role": "assistant", "content": None, "reasoning": "hm", "tool_calls": [{"id": "1"}]}
        choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
        return Reply(body={**completion(asked), "choices": [choice]})

    with scripted_server(script) as server:
        (output,) = LLM(server.url).chat([{"role": "user", "content": "hi"}], SamplingParams(logprobs=2), tools=[])
        body = server.posts[0].body
    assert (body["logprobs"], body["top_logprobs"], body["tools"]) == (True, 2, [])
    first = output.outputs[0]
    assert (first.text, first.reasoning, first.tool_calls, output.prompt) == ("", "hm", [{"id": "1"}], None)
    assert first.finished()


def test_the_order_is_kept_and_a_busy_server_is_waited_for() -> None:
    def script(asked: Asked, before: int) -> Reply:
        if before == 0 and asked.body["prompt"] in {"p0", "p3"}:
            return Reply(429, {}, (("retry-after", "0"),))
        return echo(asked, before)

    prompts = [f"p{number}" for number in range(12)]
    with scripted_server(script) as server:
        outputs = LLM(server.url, retries=0).generate(prompts, use_tqdm=False)
    assert [output.prompt for output in outputs] == prompts


def test_one_of_several_models_has_to_be_named() -> None:
    with scripted_server() as server:
        server.models = Reply(body={"data": [{"id": "a"}, {"id": "b"}]})
        with pytest.raises(ClientError, match=r"2 models \(a, b\): name one by model="):
            LLM(server.url).generate("x")


@pytest.mark.parametrize("make", [lambda: LLM("gateway:8000"), lambda: LLM("http://h", concurrency=0)])
def test_a_constructor_that_cannot_work_is_refused_at_once(make: Any) -> None:
    with pytest.raises(ClientError):
        make()


def test_a_server_that_is_not_there_is_named() -> None:
    with pytest.raises(ClientError, match=r"http://127.0.0.1:1 cannot be reached"):
        LLM("http://127.0.0.1:1").generate("x")


def test_sampling_params_are_one_or_one_for_each_prompt() -> None:
    with pytest.raises(ValueError, match="there are 1 for 2 prompts"):
        LLM("http://127.0.0.1:1").generate(["a", "b"], [SamplingParams()])


def test_a_server_that_goes_away_leaves_the_answers_it_gave() -> None:
    def script(asked: Asked, before: int) -> Reply:
        return echo(asked, before) if asked.body["prompt"] == "p0" else Reply(503, {})

    with scripted_server(script) as server:
        llm = LLM(server.url, concurrency=1, busy_timeout_s=0.1)
        with pytest.raises(RequestsFailedError, match="2 of 3 prompts failed") as failed:
            llm.generate(["p0", "p1", "p2"])
        with pytest.raises(ClientError, match=r"nothing was let in for .* it answers 503"):
            llm.generate(["p1"])
    assert [output and output.prompt for output in failed.value.outputs] == ["p0", None, None]


@pytest.mark.parametrize("url", [[], "http://a b", "http://h/\n", "http://ä..b", "http://[::1"])
def test_a_url_that_is_none_is_refused_by_its_name(url: Any) -> None:
    with pytest.raises(ClientError, match=r"^url: expected"):
        LLM(url, "sim")


@pytest.mark.parametrize("key", ["ключ", "se cret", "secret\r\nx: y"])
def test_a_key_that_no_header_carries_is_refused_and_not_shown(key: str) -> None:
    with pytest.raises(ClientError, match=r"^api_key: it has a letter that is no printable ASCII, or a blank$"):
        LLM("http://127.0.0.1:1", api_key=key)


@pytest.mark.parametrize("given", [5, [5], "x", {"temperature": 1}])
def test_what_are_no_sampling_params_is_refused(given: Any) -> None:
    with pytest.raises(TypeError, match=r"^sampling_params: expected SamplingParams"):
        LLM("http://127.0.0.1:1").generate("a", given)


def test_a_field_that_json_has_no_form_for_is_told_as_it_is() -> None:
    with scripted_server() as server, pytest.raises(TypeError, match="object is unsupported"):
        LLM(server.url).generate("a", SamplingParams(extra={"a": object()}))


def test_an_answer_that_is_nested_without_end_is_no_json() -> None:
    with scripted_server(lambda _asked, _before: Reply(body=b"[" * 100_000)) as server:
        with pytest.raises(RequestsFailedError, match="invalid_response"):
            LLM(server.url, retries=0).generate("a")
        server.models = Reply(body=b'{"x":' + b"[" * 100_000)
        with pytest.raises(ClientError, match="no list of models"):
            LLM(server.url).generate("a")


def test_a_pause_longer_than_one_waits_is_told_with_its_server() -> None:
    reply = Reply(429, {"error": {"message": "full"}}, (("retry-after", "999"),))
    with scripted_server(lambda _asked, _before: reply) as server:
        told = rf"^nothing was let in for 0 s: {server.url}: it answers 429, and a pause of \d+ s is asked for$"
        with pytest.raises(ClientError, match=told):
            LLM(server.url).generate("a")
