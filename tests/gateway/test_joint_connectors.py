"""What the connectors whose legs start at once say to either rank."""

import json
from typing import Any

import msgspec
import pytest
from msgspec import Raw

from gateway import joint_answer
from gateway.connectors import CONNECTORS
from gateway.connectors.connector import JointIds, JointLeg, Together
from gateway.errors import RankFailedError
from gateway.wire import Api
from scheduler.messages import KvAddress, RankCard, Role
from tests.gateway.fake_pools import card

IDS = JointIds(request_id="ab12", room=(1 << 63) - 1)
KV = KvAddress(engine_id="e-1", host="10.0.0.1", port=5601, tp_size=4, pp_size=2, bootstrap_url="http://10.0.0.1:8998")
ASKED = {"model": "sim", "prompt": "x", "max_tokens": 9, "min_tokens": 3, "stream": True, "stream_options": {}}


def connector(name: str) -> Together:
    found = CONNECTORS[name]
    assert isinstance(found, Together)
    return found


def prefill(kv: KvAddress | None = KV) -> RankCard:
    return card("http://10.0.0.1:8000", role=Role.PREFILL, kv=kv)


def bodies(name: str, api: Api = Api.COMPLETIONS, asked: dict[str, Any] = ASKED) -> tuple[dict[str, Any], ...]:
    fields = {key: Raw(msgspec.json.encode(value)) for key, value in asked.items()}
    leg, speaks = JointLeg(api, fields), connector(name)
    return tuple(json.loads(make(leg, prefill(), IDS)) for make in (speaks.prefill_body, speaks.decode_body))


def test_nixl_push_tells_the_decode_rank_where_the_prefill_is_and_names_no_blocks() -> None:
    first, second = bodies("nixl_push")
    assert first["kv_transfer_params"] == {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "remote_engine_id": None,
        "remote_block_ids": None,
        "remote_host": None,
        "remote_port": None,
        "transfer_id": "xfer-ab12",
    }
    assert (first["max_tokens"], first["stream"]) == (1, False)
    assert "min_tokens" not in first
    assert second == ASKED | {
        "kv_transfer_params": {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "remote_engine_id": "e-1",
            "remote_request_id": "ab12",
            "remote_host": "10.0.0.1",
            "remote_port": 5601,
            "tp_size": 4,
            "pp_size": 2,
            "transfer_id": "xfer-ab12",
        }
    }


def test_mooncake_names_the_transfer_on_both_legs_and_lets_no_prefill_end_before_its_limit() -> None:
    first, second = bodies("mooncake")
    assert first["kv_transfer_params"] == {
        "do_remote_decode": True,
        "do_remote_prefill": False,
        "transfer_id": "xfer-ab12",
    }
    assert (first["max_tokens"], first["min_tokens"], first["stream"]) == (1, 1, False)
    assert second == ASKED | {
        "kv_transfer_params": {
            "do_remote_decode": False,
            "do_remote_prefill": True,
            "remote_bootstrap_addr": "http://10.0.0.1:8998",
            "remote_engine_id": "e-1",
            "transfer_id": "xfer-ab12",
        }
    }


@pytest.mark.parametrize(
    ("api", "asked", "least"),
    [
        (Api.CHAT, {"messages": []}, {"min_tokens": 1}),
        (Api.GENERATE, {"sampling_params": {"max_tokens": 9}}, {"sampling_params": {"max_tokens": 1, "min_tokens": 1}}),
        (Api.MESSAGES, {"messages": [], "max_tokens": 9}, {}),
        (Api.RESPONSES, {"input": "x"}, {}),
    ],
)
def test_mooncake_asks_for_a_least_token_where_an_api_can(
    api: Api, asked: dict[str, Any], least: dict[str, Any]
) -> None:
    first, _ = bodies("mooncake", api, asked)
    assert {name: first[name] for name in ("min_tokens", "sampling_params") if name in first} == least


def test_sglang_sends_both_the_same_request_and_no_params() -> None:
    first, second = bodies("sglang")
    meeting = {"bootstrap_host": "10.0.0.1", "bootstrap_port": 5601, "bootstrap_room": (1 << 63) - 1}
    assert first == second == ASKED | meeting


@pytest.mark.parametrize("name", ["nixl_push", "mooncake", "sglang"])
@pytest.mark.parametrize("kv", [None, KvAddress()])
def test_a_prefill_rank_of_which_nothing_is_known_lacks_something(name: str, kv: KvAddress | None) -> None:
    assert connector(name).lacks(prefill(kv))
    assert not connector(name).lacks(prefill())


def test_only_mooncake_can_free_what_nobody_has_claimed() -> None:
    freeing = {name: connector(name).freeing_params(prefill(), IDS) for name in ("nixl_push", "mooncake", "sglang")}
    assert (freeing["nixl_push"], freeing["sglang"]) == (None, None)
    assert json.loads(bytes(freeing["mooncake"] or b""))["transfer_id"] == "xfer-ab12"


def test_an_answer_of_nixl_push_shows_its_engine() -> None:
    speaks = connector("nixl_push")
    assert speaks.is_of_another_life({"remote_engine_id": "e-2"}, prefill())
    assert not speaks.is_of_another_life({"remote_engine_id": "e-1"}, prefill())
    assert not speaks.is_of_another_life({}, prefill())


@pytest.mark.parametrize(
    ("api", "answer", "needs_length", "sent"),
    [
        (Api.COMPLETIONS, {"choices": [{"finish_reason": "length"}]}, True, True),
        (Api.CHAT, {"choices": [{"finish_reason": "stop"}]}, True, True),
        (Api.CHAT, {"choices": [{"finish_reason": "abort"}]}, False, False),
        (Api.CHAT, {"choices": [{"finish_reason": None}]}, False, False),
        (Api.CHAT, {"choices": []}, False, False),
        (Api.GENERATE, {"choices": [{"finish_reason": "length"}]}, True, True),
        (Api.MESSAGES, {"stop_reason": "max_tokens"}, True, True),
        (Api.MESSAGES, {"stop_reason": "end_turn"}, True, False),
        (Api.MESSAGES, {"stop_reason": "end_turn"}, False, True),
        (Api.MESSAGES, {"stop_reason": None}, False, False),
        (Api.RESPONSES, {"status": "incomplete"}, True, True),
        (Api.RESPONSES, {"status": "completed"}, True, False),
        (Api.RESPONSES, {"status": "completed"}, False, True),
        (Api.RESPONSES, {"status": "failed"}, False, False),
    ],
)
def test_how_a_prefill_ended_says_whether_its_kv_is_sent(
    api: Api, answer: dict[str, Any], needs_length: bool, sent: bool
) -> None:
    body = json.dumps(answer | {"usage": {"prompt_tokens": 9, "prompt_tokens_details": {"cached_tokens": 4}}}).encode()
    if sent:
        assert joint_answer.read(body, api, sent_ids=0, needs_length=needs_length).cached_tokens == 4
    else:
        with pytest.raises(RankFailedError):
            joint_answer.read(body, api, sent_ids=0, needs_length=needs_length)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"error":{"message":"no"}}', b'{"choices":{}}', b'{"choices":[7]}'])
def test_an_answer_that_is_none_is_a_failure(body: bytes) -> None:
    with pytest.raises(RankFailedError):
        joint_answer.read(body, Api.CHAT, sent_ids=0, needs_length=False)


def test_a_stream_of_a_prefill_server_says_what_was_cached_or_that_it_failed() -> None:
    usage = b'data: {"choices":[],"usage":{"prompt_tokens":9,"prompt_tokens_details":{"cached_tokens":4}}}\n\n'
    token = b'data: {"choices":[{"index":0,"text":"h"}]}\n\n'
    assert joint_answer.cached_tokens_of_events(token + usage + b"data: [DONE]\n\n") == 4
    assert joint_answer.cached_tokens_of_events(token + b"data: [DONE]\n\n") is None
    with pytest.raises(RankFailedError):
        joint_answer.cached_tokens_of_events(token + b'data: {"error":{"message":"broken"}}\n\n')
