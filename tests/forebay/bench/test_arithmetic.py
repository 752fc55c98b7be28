"""What readings come to: slopes, spreads, CPU time, figures over rounds, and how they are shown."""

import os
from pathlib import Path
from xml.etree import ElementTree

import msgspec
import pytest
from rich.console import Console

from forebay.bench.jobs import Job, request_bytes, spread
from forebay.bench.limited_key import limited_key
from forebay.bench.page import BEGIN, END, has_place, with_report
from forebay.bench.plan import MemoryCase, RequestCase, StreamCase, cases
from forebay.bench.plot import svg
from forebay.bench.proc import cpu_times, resident_bytes, spent_us, tree
from forebay.bench.report import Figure, Report, Sample, figures
from forebay.bench.settings import BenchSettings
from forebay.bench.slope import slope_us
from forebay.bench.tables import tables
from gateway.api_key_file import read_keys
from scheduler.api_keys import digest_of
from tests.polling import until_now

SAMPLES = [
    Sample("s", "direct", 0, {"first_p50_ms": 1.0}),
    Sample("s", "nginx", 0, {"first_p50_ms": 1.5, "chunk_us": 10.0}),
    Sample("s", "forebay", 0, {"first_p50_ms": 3.0, "chunk_us": 20.0}),
    Sample("s", "direct", 1, {"first_p50_ms": 2.0}),
    Sample("s", "nginx", 1, {"first_p50_ms": 2.5, "chunk_us": 20.0}),
    Sample("s", "forebay", 1, {"first_p50_ms": 2.5, "chunk_us": 20.0}),
    Sample("s", "nginx", 2, {"chunk_us": 10.0}),
    Sample("s", "forebay", 2, {"chunk_us": 50.0}),
]


def figure(target: str, name: str) -> Figure:
    (found,) = [each for each in figures(SAMPLES) if (each.target, each.name) == (target, name)]
    return found


def test_a_slope_leaves_out_what_streams_of_both_lengths_have_in_common() -> None:
    fixed_us, chunk_us = 50_000.0, 11.0
    assert slope_us(fixed_us + 6_400 * chunk_us, fixed_us + 51_200 * chunk_us, 6_400, 51_200) == pytest.approx(chunk_us)


def test_a_spread_is_of_times_that_were_there() -> None:
    found = spread([millisecond * 1_000_000 for millisecond in range(101)])
    assert (found.p50_ms, found.p99_ms) == (50.0, 99.0)
    assert spread([7_000_000]) == spread([7_000_000, 7_000_000])
    assert spread([]).p50_ms is None


def proc_with(folder: Path, threads: dict[tuple[int, int], int], children: dict[int, str]) -> Path:
    for (pid, tid), time_ns in threads.items():
        task = folder / str(pid) / "task" / str(tid)
        task.mkdir(parents=True, exist_ok=True)
        (task / "schedstat").write_text(f"{time_ns} 5 3\n")
        (task / "children").write_text(children.get(tid, ""))
        (folder / str(pid) / "statm").write_text("900 25 3 1 0 1 0\n")
    return folder


def test_cpu_time_is_that_of_all_threads_of_a_process_and_its_descendants(tmp_path: Path) -> None:
    proc = proc_with(tmp_path, {(1, 1): 10, (1, 2): 20, (3, 3): 30, (4, 4): 40, (9, 9): 50}, {2: "3 ", 3: "4 77 "})
    assert tree(1, proc) == [1, 3, 4]
    assert cpu_times([1], proc) == {(1, 1): 10, (1, 2): 20, (3, 3): 30, (4, 4): 40}
    assert resident_bytes([1], proc) == 3 * resident_bytes([9], proc) > 0


def test_a_new_thread_counts_whole_and_one_that_ended_takes_nothing_away() -> None:
    assert spent_us({(1, 1): 1_000, (1, 2): 9_000}, {(1, 1): 3_000, (1, 3): 5_000}) == 7.0


def test_the_kernel_tells_of_this_process() -> None:
    before = cpu_times([os.getpid()])
    until_now(lambda: spent_us(before, cpu_times([os.getpid()])) > 0, "this process has had some time on a CPU")
    assert resident_bytes([os.getpid()]) > 1_000_000


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    assert figure("forebay", "chunk_us").over == {"nginx": 2.0}
    assert figure("nginx", "chunk_us").over == {}


def test_what_a_target_adds_is_told_against_direct_in_the_same_round() -> None:
    added = figure("forebay", "added_first_p50_ms")
    assert (added.least, added.median, added.greatest) == (0.5, 1.25, 2.0)
    assert not [each for each in figures(SAMPLES) if each.target == "direct" and each.name.startswith("added")]


def test_a_table_has_a_row_for_each_target_with_median_and_spread() -> None:
    console = Console(width=200)
    with console.capture() as shown:
        console.print(*tables(figures(SAMPLES)))
    text = shown.get()
    assert "µs/chunk" in text
    assert "÷ nginx" in text
    (row,) = [line for line in text.splitlines() if "forebay" in line and "20.0" in line]
    assert "20.0 (20.0 to 50.0)" in row
    assert "2.00" in row


def test_a_report_survives_json() -> None:
    report = Report(
        machine={"cpu": "x"}, settings={}, samples=SAMPLES, figures=figures(SAMPLES), left_out={"smg": "no"}
    )
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_page_keeps_what_is_written_by_hand_around_the_report() -> None:
    report = Report(
        machine={"cpu": "x"}, settings={}, samples=SAMPLES, figures=figures(SAMPLES), left_out={"smg": "no"}
    )
    page = with_report(f"# Before\n{BEGIN}\nold\n{END}\nafter\n", report)
    assert page.startswith(f"# Before\n{BEGIN}")
    assert page.endswith(f"{END}\nafter\n")
    assert "old" not in page
    assert "| forebay | 20.0 (20.0 to 50.0) |" in page
    assert "Left out, smg: no" in page
    assert with_report(page, report) == page
    assert not has_place("# Before\n")


def test_the_plot_is_an_image_with_a_bar_for_each_target() -> None:
    image = ElementTree.fromstring(svg(figures(SAMPLES)))
    texts = [element.text for element in image.iter() if element.tag.endswith("text")]
    assert "s: nginx" in texts
    assert "s: forebay" in texts


def test_everything_is_measured_unless_told_otherwise() -> None:
    kinds = [type(case) for case in cases(BenchSettings())]
    assert kinds[0] is MemoryCase
    assert kinds.count(StreamCase) == 7
    assert kinds.count(RequestCase) == 3
    assert [type(case) for case in cases(BenchSettings(quick=True))] == [StreamCase, RequestCase]
    assert [case.name for case in cases(BenchSettings(measure=("memory",), quick=True))] == ["1000 idle streams"]


def test_more_streams_send_no_more_chunks_in_all() -> None:
    few, *many = [case for case in cases(BenchSettings(measure=("streams", "many"))) if isinstance(case, StreamCase)]
    for case in many:
        assert case.streams * case.rate == pytest.approx(few.streams * few.rate)
        assert case.streams * case.long_chunks == pytest.approx(few.streams * few.long_chunks, rel=0.01)


@pytest.mark.parametrize("body_bytes", [2_000, 220_000])
def test_a_request_has_a_body_of_the_size_asked_for(body_bytes: int) -> None:
    job = Job(addresses=("h:1",), connections=1, requests=1, tokens=3, body_bytes=body_bytes, streamed=True)
    head, _, body = request_bytes(job, "h:1", "m").partition(b"\r\n\r\n")
    assert f"Content-Length: {len(body)}".encode() in head
    assert len(body) == pytest.approx(body_bytes, abs=200)
    assert msgspec.json.decode(body)["max_tokens"] == 3


def test_a_request_brings_the_key_that_its_job_names_and_else_none() -> None:
    job = Job(addresses=("h:1",), connections=1, requests=1, tokens=3, body_bytes=100)
    assert b"Authorization" not in request_bytes(job, "h:1", "m")
    with_key = request_bytes(msgspec.structs.replace(job, key="fb-1"), "h:1", "m")
    assert b"\r\nAuthorization: Bearer fb-1\r\n" in with_key.partition(b"\r\n\r\n")[0]


def test_the_key_that_gateways_are_asked_with_has_every_limit_there_is(tmp_path: Path) -> None:
    file = tmp_path / "keys"
    shown = limited_key(file)
    ((digest, key),) = read_keys(file).items()
    assert digest == digest_of(shown.encode())
    assert all(msgspec.structs.asdict(key.limits).values())
