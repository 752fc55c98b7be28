"""The NIXL connector's protocol: what of a prefill rank's answer goes to a decode rank, and how."""

import json
from typing import Any

import pytest

from gateway import prefill_answer
from gateway.connectors.connector import Handover
from gateway.connectors.nixl import Nixl
from gateway.errors import RankFailedError
from scheduler.messages import RankCard, Role
from tests.gateway.fake_pools import card
from tests.gateway.scripted_pair import PARAMS
from tests.gateway.scripted_pair import prefill_answer as answer_with

NIXL = Nixl()


def prefill(endpoint: str = "http://10.0.0.1:8000", **about: Any) -> RankCard:
    return card(endpoint, role=Role.PREFILL, **about)


def handover(params: dict[str, Any], *, block_size: int = 32, **fields: Any) -> Handover:
    answer = prefill_answer.read(answer_with(params, **fields))
    found = NIXL.handover(answer, prefill(block_size=block_size))
    assert found is not None
    return found


def offered(params: dict[str, Any], **fields: Any) -> Any:
    """What is handed on of these params."""
    return json.loads(bytes(handover(params, **fields).params or b""))


@pytest.mark.parametrize(
    ("remote_host", "p", "d", "expected"),
    [
        ("localhost", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "10.0.0.1"),
        ("LOCALHOST", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "10.0.0.1"),
        ("127.0.0.1", "http://p.example:8000", "http://d.example:8000", "p.example"),
        ("0.0.0.0", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "10.0.0.1"),
        ("::1", "http://[2001:db8::1]:8000", "http://10.0.0.2:8000", "2001:db8::1"),
        ("::", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "10.0.0.1"),
        ("10.9.9.9", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "10.9.9.9"),
        ("kv.example", "http://10.0.0.1:8000", "http://10.0.0.2:8000", "kv.example"),
        ("localhost", "http://10.0.0.1:8000", "http://10.0.0.1:8001", "localhost"),
        ("localhost", "http://127.0.0.1:8000", "http://10.0.0.2:8000", "localhost"),
        ("localhost", "http://localhost:8000", "http://10.0.0.2:8000", "localhost"),
        ("localhost", "http://10.0.0.1:8000", "http://[::1", "10.0.0.1"),
    ],
)
def test_a_host_that_means_another_to_the_decode_rank_is_replaced(
    remote_host: str, p: str, d: str, expected: str
) -> None:
    given = PARAMS | {"remote_host": remote_host}
    params = NIXL.decode_params(handover(given), prefill(p), card(d, role=Role.DECODE))
    assert json.loads(bytes(params or b"")) == given | {"remote_host": expected}
    if expected == remote_host:
        assert bytes(params or b"") == json.dumps(given).encode()


def test_what_is_no_business_of_nixls_is_left_alone_beside_a_host_that_is_replaced() -> None:
    given = PARAMS | {"remote_host": "localhost", "remote_multi_nodes_meta_mapping": {"0": "localhost"}}
    params = NIXL.decode_params(handover(given), prefill(), card("http://10.0.0.2:8000", role=Role.DECODE))
    assert json.loads(bytes(params or b"")) == given | {"remote_host": "10.0.0.1"}


@pytest.mark.parametrize(
    ("details", "extra", "expected"),
    [
        (None, {}, 32),
        ({"cached_tokens": 48}, {}, 48),
        ({"cached_tokens": 0}, {}, 0),
        ({"cached_tokens": None}, {}, 32),
        (None, {"remote_prefill_cached_tokens": None}, None),
    ],
)
def test_what_the_prefill_had_cached_is_what_its_usage_says_else_its_params(
    details: object, extra: dict[str, object], expected: int | None
) -> None:
    usage = {"prompt_tokens": 66, "prompt_tokens_details": details}
    assert handover(PARAMS | extra, usage=usage).cached_tokens == expected


@pytest.mark.parametrize(
    ("blocks", "prompt_tokens", "more"),
    [
        ([[1, 2]], 64, {}),
        ([[1, 2, 3, 4]], 66, {}),
        ([[1, 2]], 66, {"dcp_size": 2}),
        ([[1]], 1, {}),
        # Of a sliding window there are the last blocks only, and groups that compress have larger ones.
        ([[1, 2, 3], [4]], 66, {}),
        ([[1], [2, 3]], 4000, {}),
        # The prompt's last token is left to the decode rank.
        ([[1, 2]], 65, {"remote_num_tokens": 64}),
        ([[1]], 48, {"remote_num_tokens": 32}),
    ],
)
def test_blocks_that_hold_the_prompt_are_enough(
    blocks: list[list[int]], prompt_tokens: int, more: dict[str, int]
) -> None:
    params = PARAMS | {"remote_block_ids": blocks} | more
    assert offered(params, usage={"prompt_tokens": prompt_tokens}) == params


@pytest.mark.parametrize(
    ("blocks", "prompt_tokens", "more"),
    [
        ([[1, 2]], 65, {}),
        ([[1]], 65, {"dcp_size": 2}),
        ([[1]], 33, {}),
        ([[1], [2]], 5000, {}),
        ([[1]], 66, {"remote_num_tokens": 32}),
    ],
)
def test_a_block_too_few_is_a_failure_of_the_prefill_rank(
    blocks: list[list[int]], prompt_tokens: int, more: dict[str, int]
) -> None:
    with pytest.raises(RankFailedError, match="too few blocks"):
        handover(PARAMS | {"remote_block_ids": blocks} | more, usage={"prompt_tokens": prompt_tokens})


@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": 0}, {"prompt_tokens": -1}])
def test_kv_of_a_prompt_without_a_length_is_a_failure_of_the_prefill_rank(usage: object) -> None:
    with pytest.raises(RankFailedError):
        handover(PARAMS, usage=usage)


@pytest.mark.parametrize(
    "more",
    [
        {"remote_block_ids": [[1, 2, (1 << 31) - 1]]},
        {"remote_block_ids": [[1, 2, 3]] * 64},
        {"tp_size": 4096, "pp_size": 4096, "dcp_size": 1},
        {"remote_num_tokens": None},
        {"remote_blocks_expiry_time": 12.5},
        {"remote_blocks_expiry_time": 12},
        {"remote_block_size": 16},
        {"remote_block_size": [16, 64]},
        {"remote_host": "h" * 253},
        {"remote_host": "[2001:db8::1]"},
        {"of_a_newer_version": {"a": [None, 1.5, {"b": "c"}]}},
    ],
)
def test_what_vllm_may_say_reaches_the_decode_rank(more: dict[str, Any]) -> None:
    assert offered(PARAMS | more) == PARAMS | more


@pytest.mark.parametrize(
    "name", ["do_remote_decode", "transfer_mode", "remote_num_tokens", "remote_blocks_expiry_time"]
)
def test_what_older_versions_do_not_say_may_be_missing(name: str) -> None:
    params = {key: value for key, value in PARAMS.items() if key != name}
    assert offered(params) == params


def test_fewer_tokens_than_ids_were_sent_are_a_failure_of_the_prefill_rank() -> None:
    assert prefill_answer.read(answer_with(), sent_ids=66).prompt_tokens == 66
    with pytest.raises(RankFailedError, match="fewer tokens"):
        prefill_answer.read(answer_with(), sent_ids=67)
