"""`forebay simulate` as it is called."""

import os
from pathlib import Path

import msgspec
import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from tests.ports import free_port

SMALL = "--workload poisson --requests 60 --seeds 1-2 --prefill 2 --decode 2"


def run(arguments: str, *more: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, ["simulate", *arguments.split(), *more], env=ours)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param("", "either --trace FILE or --workload NAME", id="nothing-to-simulate"),
        pytest.param("--trace f --workload hot", "either --trace FILE or --workload NAME", id="both"),
        pytest.param("--workload magic", "shared_prefix, multi_turn, hot, hottest", id="unknown-workload"),
        pytest.param(f"{SMALL} --policy magic", "none called 'magic'; known: forebay, ", id="unknown-policy"),
        pytest.param(f"{SMALL} --load 0", "'--load'", id="no-load"),
        pytest.param(f"{SMALL} --load nan", "'--load'", id="load-nan"),
        pytest.param(f"{SMALL} --seeds 8-1", "'--seeds'", id="seeds"),
        pytest.param(f"{SMALL} --gateways 0", "'--gateways'", id="no-gateway"),
        pytest.param(f"{SMALL} --requests 0", "'--requests'", id="no-request"),
        pytest.param(f"{SMALL} --prefill 0", "'--prefill'", id="nobody-prefills"),
        pytest.param(f"{SMALL} --decode 0", "'--decode'", id="nobody-decodes"),
        pytest.param(f"{SMALL} --prefill 0 --decode 0", "'--mixed'", id="no-rank"),
        pytest.param(f"{SMALL} --decode 0 --mixed 2", "'--prefill'", id="prefill-for-nobody"),
        pytest.param(f"{SMALL} --prefill 10001", "'--prefill'", id="more-ranks-than-may-be"),
        pytest.param(f"{SMALL} --prefill-tokens-per-s 0.1", "'--prefill-tokens-per-s'", id="ranks-that-hardly-prefill"),
        pytest.param(f"{SMALL} --decode-ms-per-seq 10001", "'--decode-ms-per-seq'", id="ranks-that-hardly-decode"),
        pytest.param(f"{SMALL} --requests 10000001", "'--requests'", id="more-requests-than-memory"),
        pytest.param(f"{SMALL} --warm-up 1", "'--warm-up'", id="all-warm-up"),
        pytest.param(f"{SMALL} --burst 0.5", "'--burst'", id="burst"),
        pytest.param(f"{SMALL} --load 1e-9", "'--load'", id="hardly-any-load"),
        pytest.param(f"{SMALL} --sweep depth=1/2", "'--sweep'", id="sweep"),
        pytest.param(f"{SMALL} --sweep load=1e-300", "'--sweep'", id="sweep-hardly-any-load"),
        pytest.param(f"{SMALL} --sweep load=0.5/101", "'--sweep'", id="sweep-more-load-than-may-be"),
        pytest.param(f"{SMALL} --sweep burst=2/5000", "'--sweep'", id="sweep-more-burst-than-may-be"),
        pytest.param(f"{SMALL} --sweep gateways=1_0", "'--sweep'", id="sweep-no-number"),
        pytest.param(f"{SMALL} --sweep gateways=1/4/1", "each only once", id="sweep-twice-the-same"),
        pytest.param(f"{SMALL} --sweep load=0.5,load=0.6", "'load' is given twice", id="sweep-one-thing-twice"),
        pytest.param(f"{SMALL} --sweep load=0.5 --sweep load=0.6", "'load' is given twice", id="two-sweeps-of-one"),
        pytest.param(f"{SMALL} --sweep policy=forebay/magic", "none called 'magic'; known:", id="sweep-unknown-policy"),
        pytest.param(f"{SMALL} --clients 3 --sweep load=0.5/0.9", "'--sweep'", id="load-of-clients"),
        pytest.param(f"{SMALL} --clients 3 --load 0.9", "'--load'", id="clients-at-a-load"),
        pytest.param(f"{SMALL} --outage-from-s 9", "'--outage-from-s'", id="no-outage-begins"),
        pytest.param(f"{SMALL} --silent-from-s 9", "'--silent-from-s'", id="no-silence-begins"),
        pytest.param(f"{SMALL} --silent-share 0.5", "'--silent-share'", id="some-in-no-silence"),
        pytest.param(f"{SMALL} --silent-s 9 --silent-share 0", "'--silent-share'", id="silence-of-nobody"),
        pytest.param(f"{SMALL} --outage-empties", "see --outage-s", id="loses-all-for-no-time"),
        pytest.param(f"{SMALL} --outage-empties", "'--outage-empties'", id="loses-all-in-no-outage"),
        pytest.param(
            f"{SMALL} --decode-step-ms 0 --decode-ms-per-seq 0", "'--decode-step-ms'", id="decodes-in-no-time"
        ),
        pytest.param(f"{SMALL} --plot /tmp/.svg", "expected a file name", id="plot-without-a-name"),
        pytest.param(f"{SMALL} --store disk", "as in redis://host:6379", id="store"),
        pytest.param(f"{SMALL} --store redis://h --processes 2", "'--processes'", id="two-on-one-redis"),
        pytest.param(f"{SMALL} --max-num-batched-tokens 8", "'--max-num-batched-tokens'", id="too-small-a-step"),
        pytest.param(f"{SMALL} --plot x.jpg", "'--plot'", id="plot-of-another-kind"),
        pytest.param(f"{SMALL} --plot no/where.svg", "no such folder", id="plot-nowhere"),
    ],
)
def test_a_bad_option_is_named_and_ends_with_2(arguments: str, named: str) -> None:
    result = run(arguments)
    assert result.exit_code == 2, result.output
    assert named in result.output


def test_a_password_in_a_bad_store_is_not_repeated() -> None:
    result = run(f"{SMALL} --store nix://:hunter2@h")
    assert result.exit_code == 2
    assert "hunter2" not in result.output


def test_a_line_of_a_trace_that_does_not_parse_is_named(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:17:03.97,100,10\nnonsense\n")
    result = run("--trace", str(trace))
    assert result.exit_code == 1
    assert f"{trace}, line 3: " in result.output


@pytest.mark.parametrize("nested", ["[", '{"a":'])
def test_a_line_that_is_nested_without_end_is_named(tmp_path: Path, nested: str) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text(f'{{"a": {nested * 100_000}\n')
    result = run("--trace", str(trace))
    assert result.exit_code == 1
    assert f"{trace}, line 1: " in result.output


@pytest.mark.parametrize("name", ["folder.svg", "no-entry.svg"])
def test_a_plot_that_cannot_be_written_is_said_to_be_so(tmp_path: Path, name: str) -> None:
    (tmp_path / "folder.svg").mkdir()
    (tmp_path / "no-entry.svg").symlink_to(tmp_path / "no" / "such" / "file")
    result = run(SMALL, "--plot", str(tmp_path / name))
    assert result.exit_code in (1, 2)
    assert f"{tmp_path / name}: " in result.output
    assert result.exception is None or isinstance(result.exception, SystemExit)


def test_clients_need_no_times_of_a_trace(tmp_path: Path) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "2023-11-16 18:17:03.97,100,10\n" * 6)
    result = run("--seeds 1-2 --prefill 2 --decode 2 --json --clients 2 --trace", str(trace))
    assert result.exit_code == 0, result.output
    assert msgspec.json.decode(result.stdout)["rejected"] == 0


@pytest.mark.parametrize(("requests", "who"), [(1, "the workload's only request has"), (6, "6 requests come all")])
def test_requests_without_a_rate_have_no_load(tmp_path: Path, requests: int, who: str) -> None:
    trace = tmp_path / "trace.csv"
    trace.write_text("TIMESTAMP,ContextTokens,GeneratedTokens\n" + "2023-11-16 18:17:03.97,100,10\n" * requests)
    result = run("--seeds 1 --trace", str(trace))
    assert result.exit_code == 1
    assert who in result.output


def test_a_case_is_a_line_of_json() -> None:
    result = run(f"{SMALL} --json --sweep gateways=1/3")
    assert result.exit_code == 0, result.output
    one, three = (msgspec.json.decode(line) for line in result.stdout.splitlines())
    assert (one["gateways"], three["gateways"]) == (1, 3)
    for found in (one, three):
        assert found["rejected"] == 0
        assert found["ttft_ms"]["mean"] > 0
        assert sum(found["placements_by_gateway"].values()) == 2 * 60
        assert sum(found["placements_by_rank"].values()) >= 2 * 60


def test_clients_that_wait_for_their_answers_have_no_load() -> None:
    result = run(f"{SMALL} --json --clients 3")
    assert result.exit_code == 0, result.output
    found = msgspec.json.decode(result.stdout)
    assert (found["clients"], found["load"]) == (3, None)
    assert found["throughput_rps"] > 0
    assert "60 requests of 3 clients" in run(f"{SMALL} --clients 3").stdout


def test_what_is_left_of_a_burst_stands_below_the_table() -> None:
    result = run(f"{SMALL} --sweep burst=1/2 --load 0.8")
    assert result.exit_code == 0, result.output
    assert "0.8, burst 2" in result.stdout
    assert "forebay, 1 gateway, load 0.8: late TTFT after a burst of 2 " in result.stdout


def test_a_store_that_is_not_there_is_said_to_be_so() -> None:
    result = run(f"{SMALL} --store redis://:hunter2@127.0.0.1:{free_port()}")
    assert result.exit_code == 1
    assert "Redis does not answer" in result.output
    assert "hunter2" not in result.output


def test_two_processes_find_what_one_finds() -> None:
    one, two = (run(f"{SMALL} --json --processes {count} --sweep load=0.5/0.9") for count in (1, 2))
    assert one.stdout.count("\n") == 2
    assert one.stdout == two.stdout


def test_a_line_that_does_not_parse_is_named_by_other_processes_too(tmp_path: Path) -> None:
    trace = tmp_path / "trace.jsonl"
    trace.write_text("{}\n")
    result = run("--processes 2 --seeds 1-4 --trace", str(trace))
    assert result.exit_code == 1
    assert f"{trace}, line 1: " in result.output


def test_the_same_seed_gives_the_same_figures() -> None:
    assert run(f"{SMALL} --json --gateways 4").stdout == run(f"{SMALL} --json --gateways 4").stdout


def test_without_json_there_is_a_table_and_a_plot_if_asked_for(tmp_path: Path) -> None:
    result = run(SMALL, "--sweep", "load=0.3/0.6", "--plot", str(tmp_path / "plot.svg"))
    assert result.exit_code == 0, result.output
    assert result.stdout.count("forebay") == 2
    assert (tmp_path / "plot.svg").read_text().startswith("<svg")
    assert run(SMALL, "--plot", str(tmp_path / "plot.png")).exit_code == 0
    assert (tmp_path / "plot.png").read_bytes().startswith(b"\x89PNG")
