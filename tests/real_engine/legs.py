"""The two legs of a request over NIXL, asked for by hand."""

from __future__ import annotations

from typing import Any

from tests.polling import until_now
from tests.real_engine.engine import Engine

KV_FREED_S = 60.0
"""Longer than the lease of 30 s: NIXL's word of a finished pull was seen to take 20 s on two busy cores."""

TO_BE_PULLED: dict[str, Any] = {
    "do_remote_decode": True,
    "do_remote_prefill": False,
    "remote_engine_id": None,
    "remote_block_ids": None,
    "remote_host": None,
    "remote_port": None,
}

LOOK_S = 0.1

Params = dict[str, Any]


def prefill_leg(prefill: Engine, path: str, body: dict[str, Any]) -> dict[str, Any]:
    """The prefill engine's answer; its `kv_transfer_params` say where the KV lies."""
    limits = {"max_tokens": 1, "stream": False, "kv_transfer_params": TO_BE_PULLED}
    answer = prefill.post(path, {name: value for name, value in body.items() if name != "stream_options"} | limits)
    assert answer.status_code == 200, answer.text
    whole: dict[str, Any] = answer.json()
    assert whole["kv_transfer_params"]["do_remote_prefill"]
    return whole


def kv_is_freed(prefill: Engine) -> None:
    """Waits until the prefill engine holds no block for anyone."""
    until_now(
        lambda: prefill.kv_usage == 0, "the prefill engine's blocks are free", within_s=KV_FREED_S, pause_s=LOOK_S
    )
