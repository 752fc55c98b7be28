"""The simulated rank answers the other APIs as vLLM 0.32.0 answered the same bytes (see tests/data/vllm/README.md)."""

import re
from collections.abc import Iterator

import pytest

from tests.simulator import captures
from tests.simulator.captures import APIS
from tests.simulator.rank_process import RankProcess, Reply, running_rank
from tests.simulator.test_captures import head
from tests.sse import documents_of

NAMES = captures.names("", APIS)
LOADED = {name: captures.load(name, APIS) for name in NAMES}
WORDED_OTHERWISE = {"pooling_token_embed"}
IN_TURN = ("is_sleeping", "sleep", "wake_up", "is_paused", "pause", "is_paused2", "resume")
ERRORS = [name for name, each in LOADED.items() if each.reply.status != 200 and name not in WORDED_OTHERWISE]
STREAMED = [name for name, each in LOADED.items() if each.reply.chunks]
EMPTY = [name for name, each in LOADED.items() if each.reply.status == 200 and not each.reply.body]
WHOLE = [name for name in NAMES if LOADED[name].reply.status == 200 and name not in {*STREAMED, *EMPTY, *IN_TURN}]


@pytest.fixture(scope="module")
def rank() -> Iterator[RankProcess]:
    """A rank set up like the servers the captures come from."""
    options = ("--model", "tiny", "--max-model-len", "2048", "--block-size-tokens", "32", "--kv-blocks", "2048")
    more = ("--max-num-seqs", "8", "--max-num-batched-tokens", "2048", "--enable-prompt-tokens-details")
    with running_rank(*options, *more, "--speed", "2") as process:
        yield process


@pytest.mark.parametrize("name", ERRORS)
def test_an_error_is_answered_byte_for_byte(rank: RankProcess, name: str) -> None:
    reply = rank.send(LOADED[name].request)
    assert (reply.status, reply.body) == (LOADED[name].reply.status, LOADED[name].reply.body)
    assert head(reply) == head(LOADED[name].reply)


@pytest.mark.parametrize("name", EMPTY)
def test_an_empty_answer_has_the_same_head(rank: RankProcess, name: str) -> None:
    reply = rank.send(LOADED[name].request)
    assert (reply.status, reply.body, head(reply)) == (200, b"", head(LOADED[name].reply))


@pytest.mark.parametrize("name", WHOLE)
def test_an_answer_has_the_same_shape(rank: RankProcess, name: str) -> None:
    reply = rank.send(LOADED[name].request)
    assert reply.status == 200, reply.body
    assert head(reply) == head(LOADED[name].reply)
    assert captures.shape(reply.json()) == captures.shape(LOADED[name].reply.json())


@pytest.mark.parametrize("name", STREAMED)
def test_a_stream_has_the_same_framing_and_events(rank: RankProcess, name: str) -> None:
    captured = LOADED[name].reply
    reply = rank.send(LOADED[name].request)
    assert head(reply) == head(captured)
    assert all(re.fullmatch(rb"(event: [a-z_.]+\n)?data: .*\n\n", chunk) for chunk in reply.chunks)
    assert kinds(reply) == kinds(captured)
    captures.assert_streamed_alike(*(documents_of(each.body.decode()) for each in (reply, captured)))


def test_a_rank_sleeps_and_pauses_in_the_same_words(rank: RankProcess) -> None:
    for name in IN_TURN:
        assert rank.send(LOADED[name].request).body == LOADED[name].reply.body


def kinds(reply: Reply) -> list[bytes]:
    """The names of its events, of several in a row one."""
    found = [chunk.partition(b"\n")[0] for chunk in reply.chunks if chunk.startswith(b"event: ")]
    return [each for at, each in enumerate(found) if not at or found[at - 1] != each]


@pytest.mark.parametrize(
    ("name", "answer_id"), [("embeddings_reqid", "embd-my-req-7"), ("responses_request_id", "resp_mine")]
)
def test_the_request_id_becomes_part_of_the_answers_id(rank: RankProcess, name: str, answer_id: str) -> None:
    assert rank.send(LOADED[name].request).json()["id"] == answer_id
