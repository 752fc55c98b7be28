"""Ranks that speak vllm-ascend's layerwise connector: the decode rank calls for its prefill, which pushes the KV."""

import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from typing import Any
from uuid import uuid4

import pytest

from simulator.layer_audit import SLOW_CALL_S, LayerAudit
from simulator.metaserver_client import THREADS
from simulator.misuse import MisuseBoard
from tests.ports import free_port
from tests.simulator.metaserver import Metaserver, metaserver
from tests.simulator.oracle import right_chat_text, right_text
from tests.simulator.prefill_decode import (
    CHAT,
    COMPLETIONS,
    OPTIONS,
    A,
    B,
    PrefillDecode,
    ask,
    kv_usage,
    prompt,
    running_pair,
    text_of,
)
from tests.simulator.rank_process import RankProcess, Reply, eventually, request, running_rank
from tests.simulator.test_misuse import ALL, counts

LAYERWISE = ("--strict", "--kv-connector", "mooncake_layerwise", "--kv-lease-ms", "1000", *OPTIONS)


@pytest.fixture(scope="module")
def ranks() -> Iterator[PrefillDecode]:
    with running_pair(*LAYERWISE, misuse=ALL) as pair:
        yield pair


@pytest.fixture
def pair(ranks: PrefillDecode) -> PrefillDecode:
    """Nothing counted."""
    for rank in ranks:
        rank.post("/sim/misuse", {})
    return ranks


@pytest.fixture(scope="module")
def meta() -> Iterator[Metaserver]:
    with metaserver() as server:
        yield server


@pytest.fixture
def name() -> str:
    """A request id that no other test has."""
    return uuid4().hex


@pytest.fixture
def clients() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor() as threads:
        yield threads


def prefill_leg(body: dict[str, Any], call: dict[str, Any]) -> dict[str, Any]:
    return {**body, "max_tokens": 1, "stream": False, "kv_transfer_params": call}


def begun(
    clients: ThreadPoolExecutor, decode: RankProcess, leg: dict[str, Any], name: str, path: str = COMPLETIONS
) -> "Future[Reply]":
    return clients.submit(decode.post, path, leg, X_Request_Id=name)


@pytest.mark.parametrize("path", [COMPLETIONS, CHAT])
@pytest.mark.parametrize("stream", [False, True])
def test_a_decode_rank_calls_waits_and_goes_on_from_what_is_pushed(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str, path: str, stream: bool
) -> None:
    messages, text = [{"role": "user", "content": f"hello {stream} " * 40}], prompt(148, f"A {stream} ")
    body: dict[str, Any] = {"max_tokens": 12, "ignore_eos": True}
    body |= {"messages": messages} if path == CHAT else {"prompt": text}
    answer = begun(clients, pair.decode, {**body, "stream": stream, "kv_transfer_params": meta.params()}, name, path)
    call = meta.call()
    assert call["request_id"] == (f"chatcmpl-{name}" if path == CHAT else f"cmpl-{name}-0")
    assert call.keys() == {
        *("token_ids", "request_id", "do_remote_prefill", "do_remote_decode", "remote_block_ids", "remote_block_size"),
        *("remote_engine_id", "remote_host", "remote_port", "remote_tp_size", "remote_pcp_size", "remote_dcp_size"),
        "remote_cached_tokens",
    }
    assert pair.prefill.post(path, prefill_leg(body, call), X_Request_Id=name).status == 200
    chatted, completed = right_chat_text(messages, 12, ignore_eos=True), right_text(text, 12, ignore_eos=True)
    assert text_of(answer.result()) == (chatted if path == CHAT else completed)
    assert counts(pair.prefill) == counts(pair.decode) == {}
    eventually(lambda: kv_usage(pair.decode) == kv_usage(pair.prefill) == 0)


def test_of_a_prompt_whose_beginning_it_has_a_decode_rank_wants_only_the_rest(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str
) -> None:
    shared = prompt(96, "shared ")
    for end, cached in (("one", 0), ("another", 96)):
        body = ask(shared + end * 20, 4, ignore_eos=True)
        answer = begun(clients, pair.decode, {**body, "kv_transfer_params": meta.params()}, name + end)
        call = meta.call()
        assert call["remote_cached_tokens"] == cached
        pair.prefill.post(COMPLETIONS, prefill_leg(body, call), X_Request_Id=name + end)
        assert text_of(answer.result()) == right_text(body["prompt"], 4, ignore_eos=True)
    assert counts(pair.decode) == {}


def test_another_prompts_kv_makes_another_text(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str
) -> None:
    answer = begun(
        clients,
        pair.decode,
        {**ask(prompt(148, "right "), 12, ignore_eos=True), "kv_transfer_params": meta.params()},
        name,
    )
    pair.prefill.post(COMPLETIONS, prefill_leg(ask(prompt(148, "wrong "), 12), meta.call()), X_Request_Id=name)
    assert text_of(answer.result()) != right_text(prompt(148, "right "), 12, ignore_eos=True)
    assert counts(pair.decode) == {"wrong_kv": 1}


def test_an_answer_that_is_no_200_is_not_looked_at_and_nothing_is_called_again(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str
) -> None:
    meta.status = 404
    answer = begun(clients, pair.decode, {**A, "kv_transfer_params": meta.params()}, name)
    pair.prefill.post(COMPLETIONS, prefill_leg(A, meta.call()), X_Request_Id=name)
    assert answer.result().status == 200
    meta.status = 200
    assert meta.calls.empty()


def test_legs_of_different_names_never_find_each_other(pair: PrefillDecode, meta: Metaserver) -> None:
    with closing(pair.decode.connect()) as client:
        leg = {**B, "stream": True, "kv_transfer_params": meta.params()}
        client.sendall(request("POST", COMPLETIONS, leg, X_Request_Id="one"))
        assert pair.prefill.post(COMPLETIONS, prefill_leg(B, meta.call()), X_Request_Id="two").status == 200
        eventually(lambda: counts(pair.prefill) == {"other_request_id": 1})
        eventually(lambda: counts(pair.decode) == {"unknown_request": 1, "never_asked": 1})
        assert pair.decode.state()["in_flight"] == 1


def test_a_prefill_that_is_asked_for_twice_is_counted(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str
) -> None:
    answer = begun(clients, pair.decode, {**ask(prompt(148, "twice "), 12), "kv_transfer_params": meta.params()}, name)
    call = meta.call()
    for _ in range(2):
        pair.prefill.post(COMPLETIONS, prefill_leg(ask(prompt(148, "twice "), 12), call), X_Request_Id=name)
    answer.result()
    assert counts(pair.prefill) == {"asked_twice": 1}
    eventually(lambda: counts(pair.decode).get("asked_twice") == 1)


def test_a_request_that_is_left_open_after_its_prefill_has_failed_is_counted_and_waits_on(
    pair: PrefillDecode, meta: Metaserver
) -> None:
    with closing(pair.decode.connect()) as client:
        leg = {**A, "stream": True, "kv_transfer_params": meta.params()}
        client.sendall(request("POST", COMPLETIONS, leg, X_Request_Id="left"))
        failing = prefill_leg(ask(prompt(148), 12, temperature=-1), meta.call())
        assert pair.prefill.post(COMPLETIONS, failing, X_Request_Id="left").status == 400
        eventually(lambda: counts(pair.decode) == {"left_waiting": 1})
        assert pair.decode.state()["in_flight"] == 1


def test_the_blocks_of_a_request_that_was_aborted_while_it_waited_are_held_until_they_are_filled(
    pair: PrefillDecode, meta: Metaserver
) -> None:
    before = kv_usage(pair.decode)
    with closing(pair.decode.connect()) as client:
        leg = {**A, "prompt": prompt(148, "gone "), "stream": True, "kv_transfer_params": meta.params()}
        client.sendall(request("POST", COMPLETIONS, leg, X_Request_Id="gone"))
        call = meta.call()
    eventually(lambda: pair.decode.state()["in_flight"] == 0)
    assert kv_usage(pair.decode) > before
    pair.prefill.post(COMPLETIONS, prefill_leg(ask(prompt(148, "gone "), 12), call), X_Request_Id="gone")
    eventually(lambda: kv_usage(pair.decode) == before)


def test_what_is_asked_of_a_leg_otherwise_than_its_connector_does_is_counted(
    pair: PrefillDecode, meta: Metaserver, clients: ThreadPoolExecutor, name: str
) -> None:
    body = ask(prompt(148, "odd "), 12)
    answer = begun(clients, pair.decode, {**body, "kv_transfer_params": meta.params()}, name)
    leg = prefill_leg(body, {**meta.call(), "new": 1}) | {"max_tokens": 2}
    pair.prefill.post(COMPLETIONS, leg, X_Request_Id=name)
    answer.result()
    assert counts(pair.prefill) == {"streamed_prefill": 1, "altered_params": 1}


def test_a_rank_calls_from_so_many_threads_and_no_more(meta: Metaserver) -> None:
    may_answer = threading.Event()
    meta.waits_for = may_answer
    with running_rank("--role", "decode", *LAYERWISE, misuse=ALL) as decode, ThreadPoolExecutor(THREADS + 8) as clients:
        leg = {**A, "stream": True, "kv_transfer_params": meta.params()}
        connections = [decode.connect() for _ in range(THREADS + 8)]
        for number, client in enumerate(connections):
            client.sendall(request("POST", COMPLETIONS, leg, X_Request_Id=f"r{number}"))
        eventually(lambda: decode.state()["in_flight"] == THREADS + 8)
        eventually(lambda: meta.calls.qsize() == THREADS)
        assert clients.submit(waits_for_more, decode, meta).result() == THREADS
        may_answer.set()
        eventually(lambda: meta.calls.qsize() == THREADS + 8)
        for client in connections:
            client.close()
    while not meta.calls.empty():
        meta.call()


def waits_for_more(decode: RankProcess, meta: Metaserver) -> int:
    """How many calls there are when the rank has been asked some more."""
    for _ in range(20):
        decode.state()
    return meta.calls.qsize()


def test_each_child_of_a_request_is_called_for_once(meta: Metaserver) -> None:
    leg = {**A, "prompt": [prompt(148, "one "), prompt(148, "two ")], "kv_transfer_params": meta.params()}
    with running_rank("--role", "decode", *LAYERWISE, misuse=ALL) as decode, closing(decode.connect()) as client:
        client.sendall(request("POST", COMPLETIONS, leg, X_Request_Id="both"))
        eventually(lambda: counts(decode) == {"not_one_prompt": 1, "never_asked": 2})
    assert sorted(meta.call()["request_id"] for _ in range(meta.calls.qsize())) == ["cmpl-both-0", "cmpl-both-1"]


def test_a_metaserver_that_is_slow_to_answer_is_counted() -> None:
    board = MisuseBoard(strict=True)
    for took_s in (SLOW_CALL_S / 2, SLOW_CALL_S * 2):
        LayerAudit(board).answered("cmpl-r-0", took_s)
    assert board.report(0).counts == {"slow_metaserver": 1}


def test_a_url_where_nobody_listens_is_tried_a_few_times_and_the_request_waits_for_ever(pair: PrefillDecode) -> None:
    params = {"do_remote_decode": False, "do_remote_prefill": True, "metaserver": f"http://127.0.0.1:{free_port()}/"}
    with closing(pair.decode.connect()) as client:
        client.sendall(request("POST", COMPLETIONS, {**A, "kv_transfer_params": params}, X_Request_Id="nobody"))
        eventually(lambda: counts(pair.decode) == {"never_asked": 1})
        assert pair.decode.state()["in_flight"] == 1


def test_params_that_lack_what_the_engine_reads_kill_it() -> None:
    reason = "a prefill leg's kv_transfer_params lack remote_cached_tokens"
    with running_rank("--role", "prefill", *LAYERWISE, dies_of=reason) as rank, closing(rank.connect()) as client:
        leg = prefill_leg(A, {"do_remote_decode": True, "request_id": "r"})
        client.sendall(request("POST", COMPLETIONS, leg))
        assert rank.process.wait(30) == 1
