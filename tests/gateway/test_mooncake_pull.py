"""The connector of vllm-ascend that pulls: what of a prefill rank's answer goes to a decode rank, and how."""

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import prefill_answer
from gateway.connectors.connector import Handover, PrefillFirst
from gateway.connectors.mooncake_pull import MooncakePull
from gateway.connectors.nixl import Nixl
from gateway.connectors.pull import Pull
from gateway.errors import RankFailedError
from scheduler.messages import Role
from tests.gateway.fake_pools import card
from tests.gateway.mooncake_offers import OFFER, OLD_OFFER
from tests.gateway.scripted_pair import PARAMS
from tests.gateway.scripted_pair import prefill_answer as answer_with

MOONCAKE, NIXL, PULL = MooncakePull(), Nixl(), Pull()
either = pytest.mark.parametrize("connector", [MOONCAKE, PULL], ids=["mooncake_pull", "pull"])

JSON = st.recursive(
    st.none() | st.booleans() | st.integers(-(1 << 33), 1 << 33) | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=6,
)


def handover(
    params: dict[str, Any], *, by: PrefillFirst = MOONCAKE, block_size: int = 128, **fields: Any
) -> Handover | None:
    answer = prefill_answer.read(answer_with(params, **fields))
    return by.handover(answer, card("http://10.0.0.1:8000", role=Role.PREFILL, block_size=block_size))


def passed_on(params: dict[str, Any], *, by: PrefillFirst = MOONCAKE, block_size: int = 128, **fields: Any) -> Any:
    """What a decode rank elsewhere is handed."""
    found = handover(params, by=by, block_size=block_size, **fields)
    assert found is not None
    p, d = (card(f"http://10.0.0.{n}:8000", role=role) for n, role in ((1, Role.PREFILL), (2, Role.DECODE)))
    handed = by.decode_params(found, p, d)
    assert handed is not None
    return json.loads(bytes(handed))


def prompt_of(tokens: int) -> dict[str, Any]:
    return {"usage": {"prompt_tokens": tokens}}


def with_nodes(nodes: Any) -> dict[str, Any]:
    return OFFER | {"remote_multi_nodes_meta_mapping": nodes}


@either
@pytest.mark.parametrize("offer", [OFFER, OLD_OFFER], ids=["new", "old"])
def test_the_params_are_passed_on_to_the_byte(connector: PrefillFirst, offer: dict[str, Any]) -> None:
    found = handover(offer, by=connector)
    assert found is not None
    params = connector.decode_params(found, card("http://10.0.0.1:8000"), card("http://10.0.0.2:8000"))
    assert bytes(params or b"") == json.dumps(offer).encode()
    assert found.cached_tokens is None


@either
@pytest.mark.parametrize("local", ["0.0.0.0", "127.0.0.1", "localhost", "::", "::1"])
def test_hosts_that_mean_another_to_the_decode_rank_are_replaced_for_each_worker_too(
    connector: PrefillFirst, local: str
) -> None:
    nodes: dict[str, Any] = {
        "0": {"host": local, "engine_id": "a", "handshake_port": 30000, "of_a_newer_version": [1.5]},
        "8": {"host": "10.9.9.9", "engine_id": "b", "handshake_port": 30008},
    }
    for own in (local, "10.8.8.8"):
        replaced = {"0": nodes["0"] | {"host": "10.0.0.1"}, "8": nodes["8"]}
        assert passed_on(with_nodes(nodes) | {"remote_host": own}, by=connector) == with_nodes(replaced) | {
            "remote_host": "10.0.0.1" if own == local else own
        }


def test_a_pair_on_one_host_keeps_a_local_name() -> None:
    found = handover(OFFER | {"remote_host": "127.0.0.1"})
    assert found is not None
    p, d = card("http://10.0.0.1:8000"), card("http://10.0.0.1:8001")
    assert MOONCAKE.decode_params(found, p, d) == found.params


@pytest.mark.parametrize(
    ("change", "prompt_tokens"),
    [
        ({}, 128),
        ({}, 1),
        # The prompt's last token is left to the decode rank where layers keep a state.
        ({}, 129),
        ({"remote_block_ids": [[1, 2, 3, 4], [9]], "num_prompt_blocks": 4}, 512),
        # Of a sliding window there are the last blocks only, and none of a window that is all placeholders.
        ({"remote_block_ids": [[], [9, 10]], "num_prompt_blocks": 16}, 2048),
        ({"remote_block_ids": [[5]], "remote_pcp_size": 2, "remote_dcp_size": 4, "num_prompt_blocks": 8}, 1024),
        ({"remote_ptp_size": None}, 66),
        ({"num_prompt_blocks": 0, "remote_block_size": 0}, 66),
        ({"of_a_newer_version": {"a": [None, 1.5, {"b": "c"}]}}, 66),
        ({"last_token_id": None, "remote_multi_nodes_meta_mapping": {}}, 66),
        ({"remote_multi_nodes_meta_mapping": {"0": {"host": "10.0.0.1", "engine_id": "a"}}}, 66),
    ],
)
def test_what_ascend_may_say_reaches_the_decode_rank(change: dict[str, Any], prompt_tokens: int) -> None:
    assert passed_on(OFFER | change, **prompt_of(prompt_tokens)) == OFFER | change


@either
@pytest.mark.parametrize(
    "change",
    [
        {"do_remote_prefill": False}, {"do_remote_prefill": 1}, {"do_remote_decode": True}, {"do_virtual": True},
        {"remote_block_ids": []}, {"remote_block_ids": [[]]}, {"remote_block_ids": [[], []]},
        {"remote_block_ids": None}, {"remote_block_ids": "17"}, {"remote_block_ids": [["17"]]},
        {"remote_block_ids": [[-1]]}, {"remote_block_ids": [[1 << 31]]}, {"remote_block_ids": [[1.5]]},
        {"remote_block_ids": [17, [18]]}, {"remote_block_ids": [[[17]]]}, {"remote_block_ids": [[1]] * 65},
        {"remote_engine_id": ""}, {"remote_engine_id": None}, {"remote_engine_id": 3},
        {"remote_request_id": ""}, {"remote_request_id": None}, {"remote_request_id": 3},
        {"remote_host": ""}, {"remote_host": "a b"}, {"remote_host": "h" * 254}, {"remote_host": None},
        {"remote_port": 0}, {"remote_port": 65_536}, {"remote_port": "30012"}, {"remote_port": True},
        {"remote_pcp_size": 0}, {"remote_pcp_size": "1"}, {"remote_dcp_size": 5000}, {"remote_ptp_size": 0},
        {"remote_ptp_size": "4"}, {"num_prompt_blocks": -1}, {"remote_block_size": "128"}, {"remote_block_size": -1},
        {"remote_multi_nodes_meta_mapping": None}, {"remote_multi_nodes_meta_mapping": []},
        {"remote_multi_nodes_meta_mapping": {"x": {"host": "10.0.0.1"}}},
        {"remote_multi_nodes_meta_mapping": {"-1": {"host": "10.0.0.1"}}},
        {"remote_multi_nodes_meta_mapping": {"0": {}}}, {"remote_multi_nodes_meta_mapping": {"0": None}},
        {"remote_multi_nodes_meta_mapping": {"0": {"host": "a b"}}},
        {"remote_multi_nodes_meta_mapping": {"0": {"host": "10.0.0.1", "handshake_port": "x"}}},
        {"remote_multi_nodes_meta_mapping": {"0": {"host": "10.0.0.1", "engine_id": 1}}},
        {"prompt_token_ids": [1, 2]}, {"prompt_token_ids": None},
    ],
    ids=str,
)  # fmt: skip
def test_what_would_harm_a_decode_rank_is_a_failure_of_the_prefill_rank(
    connector: PrefillFirst, change: dict[str, Any]
) -> None:
    with pytest.raises(RankFailedError):
        handover(OFFER | change, by=connector)


@either
@pytest.mark.parametrize("name", sorted({"remote_request_id", *OLD_OFFER} - {"do_remote_decode"}))
def test_what_a_decode_rank_cannot_do_without_is_missed(connector: PrefillFirst, name: str) -> None:
    with pytest.raises(RankFailedError):
        handover({key: value for key, value in OFFER.items() if key != name}, by=connector)


@pytest.mark.parametrize(
    ("offer", "prompt_tokens"),
    [
        (OFFER, 128 + 17),
        (OFFER | {"num_prompt_blocks": 2}, 128 * 64 + 17),
        (OLD_OFFER, 128 + 17),
        (OLD_OFFER | {"remote_block_ids": [1, 2], "remote_pcp_size": 2}, 512 + 17),
        (OFFER | {"remote_block_ids": [[1]], "num_prompt_blocks": 0, "remote_block_size": 0}, 128 * 64 + 17),
    ],
)
def test_too_few_blocks_for_the_prompt_are_a_failure_of_the_prefill_rank(
    offer: dict[str, Any], prompt_tokens: int
) -> None:
    with pytest.raises(RankFailedError, match="too few blocks"):
        handover(offer, **prompt_of(prompt_tokens))


def test_where_no_block_size_is_known_blocks_are_not_counted() -> None:
    assert passed_on(OLD_OFFER, block_size=0, **prompt_of(100_000)) == OLD_OFFER


@either
@pytest.mark.parametrize("usage", [None, {}, {"prompt_tokens": None}, {"prompt_tokens": 0}])
def test_kv_of_a_prompt_without_a_length_is_a_failure_of_the_prefill_rank(
    connector: PrefillFirst, usage: object
) -> None:
    with pytest.raises(RankFailedError):
        handover(OFFER, by=connector, usage=usage)


@either
def test_an_answer_without_params_offers_nothing(connector: PrefillFirst) -> None:
    assert handover({}, by=connector) is None


def test_cached_tokens_are_those_of_the_prefill_ranks_usage() -> None:
    usage = {"prompt_tokens": 66, "prompt_tokens_details": {"cached_tokens": 48}}
    found = handover(OFFER, usage=usage)
    assert found is not None
    assert found.cached_tokens == 48


def test_pull_takes_nixls_params_as_nixl_does() -> None:
    local = PARAMS | {"remote_host": "localhost"}
    assert handover(local, by=PULL, block_size=32) == handover(local, by=NIXL, block_size=32)
    assert passed_on(local, by=PULL, block_size=32) == local | {"remote_host": "10.0.0.1"}
    with pytest.raises(RankFailedError):
        handover(PARAMS | {"remote_block_ids": [1, 2, 3]}, by=PULL, block_size=32)


def test_pull_keeps_the_shorter_time_and_asks_as_both_need_it() -> None:
    assert PULL.reach_within_s == NIXL.reach_within_s < MOONCAKE.reach_within_s
    assert (NIXL.prefill_min_tokens, MOONCAKE.prefill_min_tokens, PULL.prefill_min_tokens) == (0, 1, 1)
    assert NIXL.prefill_params() == MOONCAKE.prefill_params() == PULL.prefill_params()


@given(
    st.fixed_dictionaries({}, optional=dict.fromkeys((*OFFER, "do_virtual", "prompt_token_ids"), JSON)),
    st.sampled_from([OFFER, OLD_OFFER]),
    st.integers(0, 2000),
    st.sampled_from([MOONCAKE, PULL]),
)
def test_of_any_params_only_those_that_a_decode_rank_survives_are_passed_on(
    change: dict[str, Any], offer: dict[str, Any], prompt_tokens: int, connector: PrefillFirst
) -> None:
    params = offer | change
    try:
        handed = passed_on(params, by=connector, **prompt_of(prompt_tokens))
    except RankFailedError:
        return
    assert prompt_tokens
    assert handed["do_remote_prefill"] is True
    assert not handed.get("do_remote_decode")
    assert not handed.get("do_virtual")
    assert "prompt_token_ids" not in handed
    ids = handed["remote_block_ids"]
    groups = ids if isinstance(ids[0], list) else [ids]
    assert any(groups)
    assert all(type(block) is int and 0 <= block < 1 << 31 for group in groups for block in group)
    assert handed["remote_engine_id"]
    assert handed["remote_host"]
    assert 0 < handed["remote_port"] < 65_536
    assert handed.get("remote_request_id") or groups is not ids
    for offset, node in handed.get("remote_multi_nodes_meta_mapping", {}).items():
        assert int(offset) >= 0
        assert node["host"]
    assert {name for name in params if handed[name] != params[name]} <= {
        "remote_host",
        "remote_multi_nodes_meta_mapping",
    }
