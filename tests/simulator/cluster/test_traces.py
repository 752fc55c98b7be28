"""Traces are read by their content, and a line that is none is named."""

from pathlib import Path
from random import Random

import msgspec
import pytest

from simulator.cluster.fleet import run
from simulator.cluster.request import SimRequest
from simulator.cluster.settings import FleetSettings
from simulator.cluster.workloads.errors import TraceError
from simulator.cluster.workloads.trace import read_trace

MOONCAKE = (
    '{"timestamp": 0, "input_length": 1100, "output_length": 500, "hash_ids": [0, 1, 2]}\n'
    '{"timestamp": 0, "input_length": 1024, "output_length": 3, "hash_ids": [0, 7]}\n'
    '{"timestamp": 3000, "input_length": 10, "output_length": 1, "hash_ids": [9]}\n'
)
AZURE = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\r\n"
    "2023-11-16 18:17:03.9799600,1100,10\r\n"
    "2023-11-16 18:17:04.0799600,110,27\r\n"
)


@pytest.fixture
def trace(tmp_path: Path) -> Path:
    return tmp_path / "trace.txt"


def read(trace: Path, text: str) -> list[SimRequest]:
    trace.write_text(text, newline="")
    return read_trace(trace, Random(1))


def test_a_mooncake_trace_has_whole_blocks_and_lengths(trace: Path) -> None:
    requests = read(trace, MOONCAKE)
    assert [request.blocks for request in requests] == [(0, 1), (0, 7), ()]
    assert [request.prompt_tokens for request in requests] == [1100, 1024, 10]
    assert [request.output_tokens for request in requests] == [500, 3, 1]
    assert [request.number for request in requests] == [0, 1, 2]
    assert [request.key for request in requests] == ["0", "0", ""]


def test_the_requests_of_a_tick_come_at_random_times_before_the_next(trace: Path) -> None:
    requests = read(trace, MOONCAKE)
    assert 0 < requests[0].arrival_s < requests[1].arrival_s < 3 <= requests[2].arrival_s < 6


def test_an_azure_trace_has_times_and_prompts_that_share_nothing(trace: Path) -> None:
    first, second = read(trace, AZURE)
    assert second.arrival_s - first.arrival_s == pytest.approx(0.1, rel=1e-5)
    assert (first.prompt_tokens, first.output_tokens, second.prompt_tokens) == (1100, 10, 110)
    assert len(first.blocks) == 2
    assert not second.blocks


def test_an_azure_time_with_a_zone_is_that_of_the_zone(trace: Path) -> None:
    header, first, _ = AZURE.splitlines(keepends=True)
    requests = read(trace, header + first + "2023-11-16 19:17:04.979960+01:00,110,27\n")
    assert requests[1].arrival_s - requests[0].arrival_s == pytest.approx(1.0, rel=1e-5)


@pytest.mark.parametrize("text", [pytest.param(MOONCAKE, id="mooncake"), pytest.param(AZURE, id="azure")])
def test_the_same_chance_gives_the_same_requests(trace: Path, text: str) -> None:
    assert read(trace, text) == read(trace, text)


@pytest.mark.parametrize("end", ["\n", "\r\n \n", "\n\n\t"])
@pytest.mark.parametrize("text", [pytest.param(MOONCAKE, id="mooncake"), pytest.param(AZURE, id="azure")])
def test_blank_lines_at_the_end_are_no_requests(trace: Path, text: str, end: str) -> None:
    assert read(trace, text + end) == read(trace, text)


@pytest.mark.parametrize("text", [pytest.param(MOONCAKE, id="mooncake"), pytest.param(AZURE, id="azure")])
def test_a_mark_of_utf_8_at_the_beginning_changes_nothing(trace: Path, text: str) -> None:
    assert read(trace, "\ufeff" + text) == read(trace, text)


def test_a_blank_line_between_two_rows_is_named(trace: Path) -> None:
    with pytest.raises(TraceError, match="line 4: an empty line"):
        read(trace, AZURE + "\r\n" + "2023-11-16 18:17:05.9,10,10\r\n")


def test_the_largest_hash_has_64_bits(trace: Path) -> None:
    [request] = read(trace, record(input_length=512, hash_ids=[2**64 - 1]))
    assert request.blocks == (2**64 - 1,)
    [outcome] = run([request], FleetSettings())
    assert not outcome.rejected


def record(**changed: object) -> str:
    line = {"timestamp": 3000, "input_length": 10, "output_length": 1, "hash_ids": [9]} | changed
    return msgspec.json.encode(line).decode() + "\n"


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param(record()[:-20] + "\n", "malformed", id="truncated"),
        pytest.param("\n", "an empty line", id="empty"),
        pytest.param(" \t\r\n", "an empty line", id="blank"),
        pytest.param("[]\n", "Expected `object`", id="no-object"),
        pytest.param(record(timestamp=None), "timestamp", id="no-time"),
        pytest.param(record().replace("3000", "NaN"), "malformed", id="nan"),
        pytest.param(record().replace("3000", "1e999"), "timestamp", id="infinite"),
        pytest.param(record(timestamp=-1), "timestamp", id="negative-time"),
        pytest.param(record(timestamp=2999), "timestamp 2999 is before 3000", id="back-in-time"),
        pytest.param(record(input_length=-5), "input_length", id="negative-prompt"),
        pytest.param(record(input_length=0, hash_ids=[]), "input_length", id="no-prompt"),
        pytest.param(record(input_length=10.5), "input_length", id="part-of-a-token"),
        pytest.param(record(output_length=0), "output_length", id="no-output"),
        pytest.param(record(hash_ids=[]), "0 hash_ids for 10 tokens", id="too-few-blocks"),
        pytest.param(record(hash_ids=[1, 2]), "2 hash_ids for 10 tokens", id="too-many-blocks"),
        pytest.param(record(hash_ids=[-1]), "hash_ids", id="negative-block"),
        pytest.param(record(hash_ids=["a"]), "hash_ids", id="block-of-text"),
        pytest.param(
            record(hash_ids=[2**64]), "hash_ids: 18446744073709551616 has more than 64 bits", id="block-of-65-bits"
        ),
        pytest.param(record(hash_ids=[0]).replace("[0]", f"[{'9' * 5000}]"), "hash_ids", id="block-without-end"),
        pytest.param("2023-11-16 18:17:03.9799600,1100,10\n", "Expected `object`", id="azure-in-mooncake"),
    ],
)
def test_a_line_that_is_no_record_is_named(trace: Path, line: str, reason: str) -> None:
    with pytest.raises(TraceError) as caught:
        read(trace, MOONCAKE + line + record())
    assert caught.value.line == 4
    assert f"{trace}, line 4: " in str(caught.value)
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        pytest.param("2023-11-16 18:17:05.9", "1 values", id="truncated"),
        pytest.param("2023-11-16 18:17:05.9,10,10,10", "4 values", id="too-many"),
        pytest.param("yesterday,10,10", "TIMESTAMP 'yesterday': expected a time", id="no-time"),
        pytest.param("nan,10,10", "TIMESTAMP 'nan'", id="nan-time"),
        pytest.param("2023-11-16 18:17:00.0,10,10", "before", id="back-in-time"),
        pytest.param("2023-11-16 18:17:05.9,-10,10", "ContextTokens '-10'", id="negative-prompt"),
        pytest.param("2023-11-16 18:17:05.9,0,10", "ContextTokens '0'", id="no-prompt"),
        pytest.param("2023-11-16 18:17:05.9,10,NaN", "GeneratedTokens 'NaN'", id="nan"),
        pytest.param("2023-11-16 18:17:05.9,10,1e3", "GeneratedTokens '1e3'", id="exponent"),
        pytest.param("2023-11-16 18:17:05.9,10,99999999999999999999", "GeneratedTokens", id="huge"),
        pytest.param("2023-11-16 18:17:05.9,10,", "GeneratedTokens ''", id="missing"),
    ],
)
def test_a_row_that_is_none_is_named(trace: Path, line: str, reason: str) -> None:
    with pytest.raises(TraceError, match="line 4: ") as caught:
        read(trace, AZURE + line + "\r\n")
    assert caught.value.line == 4
    assert reason in str(caught.value)


@pytest.mark.parametrize(
    ("content", "reason"),
    [
        pytest.param(b"", "the trace has no requests", id="empty"),
        pytest.param(AZURE.splitlines(keepends=True)[0].encode(), "the trace has no requests", id="header-alone"),
        pytest.param(b"\n", "line 1: neither a JSON object", id="blank"),
        pytest.param(b"\x00\xff\x00", "line 1: neither a JSON object", id="binary"),
        pytest.param(b"a,b,c\n1,2,3\n", "line 1: neither a JSON object", id="other-table"),
        pytest.param(b"TIMESTAMP,Model\n", "line 1: expected the header TIMESTAMP,Context", id="other-header"),
        pytest.param(b'{"timestamp": 0, "x": "\xff"}\n', "line 1: ", id="mooncake-not-utf-8"),
        pytest.param(AZURE.encode() + b"\xff,1,1\n", "line 4: ", id="azure-not-utf-8"),
    ],
)
def test_a_file_that_is_no_trace_is_refused(trace: Path, content: bytes, reason: str) -> None:
    trace.write_bytes(content)
    with pytest.raises(TraceError) as caught:
        read_trace(trace, Random(1))
    assert str(trace) in str(caught.value)
    assert reason in str(caught.value)


def test_a_file_that_cannot_be_opened_is_named(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match="No such file"):
        read_trace(tmp_path / "none", Random(1))
    with pytest.raises(TraceError, match="Is a directory"):
        read_trace(tmp_path, Random(1))
