"""Ranks that share a store of KV: what one has computed the others need not compute, whoever names nothing."""

import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, get_args

import pytest

from simulator.engine import EngineCore
from simulator.misuse import Kind
from simulator.settings import RankSettings
from simulator.shared_kv import SharedKv, shared_kv
from tests.kv_params import ASK_TO_KEEP
from tests.simulator.oracle import right_text
from tests.simulator.prefill_decode import COMPLETIONS, OPTIONS, PrefillDecode, ask, prompt, text_of
from tests.simulator.rank_process import RankProcess, check_misuse, running_rank
from tests.simulator.test_misuse import counts


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[PrefillDecode, RankProcess]]:
    """A pair, and one more prefill rank."""
    store = ("--kv-connector", "store", "--kv-store", str(tmp_path_factory.mktemp("kv")), "--strict", *OPTIONS)
    with ExitStack() as stack:
        first, second, decode = (
            stack.enter_context(running_rank("--role", role, *store, misuse=get_args(Kind)))
            for role in ("prefill", "prefill", "decode")
        )
        yield PrefillDecode(first, decode), second


@pytest.fixture
def pair(ranks: tuple[PrefillDecode, RankProcess]) -> PrefillDecode:
    """Nothing counted."""
    for rank in (*ranks[0], ranks[1]):
        rank.post("/sim/misuse", {})
    return ranks[0]


def legs(pair: PrefillDecode, body: dict[str, Any], name: str) -> str:
    """The text that comes of both legs."""
    prefilled = pair.prefill.post(COMPLETIONS, {**body, "max_tokens": 1, "stream": False}, X_Request_Id=name)
    assert "kv_transfer_params" not in prefilled.json() or prefilled.json()["kv_transfer_params"] is None
    return text_of(pair.decode.post(COMPLETIONS, body, X_Request_Id=name))


def by_source(rank: RankProcess, source: str) -> float:
    series = rank.series("vllm:prompt_tokens_by_source_total")
    return sum(value for labels, value in series.items() if f'source="{source}"' in labels)


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("tokens", [3, 32, 33, 774])
def test_a_completion_through_both_is_the_right_one(pair: PrefillDecode, tokens: int, stream: bool) -> None:
    body = ask(prompt(tokens, f"{stream} river "), 40, stream=stream)
    assert legs(pair, body, f"right-{tokens}-{stream}") == right_text(body["prompt"], 40)
    for rank in pair:
        check_misuse(rank)


def test_a_decode_rank_computes_what_of_the_prompt_is_not_there(pair: PrefillDecode) -> None:
    before = [by_source(pair.decode, source) for source in ("external_kv_transfer", "local_compute")]
    legs(pair, ask(prompt(100, "parts of "), 4), "parts")
    after = [by_source(pair.decode, source) for source in ("external_kv_transfer", "local_compute")]
    assert [now - then for now, then in zip(after, before, strict=True)] == [96, 4]


def test_another_prefill_rank_finds_it_too(pair: PrefillDecode, ranks: tuple[PrefillDecode, RankProcess]) -> None:
    body = ask(prompt(320, "found again "), 1)
    pair.prefill.post(COMPLETIONS, body)
    reply = ranks[1].post(COMPLETIONS, body)
    assert text_of(reply) == right_text(body["prompt"], 1)
    assert by_source(ranks[1], "external_kv_transfer") == 288


def test_what_a_decode_rank_computes_is_for_itself(pair: PrefillDecode) -> None:
    body = ask(prompt(320, "my own "), 4)
    for rank, found in ((pair.decode, 0), (pair.prefill, 0)):
        before = by_source(rank, "external_kv_transfer")
        rank.post(COMPLETIONS, {**body, "max_tokens": 1})
        assert by_source(rank, "external_kv_transfer") - before == found


@pytest.mark.parametrize("leg", [0, 1])
def test_params_are_for_no_leg_of_a_store(pair: PrefillDecode, leg: int) -> None:
    pair[leg].post(COMPLETIONS, ask("x", 1, kv_transfer_params=ASK_TO_KEEP))
    assert counts(pair[leg]) == {"given_params": 1}


@pytest.mark.parametrize("more", [{"stream": True}, {"max_tokens": 2}])
def test_a_prefill_leg_is_of_one_token(pair: PrefillDecode, more: dict[str, Any]) -> None:
    pair.prefill.post(COMPLETIONS, ask("x", 1) | more)
    assert counts(pair.prefill) == {"streamed_prefill": 1}


def test_a_prefill_comes_before_its_decode(pair: PrefillDecode) -> None:
    for rank in (pair.decode, pair.prefill):
        rank.post(COMPLETIONS, ask(prompt(90, "reversed "), 1), X_Request_Id="reversed")
    assert counts(pair.decode) == {}
    assert counts(pair.prefill) == {"late_prefill": 1}


def test_both_legs_have_one_prompt(pair: PrefillDecode) -> None:
    for rank, text in ((pair.prefill, "one "), (pair.decode, "another ")):
        rank.post(COMPLETIONS, ask(prompt(90, text), 1), X_Request_Id="two prompts")
    assert counts(pair.decode) == {"missing_kv": 1}


def test_a_decode_rank_may_serve_alone(pair: PrefillDecode) -> None:
    body = ask(prompt(90, "alone "), 5)
    assert text_of(pair.decode.post(COMPLETIONS, body)) == right_text(body["prompt"], 5)
    assert counts(pair.decode) == {}


def test_its_page_has_no_series_of_nixl(pair: PrefillDecode) -> None:
    assert b"vllm:nixl" not in pair.decode.get("/metrics").body


def test_where_no_block_is_free_nothing_is_loaded(tmp_path: Path) -> None:
    options = RankSettings(kv_connector="store", kv_store=str(tmp_path), kv_blocks=2, max_model_len=32)
    shared = shared_kv(options)
    assert shared is not None
    shared.put(7, 7)
    cache = EngineCore(options, shared).kv
    held = cache.take((), 2)
    assert held is not None
    assert cache.match((7,), 1) == []
    cache.release(held)
    assert len(cache.match((7, 8), 2)) == 1
    assert (cache.take_loaded(), cache.take_loaded()) == (1, 0)


def test_another_model_or_block_size_has_a_store_of_its_own(tmp_path: Path) -> None:
    SharedKv(str(tmp_path), "a", 16).put(1, 2)
    assert SharedKv(str(tmp_path), "a", 16).get(1) == 2
    assert SharedKv(str(tmp_path), "b", 16).get(1) is None
    assert SharedKv(str(tmp_path), "a", 32).get(1) is None


@pytest.mark.parametrize("options", [{"kv_connector": "store"}, {"kv_store": "/somewhere"}])
def test_a_store_and_its_directory_go_together(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"^kv_store: "):
        RankSettings(**options)


def test_a_directory_that_cannot_be_made_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    command = ["rank", "--port", "0", "--kv-connector", "store", "--kv-store", str(tmp_path / "file")]
    run = [sys.executable, "-m", "forebay", *command]
    done = subprocess.run(run, check=False, capture_output=True, text=True, timeout=30)
    assert done.returncode == 1
    assert done.stderr == f"Error: cannot use the directory {tmp_path / 'file'} of --kv-store: Not a directory\n"
