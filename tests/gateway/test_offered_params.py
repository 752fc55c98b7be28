"""What a prefill rank offers to its decode rank: params that could harm it go no further."""

import json
from typing import Any

import pytest

from tests.gateway.scripted_pair import PARAMS, answers, prefill_answer, scripted_pair, sent
from tests.gateway.scripted_rank import (
    COMPLETION,
)


def without(name: str) -> dict[str, Any]:
    return {key: value for key, value in PARAMS.items() if key != name}


BAD_PARAMS: dict[str, Any] = {
    "text": "x",
    "a number": 5,
    "a list": [PARAMS],
    "true": True,
    "alone": {"do_remote_prefill": True},
    "no prefill": PARAMS | {"do_remote_prefill": False},
    "prefill as text": PARAMS | {"do_remote_prefill": "true"},
    "no blocks": PARAMS | {"remote_block_ids": []},
    "an empty group": PARAMS | {"remote_block_ids": [[]]},
    "flat blocks": PARAMS | {"remote_block_ids": [1, 2, 3]},
    "blocks as text": PARAMS | {"remote_block_ids": "123"},
    "block as text": PARAMS | {"remote_block_ids": [["1", 2, 3]]},
    "negative block": PARAMS | {"remote_block_ids": [[-1, 2, 3]]},
    "half a block": PARAMS | {"remote_block_ids": [[1.5, 2, 3]]},
    "too few blocks": PARAMS | {"remote_block_ids": [[117, 118]]},
    "engine a number": PARAMS | {"remote_engine_id": 1},
    "engine empty": PARAMS | {"remote_engine_id": ""},
    "request null": PARAMS | {"remote_request_id": None},
    "host missing": without("remote_host"),
    "port as text": PARAMS | {"remote_port": "5601"},
    "port too large": PARAMS | {"remote_port": 65536},
    "port zero": PARAMS | {"remote_port": 0},
    "port true": PARAMS | {"remote_port": True},
    "block beyond 31 bits": PARAMS | {"remote_block_ids": [[1, 2, 1 << 31]]},
    "too many groups": PARAMS | {"remote_block_ids": [[1, 2, 3]] * 65},
    "tensor size missing": without("tp_size"),
    "tensor size null": PARAMS | {"tp_size": None},
    "tensor size zero": PARAMS | {"tp_size": 0},
    "tensor size too large": PARAMS | {"tp_size": 4097},
    "pipeline size too large": PARAMS | {"pp_size": 4097},
    "context size too large": PARAMS | {"dcp_size": 1_000_000},
    "context size null": PARAMS | {"dcp_size": None},
    "tokens as text": PARAMS | {"remote_num_tokens": "66"},
    "no tokens": PARAMS | {"remote_num_tokens": 0},
    "expiry as text": PARAMS | {"remote_blocks_expiry_time": "soon"},
    "push": PARAMS | {"transfer_mode": "push"},
    "decode": PARAMS | {"do_remote_decode": True},
    "block size zero": PARAMS | {"remote_block_size": 0},
    "block size as text": PARAMS | {"remote_block_size": "16"},
    "host empty": PARAMS | {"remote_host": ""},
    "host with a space": PARAMS | {"remote_host": "10.0.0.1 x"},
    "host with a line's end": PARAMS | {"remote_host": "10.0.0.1\n"},
    "host not ASCII": PARAMS | {"remote_host": "höst"},
    "host too long": PARAMS | {"remote_host": "h" * 254},
    "a prompt of its own": PARAMS | {"prompt_token_ids": [1, 2, 3]},
    "a prompt of its own, null": PARAMS | {"prompt_token_ids": None},
    "many lists": PARAMS | {"x": [[]] * 5000},
    "many keys": PARAMS | {"x": {str(number): 0 for number in range(5000)}},
    "many numbers": PARAMS | {"x": [0] * 300_000},
    "large": PARAMS | {"x": "x" * 1_000_000},
    "deep": PARAMS | {"x": json.loads("[" * 64 + "]" * 64)},
}


@pytest.mark.parametrize("name", BAD_PARAMS)
async def test_params_that_a_decode_rank_must_not_be_given_fail_their_prefill_rank(name: str) -> None:
    async with scripted_pair(answers(prefill_answer(BAD_PARAMS[name]))) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "P2", "D"]
    assert sent(pair.decode)["kv_transfer_params"] == PARAMS


async def test_params_as_deep_as_may_be_reach_the_decode_rank() -> None:
    params = PARAMS | {"x": json.loads("[" * 63 + "]" * 63)}
    async with scripted_pair(answers(prefill_answer(params))) as pair:
        await pair.served.complete()
    assert sent(pair.decode)["kv_transfer_params"] == params


@pytest.mark.parametrize("params", [None, {}, "missing"])
async def test_where_a_prefill_offers_no_kv_the_decode_rank_serves_alone(params: Any) -> None:
    answer = prefill_answer(params)
    if params == "missing":
        answer = json.dumps({k: v for k, v in json.loads(answer).items() if k != "kv_transfer_params"}).encode()
    async with scripted_pair(answers(answer)) as pair:
        response = await pair.served.complete()
    assert response.content == COMPLETION
    assert pair.names() == ["P", "D"]
    assert "kv_transfer_params" not in sent(pair.decode)
    assert [shape.pairable for shape in pair.pool.asked] == [True, False]


async def test_where_the_block_size_is_not_known_blocks_are_not_counted() -> None:
    few = prefill_answer(PARAMS | {"remote_block_ids": [[117]]})
    async with scripted_pair(answers(few), block_size=0) as pair:
        await pair.served.complete()
    assert pair.names() == ["P", "D"]
