"""What the commands refuse, and how they say so."""

import os
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from tests.ports import free_port

PASSWORD = "hunter2-hunter2"
NOWHERE = f"redis://:{PASSWORD}@127.0.0.1:1"


def run(*arguments: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, arguments, env=ours)


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param("up --gateways 0", "'--gateways' (env var: 'FOREBAY_GATEWAYS')", id="up-without-gateway"),
        pytest.param("up --decode 0", "'--decode' (env var: 'FOREBAY_DECODE')", id="up-nothing-serves"),
        pytest.param("up --policy magic", "'--policy' (env var: 'FOREBAY_POLICY'): there is none", id="up-policy"),
        pytest.param("up --api-key a,,b", "'--api-key' (env var: 'FOREBAY_API_KEY')", id="up-empty-key"),
        pytest.param("up --port 65535", "the last one would get port 65536", id="up-too-many-ports"),
        pytest.param("gateway", "Missing option '--redis' (env var: 'FOREBAY_REDIS')", id="gateway-without-redis"),
        pytest.param("gateway --redis nix://x", "unknown scheme, expected one of redis, rediss", id="gateway-bad-url"),
        pytest.param(
            f"gateway --redis {NOWHERE} --port 65536", "'--port' (env var: 'FOREBAY_PORT')", id="gateway-port"
        ),
        pytest.param(f"gateway --redis {NOWHERE} --port 0 --policy nix", "least_work", id="gateway-policy"),
        pytest.param(f"gateway --redis {NOWHERE} --max-body-bytes 0", "'--max-body-bytes'", id="gateway-body"),
        pytest.param(f"gateway --redis {NOWHERE} --api-key ,", "'--api-key'", id="gateway-empty-key"),
        pytest.param(f"gateway --redis {NOWHERE} --receipt-share 1.5", "'--receipt-share'", id="gateway-share"),
        pytest.param(
            f"gateway --redis {NOWHERE} --cors-origin https://app.example/", "'--cors-origin'", id="gateway-origin"
        ),
        pytest.param(
            f"agent --redis {NOWHERE} --model m --role x --ranks h:1", "mixed, prefill, decode", id="agent-role"
        ),
        pytest.param(f"agent --redis {NOWHERE} --model m --role mixed --ranks h", "'--ranks'", id="agent-ranks"),
        pytest.param("rank --speed 0", "'--speed' (env var: 'FOREBAY_SPEED')", id="rank-speed"),
        pytest.param("rank --kv-blocks 1", "'--kv-blocks' (env var: 'FOREBAY_KV_BLOCKS')", id="rank-options-at-odds"),
        pytest.param("status --redis nix://x", "unknown scheme, expected one of redis, rediss", id="status-bad-url"),
        pytest.param(f"drain --redis {NOWHERE}", "Missing argument 'RANK'", id="drain-without-rank"),
        pytest.param(f"undrain --redis {NOWHERE}", "Missing argument 'RANK', or --dp-group", id="undrain-without-rank"),
        pytest.param(f"drain h:1 --node n --redis {NOWHERE}", "Only one of RANK,", id="drain-too-much"),
        pytest.param(
            f"drain h:1 --timeout-s 3 --redis {NOWHERE}",
            "'--timeout-s' (env var: 'FOREBAY_TIMEOUT_S'): it is",
            id="drain-timeout",
        ),
        pytest.param(f"drain h:1 --wait --timeout-s -1 --redis {NOWHERE}", "'--timeout-s'", id="drain-no-time"),
        pytest.param(f"explain --redis {NOWHERE}", "Missing argument 'REQUEST_ID'", id="explain-without-request"),
        pytest.param(f"explain \udcff --redis {NOWHERE}", "'\\udcff' is not UTF-8", id="explain-no-text"),
        pytest.param(f"drain \udcff --redis {NOWHERE}", "'\\udcff' is not UTF-8", id="drain-no-text"),
        pytest.param("dance", "No such command 'dance'", id="unknown-command"),
        pytest.param("--log-level loud rank", "'--log-level'", id="log-level"),
    ],
)
def test_a_bad_option_is_named_and_ends_with_2(arguments: str, named: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2, result.output
    assert named in result.output
    assert PASSWORD not in result.output


GATEWAY = f"gateway --port 0 --redis {NOWHERE}"
AGENT = f"agent --model m --role mixed --ranks h:1 --redis {NOWHERE}"


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        (f"{GATEWAY} --tls-cert none.pem --tls-key none.pem", "--tls-cert: cannot use none.pem and none.pem"),
        (f"{GATEWAY} --rank-ca none.pem", "--rank-ca: cannot use none.pem"),
        (f"{GATEWAY} --rank-cert none.pem --rank-key none.pem", "--rank-cert: cannot use none.pem and none.pem"),
        (f"{AGENT} --rank-ca none.pem", "--rank-ca: cannot use none.pem"),
        ("preflight --rank-ca none.pem", "--rank-ca: cannot use none.pem"),
        ("rank --port 0 --tls-cert none.pem --tls-key none.pem", "--tls-cert: cannot use none.pem and none.pem"),
        ("rank --port 0 --tls-cert none.pem --tls-client-ca none.pem", "--tls-client-ca: cannot use none.pem"),
    ],
)
def test_a_certificate_that_is_not_there_is_named_and_ends_with_2(arguments: str, named: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2, result.output
    assert f"{named}: No such file or directory" in result.output
    assert PASSWORD not in result.output


@pytest.mark.parametrize(
    "arguments",
    [
        pytest.param(["status", "--redis", "redis://h", NOWHERE], id="no-option-before-it"),
        pytest.param([NOWHERE], id="in-the-place-of-a-command"),
        pytest.param(["gateway", "--port", NOWHERE], id="behind-another-option"),
        pytest.param(["status", "--redis", "redis://h", f"redis://:a {PASSWORD}@h"], id="with-a-space"),
    ],
)
def test_a_url_in_the_wrong_place_is_not_repeated(arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.exit_code == 2
    assert "redis://***" in result.output
    assert PASSWORD not in result.output


def test_why_a_url_is_refused_is_told_without_the_url() -> None:
    result = run(*f"agent --redis {NOWHERE} --model m --role mixed --ranks http://h:1/v1".split())
    assert result.exit_code == 2
    assert "'--ranks' (env var: 'FOREBAY_RANKS'): 'http://***' is not HOST:PORT" in result.output


@pytest.mark.parametrize("arguments", ["status", "status --json", "drain h:1", "undrain h:1", "explain r"])
def test_a_redis_that_does_not_answer_ends_a_question_with_1_and_one_line(arguments: str) -> None:
    result = run(*arguments.split(), "--redis", NOWHERE)
    assert result.exit_code == 1
    assert result.output.startswith("Error: Redis does not answer")
    assert result.output.count("\n") == 1
    assert PASSWORD not in result.output


@pytest.mark.parametrize("command", [[], ["up"]])
def test_the_short_option_for_help_does_as_the_long_one(command: list[str]) -> None:
    assert run(*command, "-h").output == run(*command, "--help").output


def test_the_help_lists_the_commands_of_users_only() -> None:
    output = run("--help").output
    for name in ("up", "gateway", "agent", "rank", "status", "drain", "undrain", "explain"):
        assert f"\n  {name} " in output
    assert "local-redis" not in output
    assert "die-with" not in output


def test_a_launch_that_is_refused_leaves_no_folder_for_logs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "run.sh").write_text(": serve --port $2\n")
    monkeypatch.chdir(tmp_path)
    launch = f"agent --model m --role mixed --redis {NOWHERE} --launch run.sh --dp-size 1"
    result = run(*launch.split(), "--vllm-start-port", str(free_port()), "--rank-ca", "none.pem")
    assert (result.exit_code, "--rank-ca: cannot use none.pem" in result.output) == (2, True)
    assert [path.name for path in tmp_path.iterdir()] == ["run.sh"]
