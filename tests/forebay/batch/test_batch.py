"""What comes of a batch: order, failures, retries, the shape of what is written."""

import json
import threading
from pathlib import Path

import pytest

from tests.forebay.batch.batch_command import COMPLETIONS, answers, batch, ids, line, written
from tests.forebay.model_server.scripted_server import Asked, Reply, completion, echo, scripted_server
from tests.polling import PATIENCE_S

NAMES = [f"r-{number}" for number in range(40)]


def test_the_output_has_the_order_of_the_input_whatever_the_order_of_the_answers(tmp_path: Path) -> None:
    last = threading.Event()

    def script(asked: Asked, before: int) -> Reply:
        if asked.body["prompt"] == "r-7":
            last.set()
        else:
            last.wait(PATIENCE_S)
        return echo(asked, before)

    output = tmp_path / "out.jsonl"
    with scripted_server(script) as server:
        names = NAMES[:8]
        given = written(tmp_path / "in.jsonl", map(line, names))
        done = batch(given, "-o", str(output), "--url", server.url, "--concurrency", "8")
    assert done.exit_code == 0, done.output
    assert ids(output) == names
    assert [each["response"]["body"]["choices"][0]["text"] for each in answers(output)] == [f"to {n}" for n in names]
    assert [path.name for path in sorted(tmp_path.iterdir())] == ["in.jsonl", "out.jsonl"]
    assert done.stdout == ""


def test_a_line_of_the_output_has_the_published_shape(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with scripted_server(lambda asked, _: Reply(body=completion(asked), headers=(("x-request-id", "abc"),))) as server:
        batch(written(tmp_path / "in.jsonl", [line("a")]), "-o", str(output), "--url", f"{server.url}/v1/")
    (found,) = answers(output)
    assert list(found) == ["id", "custom_id", "response", "error"]
    assert list(found["response"]) == ["status_code", "request_id", "body"]
    assert (found["custom_id"], found["error"]) == ("a", None)
    assert (found["response"]["status_code"], found["response"]["request_id"]) == (200, "abc")
    assert found["response"]["body"]["object"] == "text_completion"
    assert found["id"].startswith("batch_req_")


def test_no_more_are_asked_at_once_than_was_said(tmp_path: Path) -> None:
    three = threading.Barrier(3, timeout=PATIENCE_S)

    def script(asked: Asked, before: int) -> Reply:
        three.wait()
        return echo(asked, before)

    with scripted_server(script) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES[:12]))
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url, "--concurrency", "3")
        assert done.exit_code == 0, done.output
        assert server.most_at_once == 3


def test_what_fails_is_tried_again_and_listed_if_it_fails_for_good(tmp_path: Path) -> None:
    def script(asked: Asked, before: int) -> Reply:
        if asked.body["prompt"] == "shaky" and before == 0:
            return Reply(500, {"error": {"message": "once"}})
        if asked.body["prompt"] == "broken":
            return Reply(502, {"error": {"message": "for\ngood"}})
        if asked.body["prompt"] == "wrong":
            return Reply(400, {"error": {"message": "no such thing"}})
        return echo(asked, before)

    output = tmp_path / "out.jsonl"
    with scripted_server(script) as server:
        given = written(tmp_path / "in.jsonl", map(line, ["fine", "shaky", "broken", "wrong"]))
        done = batch(given, "-o", str(output), "--url", server.url, "--retries", "1")
        asked = sorted(each.body["prompt"] for each in server.posts)
    assert asked == ["broken", "broken", "fine", "shaky", "shaky", "wrong"]
    assert done.exit_code == 1
    assert done.stderr.splitlines() == [
        "failed: broken: status 502: for good",
        "failed: wrong: status 400: no such thing",
        "2 of 4 requests succeeded, 2 failed; --resume asks what is missing",
    ]
    assert [each["response"]["status_code"] for each in answers(output)] == [200, 200, 502, 400]
    assert answers(output)[3]["error"] is None


def test_an_answer_that_is_no_json_is_a_failure_without_a_response(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with scripted_server(lambda *_: Reply(body=b"<html>")) as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        done = batch(given, "-o", str(output), "--url", server.url, "--retries", "0")
    assert done.exit_code == 1
    (found,) = answers(output)
    assert found["response"] is None
    assert found["error"]["code"] == "invalid_response"


@pytest.mark.parametrize("status", [429, 503])
def test_a_server_that_is_busy_is_obeyed_and_costs_no_retry(tmp_path: Path, status: int) -> None:
    def script(asked: Asked, before: int) -> Reply:
        return echo(asked, before) if before > 1 else Reply(status, {}, (("retry-after", "0"),))

    with scripted_server(script) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES[:3]))
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url, "--retries", "0")
        assert len(server.posts) == 9
    assert done.exit_code == 0, done.output


def test_a_server_that_lets_nothing_in_ends_the_run_and_nothing_is_lost(tmp_path: Path) -> None:
    def script(asked: Asked, before: int) -> Reply:
        return echo(asked, before) if asked.body["prompt"] == "r-0" else Reply(503, {}, (("retry-after", "60"),))

    output = tmp_path / "out.jsonl"
    with scripted_server(script) as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES[:3]))
        arguments = (given, "-o", str(output), "--url", server.url, "--concurrency", "1", "--busy-timeout-s", "5")
        done = batch(*arguments)
        assert done.exit_code == 1
        assert "nothing was let in for" in done.stderr
        assert "it answers 503" in done.stderr
        assert not output.exists()
        server.script = echo
        assert batch(*arguments, "--resume").exit_code == 0
        assert [each.body["prompt"] for each in server.posts].count("r-0") == 1
    assert ids(output) == NAMES[:3]


def test_standard_streams_carry_a_batch_and_nothing_else(tmp_path: Path) -> None:
    with scripted_server() as server:
        done = batch("-", "-o", "-", "--url", server.url, stdin="".join(f"{line(name)}\n\n" for name in NAMES))
    assert done.exit_code == 0, done.output
    assert [json.loads(each)["custom_id"] for each in done.stdout.splitlines()] == NAMES


def test_the_key_is_brought_from_a_file(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("secret-key\n")
    with scripted_server() as server:
        given = written(tmp_path / "in.jsonl", [line("a")])
        output = str(tmp_path / "out.jsonl")
        assert batch(given, "-o", output, "--url", server.url, "--api-key-file", str(key)).exit_code == 0
        assert server.posts[0].headers["authorization"] == "Bearer secret-key"


def test_requests_go_to_several_servers_in_turn(tmp_path: Path) -> None:
    with scripted_server() as one, scripted_server() as other:
        given = written(tmp_path / "in.jsonl", map(line, NAMES[:10]))
        urls = f"{one.url},{other.url}"
        assert batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", urls).exit_code == 0
        assert (len(one.posts), len(other.posts)) == (5, 5)
        assert {each.path for each in one.posts} == {COMPLETIONS}


def test_one_of_several_servers_may_be_away(tmp_path: Path) -> None:
    output = tmp_path / "out.jsonl"
    with scripted_server() as server:
        given = written(tmp_path / "in.jsonl", map(line, NAMES[:4]))
        done = batch(given, "-o", str(output), "--url", f"http://127.0.0.1:1,{server.url}", "--retries", "0")
    assert done.exit_code == 0, done.output
    assert ids(output) == NAMES[:4]


def test_a_failure_is_listed_in_a_line_that_can_be_read(tmp_path: Path) -> None:
    with scripted_server(lambda *_: Reply(400, {"error": {"message": "no\n" * 500}})) as server:
        given = written(tmp_path / "in.jsonl", [line("x" * 60_000, prompt="a")])
        done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", server.url)
    (failure, _) = done.stderr.splitlines()
    assert failure.startswith(f"failed: {'x' * 100}: status 400: no no")
    assert len(failure) < 500
