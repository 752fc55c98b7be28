"""Token ids asked for and given, as vLLM 0.32.0 answered (tests/data/vllm/answers)."""

from collections.abc import Iterator
from itertools import chain
from typing import Any, NamedTuple

import pytest

from tests.simulator import captures
from tests.simulator.captures import Answered, shape
from tests.simulator.oracle import right_ids
from tests.simulator.prefill_decode import CHAT, COMPLETIONS, PrefillDecode, first_leg, running_pair
from tests.simulator.rank_process import RankProcess, Reply, running_rank

OPTIONS = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32")
AS_CAPTURED, MANY_STEPS_A_WAKE = (*OPTIONS, "--speed", "5"), (*OPTIONS, "--speed", "1000")
RETURNED = captures.answered("return_token_ids")
GIVEN = captures.answered("prompt_token_ids")
REFUSED = [*RETURNED, *GIVEN, *captures.answered("refused_samplings")]
REFUSED = [each for each in REFUSED if each.reply.status == 400 and "[999999]" not in each.name]
ANSWERS = [each for each in (*RETURNED, *GIVEN) if each.reply.status == 200 and "stop string" not in each.name]
TOO_MANY = 3000


class Ranks(NamedTuple):
    """A rank without a connector, and a pair."""

    plain: RankProcess
    pair: PrefillDecode

    def ask(self, captured: Answered) -> Reply:
        """Ask as the capture did; a decode leg gets params of its own."""
        path, body = captured.path, body_of(captured)
        if captured.server == "plain":
            return self.plain.post(path, body)
        if captured.server == "prefill":
            reply = self.pair.prefill.post(path, body)
            if reply.status == 200:
                self.pair.free(reply.json()["kv_transfer_params"])
            return reply
        ids = {key: value for key, value in body["kv_transfer_params"].items() if key == "prompt_token_ids"}
        prefill = first_leg(body)
        asked = {**prefill, "kv_transfer_params": {**prefill["kv_transfer_params"], **ids}}
        params = self.pair.prefill.post(path, asked).json()["kv_transfer_params"]
        return self.pair.decode_with(path, body, {**params, **ids})


def body_of(captured: Answered) -> dict[str, Any]:
    if captured.request is not None:
        return captured.request
    assert captured.name == "bad ids [5]*3000"
    [others] = [each.request for each in GIVEN if each.name == "bad ids []"]
    assert others is not None
    return {**others, "kv_transfer_params": {"prompt_token_ids": [5] * TOO_MANY}}


@pytest.fixture(scope="module")
def ranks() -> Iterator[Ranks]:
    with running_rank(*AS_CAPTURED) as plain, running_pair("--strict", *AS_CAPTURED) as pair:
        yield Ranks(plain, pair)


@pytest.fixture(scope="module")
def hasty() -> Iterator[Ranks]:
    """Steps so short that all tokens of a short answer come at once, as where a rank wakes late."""
    with running_rank(*MANY_STEPS_A_WAKE) as plain, running_pair("--strict", *MANY_STEPS_A_WAKE) as pair:
        yield Ranks(plain, pair)


@pytest.mark.parametrize("captured", REFUSED, ids=lambda captured: captured.label)
def test_a_refusal_is_that_of_vllm(ranks: Ranks, captured: Answered) -> None:
    reply = ranks.ask(captured)
    assert (reply.status, reply.body) == (captured.reply.status, captured.reply.body)


def test_an_unknown_id_beside_a_chat_is_named(ranks: Ranks) -> None:
    [captured] = [each for each in GIVEN if each.name == "bad ids [999999]"]
    huge = 999_999_999_999
    reply = ranks.plain.post(CHAT, {**body_of(captured), "kv_transfer_params": {"prompt_token_ids": [huge]}})
    assert reply.body == captured.reply.body.replace(b"999999", str(huge).encode())


@pytest.mark.parametrize("captured", ANSWERS, ids=lambda captured: captured.label)
def test_an_answer_has_the_shape_of_vllms(ranks: Ranks, captured: Answered) -> None:
    reply = ranks.ask(captured)
    assert reply.status == 200
    if not reply.chunks:
        assert shape(reply.json()) == shape(captured.reply.json())
        assert [len(choice["token_ids"]) for choice in reply.json()["choices"]] == [
            len(choice["token_ids"]) for choice in captured.reply.json()["choices"]
        ]
        return
    captures.assert_streamed_alike(reply.events(), captured.reply.events())


@pytest.mark.parametrize("captured", [each for each in ANSWERS if "streamed" in each.name], ids=lambda each: each.label)
def test_tokens_that_come_at_once_have_the_shape_of_one(hasty: Ranks, captured: Answered) -> None:
    reply = hasty.ask(captured)
    captures.assert_streamed_alike(reply.events(), captured.reply.events())
    assert len(reply.events()) < len(captured.reply.events())


@pytest.mark.parametrize("captured", [each for each in GIVEN if each in ANSWERS], ids=lambda captured: captured.label)
def test_a_chat_takes_the_ids_given_with_it_and_a_completion_does_not(ranks: Ranks, captured: Answered) -> None:
    reply = ranks.ask(captured)
    given = body_of(captured)["kv_transfer_params"]["prompt_token_ids"]
    theirs = captured.reply.events() if captured.reply.body.startswith(b"data: ") else [captured.reply.json()]
    ours = reply.events() if reply.chunks else [reply.json()]
    taken = [
        given == (events[0].get("prompt_token_ids") or events[0]["choices"][0].get("prompt_token_ids"))
        for events in (ours, theirs)
    ]
    assert taken[0] == taken[1]
    if taken[0]:
        answer = list(
            chain.from_iterable(event["choices"][0].get("token_ids", []) for event in ours if event["choices"])
        )
        assert answer == right_ids(given, len(answer), ignore_eos=True)


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
def test_the_token_that_completes_a_stop_string_is_among_the_ids(ranks: Ranks, path: str) -> None:
    [captured] = [each for each in RETURNED if each.path == path and "stop string" in each.name]
    asked = {name: value for name, value in body_of(captured).items() if name not in ("stop", "stream")}
    first = ranks.plain.post(path, {**asked, "max_tokens": 1}).json()["choices"][0]
    stop = first["text"] if path == COMPLETIONS else first["message"]["content"]
    reply = ranks.plain.post(path, {**asked, "stop": [stop], "stream": True})
    assert list(map(shape, reply.events())) == list(map(shape, captured.reply.events()))
    assert reply.events()[-1]["choices"][0]["token_ids"] == first["token_ids"]
    later = ranks.plain.post(path, {**asked, "stop": [stop], "min_tokens": 1, "max_tokens": 1}).json()["choices"][0]
    assert later["finish_reason"] == "length"


def test_a_prompt_given_by_its_ids_may_fill_the_context(ranks: Ranks) -> None:
    [captured] = [each for each in GIVEN if each.name == "bad ids []"]
    body = {**body_of(captured), "max_tokens": 5}
    for count, status in ((2046, 200), (2048, 400)):
        reply = ranks.plain.post(CHAT, {**body, "kv_transfer_params": {"prompt_token_ids": [20] * count}})
        assert reply.status == status
        assert status != 200 or reply.json()["usage"]["completion_tokens"] == 2048 - count
