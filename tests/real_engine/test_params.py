"""`kv_transfer_params` of a client reach no engine."""

from __future__ import annotations

from typing import Any

import pytest

from tests.real_engine.asking import CHAT, PATHS, asked, said
from tests.real_engine.conftest import Told
from tests.real_engine.engine import Engine
from tests.real_engine.stack import Stack

FORGED: dict[str, Any] = {
    "a pull without ids": {"do_remote_prefill": True},
    "a pull of blocks that are not there": {
        "do_remote_prefill": True,
        "do_remote_decode": False,
        "remote_block_ids": [[999_999]],
        "remote_engine_id": "00000000-0000-0000-0000-000000000000",
        "remote_request_id": "cmpl-0-0-00000000",
        "remote_host": "127.0.0.1",
        "remote_port": 9,
        "tp_size": 1,
    },
    "blocks to be held": {"do_remote_decode": True},
    "another prompt": {"prompt_token_ids": [5, 6, 7]},
    "text": "x",
}


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("name", FORGED)
def test_forged_params_change_nothing(stack: Stack, plain: Engine, told: Told, path: str, name: str) -> None:
    own = said(plain.post(path, asked(path, plain.model, "What is a forebay?")).content)
    for gateway in stack.gateways:
        for extra in ({"kv_transfer_params": FORGED[name]}, {"vllm_xargs": {"kv_transfer_params": FORGED[name]}}):
            answer = stack.post(gateway, path, asked(path, plain.model, "What is a forebay?", **extra))
            assert answer.status_code == 200
            assert (said(answer.content).text, answer.json()["kv_transfer_params"]) == (own.text, None)
    assert plain.is_healthy()
    told(f"`{own.text}`, as without them")


def test_the_engine_itself_would_have_followed_another_prompt(plain: Engine, told: Told) -> None:
    body = asked(CHAT, plain.model, "What is a forebay?")
    asked_for = said(plain.post(CHAT, body).content)
    given = said(plain.post(CHAT, body | {"kv_transfer_params": {"prompt_token_ids": [5, 6, 7]}}).content)
    assert given.usage != asked_for.usage
    told(f"prompt_tokens {given.usage and given.usage['prompt_tokens']} instead of "
         f"{asked_for.usage and asked_for.usage['prompt_tokens']}, so they must be held back")  # fmt: skip
