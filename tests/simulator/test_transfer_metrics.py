"""What /metrics tells of KV that moves, counted as vLLM 0.32.0 did (tests/data/metrics)."""

from collections.abc import Iterator

import pytest

from tests.simulator.prefill_decode import COMPLETIONS, ENGINE, OPTIONS, PrefillDecode, ask, prompt, running_pair
from tests.simulator.rank_process import RankProcess, eventually, request, running_rank

FEW_BLOCKS = (*OPTIONS, "--kv-blocks", "2048")


@pytest.fixture
def pair() -> Iterator[PrefillDecode]:
    with running_pair(*FEW_BLOCKS) as ranks:
        yield ranks


def value(rank: RankProcess, name: str, **labels: str) -> float:
    label = "".join(f',{key}="{each}"' for key, each in labels.items())
    before, _, after = ENGINE.partition(",model_name")
    series = rank.series(f"vllm:{name}")
    [found] = [
        number
        for key, number in series.items()
        if key.startswith(before) and all(part in key for part in (label.strip(","), after.strip("}")))
    ]
    return found


def test_five_pulled_prompts_count_as_captured(pair: PrefillDecode) -> None:
    sizes = (12, 66, 774, 1847, 208)
    for index, tokens in enumerate(sizes):
        assert pair.answer(COMPLETIONS, ask(prompt(tokens, f"{index} "), 40, ignore_eos=True)).status == 200
    decode, prefill = pair.decode, pair.prefill
    assert value(decode, "nixl_xfer_time_seconds_count") == 5
    assert value(decode, "nixl_bytes_transferred_sum") == 3_080_192
    assert value(decode, "nixl_num_descriptors_sum") == 10
    assert value(decode, "iteration_tokens_total_sum") == 200
    assert value(decode, "request_prefill_kv_computed_tokens_sum") == 2907
    for rank, hits in ((decode, 2907), (prefill, 0)):
        assert value(rank, "external_prefix_cache_queries_total") == 2907
        assert value(rank, "external_prefix_cache_hits_total") == hits
        assert value(rank, "prompt_tokens_cached_total") == hits
        assert value(rank, "prompt_tokens_cached_by_source_total", source="p2p") == hits
        assert value(rank, "prompt_tokens_by_source_total", source="external_kv_transfer") == hits
        assert value(rank, "prompt_tokens_by_source_total", source="local_compute") == 2907 - hits


def test_late_notifications_and_ended_leases_are_counted() -> None:
    with running_pair("--kv-lease-ms", "300", *FEW_BLOCKS) as pair:
        asked = ask(prompt(100), 2)
        params = pair.keep(COMPLETIONS, asked)
        eventually(lambda: value(pair.prefill, "nixl_num_kv_expired_reqs_total") == 1)
        assert pair.decode_with(COMPLETIONS, asked, params).status == 200
        eventually(lambda: value(pair.prefill, "nixl_num_notifications_after_expiry_total") == 1)


@pytest.mark.parametrize(("policy", "transfers", "notifications"), [("fail", 4, 2), ("recompute", 2, 0)])
def test_failures_are_counted(policy: str, transfers: int, notifications: int) -> None:
    with running_rank("--role", "decode", "--kv-load-failure-policy", policy, *FEW_BLOCKS) as decode:
        with running_rank("--role", "prefill", *FEW_BLOCKS) as prefill:
            pair = PrefillDecode(prefill, decode)
            assert pair.answer(COMPLETIONS, ask(prompt(90), 2)).status == 200
            params = pair.keep(COMPLETIONS, ask(prompt(91, "x"), 2))
        for _ in range(2):
            pair.decode_with(COMPLETIONS, ask(prompt(91, "x"), 2), params)
        assert value(decode, "nixl_num_failed_transfers_total") == transfers
        assert value(decode, "nixl_num_failed_notifications_total") == notifications
        assert value(decode, "request_success_total", finished_reason="error") == notifications


def test_a_request_that_waits_for_its_kv_is_deferred() -> None:
    with running_pair(*FEW_BLOCKS, decode_options=("--kv-transfer-base-ms", "3600000")) as pair:
        asked = ask(prompt(100), 2)
        with pair.decode.connect() as client:
            body = {**asked, "kv_transfer_params": pair.keep(COMPLETIONS, asked)}
            client.sendall(request("POST", COMPLETIONS, body))
            eventually(lambda: value(pair.decode, "num_requests_waiting") == 1)
            assert value(pair.decode, "num_requests_waiting_by_reason", reason="deferred") == 1
            assert value(pair.decode, "num_requests_waiting_by_reason", reason="capacity") == 0
            assert value(pair.decode, "num_requests_kv_fetch_by_stage", stage="in_progress") == 1
            assert value(pair.decode, "kv_cache_usage_perc") > 0
