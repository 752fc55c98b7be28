"""Traces as requests."""

import json

import pytest

from benchmarks.mooncake import Record, arrivals_s, prompt, read_trace
from simulator.tokens import encode


def record(timestamp: int = 0, input_length: int = 600, hash_ids: tuple[int, ...] = (1, 2)) -> Record:
    return Record(timestamp=timestamp, input_length=input_length, output_length=5, hash_ids=hash_ids)


def test_the_first_records_are_read() -> None:
    row = {"timestamp": 3000, "input_length": 600, "output_length": 5, "hash_ids": [1, 2]}
    assert read_trace([json.dumps(row).encode()] * 3, limit=2) == [record(3000)] * 2


@pytest.mark.parametrize("line", [b"{}", b"nix", b'{"timestamp":0,"input_length":"a","output_length":1,"hash_ids":[]}'])
def test_a_line_that_is_no_record_is_named(line: bytes) -> None:
    with pytest.raises(ValueError, match="line 1: "):
        read_trace([line], limit=2)


def test_records_of_one_tick_are_spread_evenly_up_to_the_next() -> None:
    records = [record(0), record(0), record(0), record(3000), record(5000), record(5000)]
    assert arrivals_s(records) == [0.0, 1.0, 2.0, 3.0, 5.0, 6.0]


def test_a_trace_of_one_tick_arrives_at_once() -> None:
    assert arrivals_s([record(), record()]) == [0.0, 0.0]


@pytest.mark.parametrize("input_length", [1, 511, 512, 513, 600, 1024])
def test_a_prompt_has_the_recorded_length_with_what_the_template_adds(input_length: int) -> None:
    text = prompt(record(input_length=input_length), less_tokens=3)
    assert len(encode(text)) == max(1, input_length - 3)


def test_prompts_share_exactly_the_blocks_of_equal_ids_and_are_the_same_in_every_run() -> None:
    first = encode(prompt(record(input_length=1024, hash_ids=(7, 8)), less_tokens=0))
    second = encode(prompt(record(input_length=1024, hash_ids=(7, 9)), less_tokens=0))
    assert first[:512] == second[:512]
    assert first[512] != second[512]
    assert prompt(record(), less_tokens=0).startswith("f5b165224a58b791df6af1d8")
