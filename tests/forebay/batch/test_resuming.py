"""A batch that was killed goes on where it was: what has an answer is not asked again."""

import json
import resource
import signal
import subprocess
import threading
from collections import Counter
from pathlib import Path

import pytest

from tests.forebay.batch.batch_command import answers, batch, batch_process, ids, line, written
from tests.forebay.model_server.scripted_server import Asked, Reply, Script, ScriptedServer, echo, scripted_server
from tests.polling import until_now

NAMES = [f"r-{number}" for number in range(30)]
ANSWERED = 10
MORE_THAN_A_PIPE_HOLDS = "\n" * (1 << 20)
FOREIGN = '{"id":"vllm-1","custom_id":"a","response":null,"error":null}\n'


def held_after(count: int, let_go: threading.Event) -> Script:
    """A script that answers so many, and the others only once it is told to."""
    seen = Counter[str]()

    def script(asked: Asked, before: int) -> Reply:
        seen["all"] += 1
        if seen["all"] > count:
            let_go.wait(30)
        return echo(asked, before)

    return script


def asked_often(server: ScriptedServer) -> Counter[str]:
    return Counter(each.body["prompt"] for each in server.posts)


@pytest.mark.parametrize("by", [signal.SIGKILL, signal.SIGINT, signal.SIGTERM])
def test_a_batch_that_is_ended_goes_on_where_it_was(tmp_path: Path, by: signal.Signals) -> None:
    output, journal, let_go = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal", threading.Event()
    with scripted_server(held_after(ANSWERED, let_go)) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES))
        arguments = (given, "-o", str(output), "--url", server.url, "--concurrency", "4", "--resume")
        process = batch_process(*arguments)
        with process:
            until_now(
                lambda: journal.exists() and journal.read_text().count("\n") == ANSWERED and server.under_way == 4,
                "the first answers are in the journal, and the next are under way",
            )
            process.send_signal(by)
            said = process.communicate(timeout=30)[1]
        assert not output.exists()
        if by != signal.SIGKILL:
            assert process.returncode == 1
            assert f"{ANSWERED} of 30 requests succeeded, 0 failed, the rest was not asked: interrupted" in said
        kept = {json.loads(each)["custom_id"] for each in journal.read_text().splitlines()}
        with journal.open("a") as torn:
            torn.write(journal.read_text().splitlines()[0][:50])
        let_go.set()
        done = batch(*arguments)
        assert done.exit_code == 0, done.output
        often = asked_often(server)
    assert ids(output) == NAMES
    assert {name for name in NAMES if often[name] == 1} >= kept
    assert sum(often.values()) == len(NAMES) + 4
    assert not journal.exists()


def test_a_finished_output_has_only_its_failures_asked_again(tmp_path: Path) -> None:
    broken = {"r-3", "r-5"}

    def script(asked: Asked, before: int) -> Reply:
        return Reply(400, {"error": {"message": "no"}}) if asked.body["prompt"] in broken else echo(asked, before)

    output = tmp_path / "out.jsonl"
    with scripted_server(script) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES))
        arguments = (given, "-o", str(output), "--url", server.url)
        assert batch(*arguments).exit_code == 1
        server.script, server.posts = echo, []
        assert batch(*arguments, "--resume").exit_code == 0
        assert asked_often(server) == Counter(broken)
        assert batch(*arguments, "--resume").exit_code == 0
        assert len(server.posts) == 2
    assert ids(output) == NAMES
    assert {each["response"]["status_code"] for each in answers(output)} == {200}


def test_a_line_that_was_changed_is_asked_again(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with scripted_server() as server:
        arguments = (str(tmp_path / "in.jsonl"), "-o", str(output), "--url", server.url, "--resume")
        written(tmp_path / "in.jsonl", map(line, NAMES))
        assert batch(*arguments).exit_code == 0
        server.posts = []
        written(tmp_path / "in.jsonl", [line("new"), *map(line, NAMES[:5]), line("r-5", prompt="another")])
        assert batch(*arguments).exit_code == 0
        assert asked_often(server) == Counter(["new", "another"])
    assert ids(output) == ["new", *NAMES[:6]]


def test_a_line_that_was_changed_after_a_run_that_ended_early_is_asked_again(tmp_path: Path) -> None:
    def lets_some_in(asked: Asked, before: int) -> Reply:
        return echo(asked, before) if asked.body["prompt"] in ("a", "c") else Reply(503, {}, (("retry-after", "999"),))

    output = tmp_path / "out.jsonl"
    with scripted_server(lets_some_in) as server:
        arguments = (str(tmp_path / "in.jsonl"), "-o", str(output), "--url", server.url, "--concurrency", "1")
        written(tmp_path / "in.jsonl", [line("a"), line("c"), line("b")])
        assert batch(*arguments).exit_code == 1
        server.script, server.posts = echo, []
        written(tmp_path / "in.jsonl", [line("a", prompt="another"), line("c"), line("b")])
        assert batch(*arguments, "--resume").exit_code == 0
        assert asked_often(server) == Counter(["another", "b"])
    texts = [each["response"]["body"]["choices"][0]["text"] for each in answers(output)]
    assert texts == ["to another", "to c", "to b"]


def test_what_another_run_has_written_is_not_written_over(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    output.write_text("precious")
    with scripted_server() as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        done = batch(given, "-o", str(output), "--url", server.url)
    assert done.exit_code == 2
    assert done.stderr == f"Error: {output}: a batch was written there; go on with --resume, or remove it\n"
    assert output.read_text() == "precious"


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.journal"])
@pytest.mark.parametrize(
    "content", ["my notes", '{"id": "a", "custom_id": "b", "response": null, "error": null}\n', "\n"]
)
def test_a_file_that_no_batch_has_written_is_not_resumed(tmp_path: Path, name: str, content: str) -> None:
    (tmp_path / name).write_text(content)
    with scripted_server() as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url, "--resume")
        assert server.posts == []
    told = "there is no answer of a batch in it, and --resume would write it over"
    assert (done.exit_code, done.stderr) == (2, f"Error: {tmp_path / name}: {told}\n")
    assert (tmp_path / name).read_text() == content
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", name}


def test_a_file_that_comes_while_the_input_is_read_is_not_written_over(tmp_path: Path) -> None:
    output, given = tmp_path / "out.jsonl", written(tmp_path / "in.jsonl", [line("a")])
    with (
        scripted_server() as server,
        batch_process("-", "-o", str(output), "--url", server.url, stdin=subprocess.PIPE) as reading,
    ):
        assert reading.stdin
        reading.stdin.write(MORE_THAN_A_PIPE_HOLDS)
        reading.stdin.flush()
        assert batch(given, "-o", str(output), "--url", server.url).exit_code == 0
        said = reading.communicate(f"{line('b')}\n", timeout=30)[1]
    told = f"Error: {output}: a batch was written there; go on with --resume, or remove it\n"
    assert (reading.returncode, said) == (2, told)
    assert ids(output) == ["a"]
    assert {path.name for path in tmp_path.iterdir()} == {"in.jsonl", "out.jsonl"}


def test_a_file_that_comes_while_requests_are_answered_is_not_written_over(tmp_path: Path) -> None:
    output, let_go = tmp_path / "out.jsonl", threading.Event()
    with scripted_server(held_after(0, let_go)) as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        with batch_process(given, "-o", str(output), "--url", server.url) as process:
            until_now(lambda: server.under_way == 1, "it has asked")
            output.write_text("precious")
            let_go.set()
            said = process.communicate(timeout=30)[1]
        assert process.returncode == 1
        assert said.startswith(f"Error: {output}: it was written by somebody else meanwhile; the answers are in ")
        assert output.read_text() == "precious"
        output.unlink()
        assert batch(given, "-o", str(output), "--url", server.url, "--resume").exit_code == 0
        assert len(server.posts) == 1
    assert ids(output) == ["a"]


@pytest.mark.parametrize("resume", [(), ("--resume",)])
def test_the_file_that_the_output_is_made_in_is_nobody_elses(tmp_path: Path, resume: tuple[str, ...]) -> None:
    theirs = tmp_path / "out.jsonl.partial"
    theirs.write_text("precious")
    with scripted_server() as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url, *resume)
        assert done.exit_code == 2
        assert done.stderr.startswith(f"Error: {theirs}: ")
        written(theirs, [line("a")])
        itself = batch(str(theirs), "-o", str(tmp_path / "out.jsonl"), "--url", server.url, *resume)
        assert server.posts == []
    assert (itself.exit_code, "the input would be written over" in itself.stderr) == (2, True)
    assert theirs.read_text() == line("a") + "\n"


@pytest.mark.parametrize("name", ["out.jsonl", "out.jsonl.journal"])
def test_the_answers_to_another_input_are_not_written_over(tmp_path: Path, name: str) -> None:
    output = tmp_path / "out.jsonl"
    with scripted_server() as server:
        arguments = ("-o", str(output), "--url", server.url)
        assert batch(written(tmp_path / "one.jsonl", map(line, NAMES)), *arguments).exit_code == 0
        output.rename(tmp_path / name)
        before = (tmp_path / name).read_text()
        server.posts = []
        other = written(tmp_path / "other.jsonl", [line(each, prompt="another") for each in NAMES])
        done = batch(other, *arguments, "--resume")
        assert server.posts == []
    told = "its answers are all to another input, and --resume would write it over"
    assert (done.exit_code, done.stderr) == (2, f"Error: {tmp_path / name}: {told}\n")
    assert (tmp_path / name).read_text() == before
    assert {path.name for path in tmp_path.iterdir()} == {"one.jsonl", "other.jsonl", name}


def test_two_runs_do_not_share_a_journal(tmp_path: Path) -> None:
    output, let_go = tmp_path / "out.jsonl", threading.Event()
    with scripted_server(held_after(0, let_go)) as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        arguments = (given, "-o", str(output), "--url", server.url, "--resume")
        with batch_process(*arguments) as process:
            until_now(lambda: server.under_way == 1, "the first run has asked")
            done = batch(*arguments)
            let_go.set()
            assert process.wait(30) == 0
    assert (done.exit_code, done.stderr.endswith("another process is at work on it\n")) == (2, True)
    assert ids(output) == ["a"]


def test_a_disk_that_is_full_ends_the_run_and_leaves_whole_lines(tmp_path: Path) -> None:
    output, journal, let_go = tmp_path / "out.jsonl", tmp_path / "out.jsonl.journal", threading.Event()
    with scripted_server(held_after(ANSWERED, let_go)) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES))
        arguments = (given, "-o", str(output), "--url", server.url, "--concurrency", "2", "--resume")
        with batch_process(*arguments) as process:
            until_now(lambda: journal.exists() and journal.read_text().count("\n") == ANSWERED, "some are answered")
            limit = journal.stat().st_size + 20
            resource.prlimit(process.pid, resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))
            let_go.set()
            said = process.communicate(timeout=30)[1]
        assert process.returncode == 1
        assert said.endswith(f"Error: {journal}: it cannot be written: File too large\n")
        assert journal.read_text().count("\n") == ANSWERED
        assert journal.read_text().endswith("\n")
        assert batch(*arguments).exit_code == 0
    assert ids(output) == NAMES


def test_whoever_reads_a_pipe_may_have_enough_of_it(tmp_path: Path) -> None:
    let_go = threading.Event()
    with scripted_server(held_after(1, let_go)) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES))
        with batch_process(given, "-o", "-", "--url", server.url, "--concurrency", "1") as process:
            assert process.stdout
            assert process.stderr
            assert json.loads(process.stdout.readline())["custom_id"] == "r-0"
            process.stdout.close()
            let_go.set()
            assert process.wait(30) == 1
            assert "Traceback" not in process.stderr.read()
