"""FastDeploy's scheduler options come to ours, and say so; none is left out in silence."""

import pytest
from click.testing import CliRunner

from forebay.main import main
from forebay.scheduler_words import SchedulerWordsError, mapped

SPLITWISE = (
    "--scheduler-name splitwise --scheduler-host 10.0.0.5 --scheduler-port 6380 "
    "--scheduler-topic deepseek --scheduler-ttl 9000"
)


def test_they_say_where_the_store_is_which_pool_and_how_long_a_request_may_live() -> None:
    words, notes = mapped([*SPLITWISE.split(), "--port", "8000"], has_requests=True)
    assert words == [
        *("--port", "8000", "--redis=redis://10.0.0.5:6380/0", "--pool-name=deepseek", "--request-ttl-s=9000"),
    ]
    assert [note.rpartition("read as ")[2] for note in notes] == [
        "--redis redis://10.0.0.5:6380/0",
        "--pool-name deepseek",
        "--request-ttl-s 9000: so long a request may live",
    ]


def test_a_password_goes_into_the_url_and_not_into_what_is_said() -> None:
    words, notes = mapped(["--scheduler-password=p@ss/word", "--scheduler-db=3"], has_requests=True)
    assert words == ["--redis=redis://:p%40ss%2Fword@127.0.0.1:6379/3"]
    assert notes == ["--scheduler-password, --scheduler-db are read as --redis redis://***@127.0.0.1:6379/3"]


def test_topic_and_ttl_alone_say_nothing_of_a_store() -> None:
    assert mapped(["--scheduler-topic", "t", "--scheduler-ttl", "1"], has_requests=True).words == [
        "--pool-name=t",
        "--request-ttl-s=1",
    ]


def test_an_agent_has_no_requests_to_bound() -> None:
    words, notes = mapped(["--scheduler-ttl", "900"], has_requests=False)
    assert (words, notes) == ([], ["--scheduler-ttl is for gateways; here no request lives"])


def test_underscores_and_an_ipv6_host_are_read() -> None:
    assert mapped(["--scheduler_host", "::1"], has_requests=True).words == ["--redis=redis://[::1]:6379/0"]


@pytest.mark.parametrize(
    "flag",
    [
        *("max-size", "min-load-score", "load-shards-num", "sync-period", "expire-period", "reader-parallel"),
        *("release-load-expire-period", "writer-parallel", "reader-batch-size", "writer-batch-size"),
    ],
)
def test_the_others_are_accepted_and_said_not_to_be_needed(flag: str) -> None:
    words, notes = mapped([f"--scheduler-{flag}", "7", "--port", "1"], has_requests=True)
    assert (words, notes) == (["--port", "1"], [f"--scheduler-{flag}: not needed here"])


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("--scheduler-magic 1", "No such option: --scheduler-magic"),
        ("--scheduler-host", "Option '--scheduler-host' requires an argument."),
        ("--scheduler-topic=", "--scheduler-topic: it is empty"),
        ("--scheduler-name dp", "--scheduler-name dp: it shares no load; splitwise and global do, as Forebay does"),
        ("--scheduler-host h --redis redis://x", "--scheduler-host and --redis are two ways to say where the store is"),
    ],
)
def test_what_cannot_be_mapped_is_refused(words: str, said: str) -> None:
    with pytest.raises(SchedulerWordsError) as refused:
        mapped(words.split(), has_requests=True)
    assert str(refused.value) == said


@pytest.mark.parametrize("command", ["gateway", "proxy --dp-hosts a --dp-ports 1", "agent --model m --role mixed"])
def test_every_command_that_has_a_store_takes_them(command: str) -> None:
    result = CliRunner().invoke(main, [*command.split(), "--scheduler-magic", "1"])
    assert result.exit_code == 2
    assert "No such option: --scheduler-magic" in result.output


def test_what_they_come_to_is_checked_as_ours_is() -> None:
    result = CliRunner().invoke(main, ["gateway", *SPLITWISE.split(), "--scheduler-ttl", "soon"])
    assert result.exit_code == 2
    assert "'--request-ttl-s'" in result.output
