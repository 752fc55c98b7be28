"""Servers on https, verified by authorities that are named."""

import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from forebay.client import LLM, ClientError
from tests.certificates import Authority
from tests.forebay.batch.batch_command import batch, ids, line, written
from tests.forebay.load_test.bench_command import DONE, TEXT, USAGE, bench
from tests.forebay.model_server.scripted_server import Asked, Reply, ScriptedServer, echo

COUNTED = {"usage": {"prompt_tokens": 5}}


@contextmanager
def secure_server(authority: Authority) -> Iterator[str]:
    """Streams where that is asked for."""

    def script(asked: Asked, before: int) -> Reply:
        if asked.body.get("stream"):
            return Reply(body=TEXT + USAGE + DONE)
        return Reply(body=COUNTED) if "messages" in asked.body else echo(asked, before)

    server = ScriptedServer(script)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.signs("server"))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.url.replace("http:", "https:")
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def test_all_that_ask_verify_by_the_authorities_given(tmp_path: Path) -> None:
    authority = Authority(tmp_path / "tls")
    ca, output = str(authority.ca), tmp_path / "out.jsonl"
    given = written(tmp_path / "in.jsonl", [line("a")])
    with secure_server(authority) as url:
        assert LLM(url, ca=ca).generate("b")[0].outputs[0].text == "to b"
        done = batch(given, "-o", str(output), "--url", url, "--ca", ca)
        assert done.exit_code == 0, done.output
        tested = bench("--url", url, "--ca", ca, "--num-prompts", "3", "--warmup", "1")
        assert tested.exit_code == 0, tested.output
        with pytest.raises(ClientError, match="certificate verify failed"):
            LLM(url).generate("b")
    assert ids(output) == ["a"]


def test_authorities_that_cannot_be_read_are_named(tmp_path: Path) -> None:
    given = written(tmp_path / "in.jsonl", [line("a")])
    done = batch(given, "-o", str(tmp_path / "out.jsonl"), "--url", "https://h:1", "--ca", "none.pem")
    assert done.exit_code == 2
    assert "--ca: cannot use none.pem: No such file or directory" in done.stderr
    with pytest.raises(ClientError, match=r"cannot use none\.pem"):
        LLM("https://h:1", ca="none.pem")
