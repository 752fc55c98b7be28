"""The simulated rank's side of legs that come at once: either order, what hangs, what fails, and what is misuse."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import pytest

from scheduler.messages import KvAddress
from simulator.misuse import Kind
from tests.simulator.joint_ranks import CONNECTORS, decode_rank, prefill_rank
from tests.simulator.oracle import right_text
from tests.simulator.prefill_decode import kv_usage
from tests.simulator.rank_process import RankProcess, Reply, eventually, request

PROMPT = "a river runs through it and " * 12
OTHER = "some other thing entirely, as long as " * 12
ALL: set[Kind] = {
    *("missing_transfer_id", "reused_transfer_id", "mismatched_ids", "blocks_in_push", "wrong_room", "waited_out"),
    *("abandoned_kv", "altered_params", "wrong_kv", "streamed_prefill", "wrong_role"),
}


class Joint(NamedTuple):
    """A prefill and a decode rank, and how the one is met."""

    connector: str
    prefill: RankProcess
    decode: RankProcess
    kv: KvAddress

    def legs(self, name: str, **about: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        """Bodies as a gateway sends them for this transfer, the decode leg's with other params or fields `about`."""
        body = {"model": "sim", "prompt": PROMPT, "max_tokens": 20, "ignore_eos": True}
        one = {"max_tokens": 1}
        if self.connector == "sglang":
            room = int(name, 36)
            meeting = {"bootstrap_host": self.kv.host, "bootstrap_port": self.kv.port, "bootstrap_room": room}
            return body | meeting, body | meeting | about
        params: dict[str, Any] = {"do_remote_decode": True, "do_remote_prefill": False, "transfer_id": name}
        asks: dict[str, Any] = {"do_remote_decode": False, "do_remote_prefill": True, "transfer_id": name}
        asks["remote_engine_id"] = self.kv.engine_id
        if self.connector == "mooncake":
            asks["remote_bootstrap_addr"] = self.kv.bootstrap_url
        else:
            asks |= {"remote_host": self.kv.host, "remote_port": self.kv.port, "remote_request_id": name}
            asks |= {"tp_size": 1, "pp_size": 1}
        prompt = about.pop("prompt", PROMPT)
        return (
            body | one | {"kv_transfer_params": params},
            body | {"prompt": prompt, "kv_transfer_params": asks | about},
        )

    def run(self, name: str, *, decode_first: bool = False, **about: Any) -> Reply:
        """Both legs; the second is sent when the first is there. Gives the decode rank's answer."""
        first, second = self.legs(name, **about)
        found: list[Reply] = []

        def decode() -> None:
            found.append(self.decode.post("/v1/completions", second, x_request_id=name))

        def prefill() -> None:
            self.prefill.post("/v1/completions", first, x_request_id=name)

        early, late, at = (decode, prefill, self.decode) if decode_first else (prefill, decode, self.prefill)
        before = at.state()
        threads = [threading.Thread(target=early), threading.Thread(target=late)]
        threads[0].start()
        eventually(lambda: at.state()["in_flight"] > 0 or at.state()["served"] > before["served"])
        threads[1].start()
        for thread in threads:
            thread.join(30)
        return found[0]

    def counts(self, rank: RankProcess) -> dict[str, int]:
        """The misuse that a rank has seen since it was last asked, but for what its agent asked of it."""
        counts: dict[str, int] = rank.post("/sim/misuse", {}).json()["counts"]
        return {kind: count for kind, count in counts.items() if kind != "abandoned_kv"}


@contextmanager
def running_joint(connector: str, *options: str) -> Iterator[Joint]:
    with (
        prefill_rank(connector, *options, misuse=ALL) as met,
        decode_rank(connector, *options, misuse=ALL) as decode,
    ):
        yield Joint(connector, met.rank, decode, met.kv)


@pytest.fixture(scope="module", params=CONNECTORS)
def joint(request: pytest.FixtureRequest) -> Iterator[Joint]:
    with running_joint(request.param, "--kv-wait-ms", "1500", "--kv-lease-ms", "1500") as ranks:
        yield ranks


@pytest.mark.parametrize("decode_first", [False, True])
def test_whichever_leg_is_there_first_waits_for_the_other(joint: Joint, decode_first: bool) -> None:
    reply = joint.run(f"order{decode_first:d}", decode_first=decode_first)
    assert reply.json()["choices"][0]["text"] == right_text(PROMPT, 20, ignore_eos=True)
    assert joint.counts(joint.prefill) == joint.counts(joint.decode) == {}
    eventually(lambda: kv_usage(joint.prefill) == kv_usage(joint.decode) == 0)


def test_kv_of_another_prompt_shows_in_the_answer(joint: Joint) -> None:
    if joint.connector == "sglang":
        first, second = joint.legs("tainted")
        second["prompt"] = OTHER[: len(PROMPT)]
        thread = threading.Thread(target=joint.prefill.post, args=("/v1/completions", first))
        thread.start()
        reply = joint.decode.post("/v1/completions", second)
        thread.join(30)
    else:
        reply = joint.run("tainted", prompt=OTHER[: len(PROMPT)])
    assert reply.json()["choices"][0]["text"] != right_text(OTHER[: len(PROMPT)], 20, ignore_eos=True)
    assert joint.counts(joint.decode) == {"wrong_kv": 1}


def test_a_name_is_for_one_transfer(joint: Joint) -> None:
    joint.run("twice")
    first, _ = joint.legs("twice")
    with joint.prefill.connect() as client:
        client.sendall(request("POST", "/v1/completions", first, x_request_id="twice"))
        eventually(lambda: joint.prefill.get("/sim/misuse").json()["counts"].get("reused_transfer_id") == 1)
    joint.counts(joint.prefill)


def test_a_decode_leg_whose_prefill_never_comes_waits(joint: Joint) -> None:
    """In Mooncake and SGLang for minutes, here less; in NIXL's push until its client leaves."""
    _, second = joint.legs("alone")
    if joint.connector == "nixl_push":
        with joint.decode.connect() as client:
            client.sendall(request("POST", "/v1/completions", second, x_request_id="alone"))
            eventually(lambda: joint.decode.state()["in_engine"] == 1)
            client.settimeout(1.7)  # longer than --kv-wait-ms
            with pytest.raises(TimeoutError):
                client.recv(1)
    else:
        assert joint.decode.post("/v1/completions", second, x_request_id="alone").status == 500
        assert joint.counts(joint.decode) == {"waited_out": 1}


@pytest.mark.parametrize("joint", ["nixl_push", "mooncake"], indirect=True)
def test_what_legs_say_wrong_is_counted(joint: Joint) -> None:
    joint.run("blocks", remote_block_ids=[[1]])
    assert joint.counts(joint.decode)["blocks_in_push"] == 1
    first, _ = joint.legs("nameless")
    del first["kv_transfer_params"]["transfer_id"]
    joint.prefill.post("/v1/completions", first)
    assert joint.counts(joint.prefill)["missing_transfer_id"] == 1
    first, _ = joint.legs("streams")
    joint.prefill.post("/v1/completions", first | {"stream": True})
    assert joint.counts(joint.prefill)["streamed_prefill"] == 1
    first, _ = joint.legs("misplaced")
    joint.decode.post("/v1/completions", first)
    assert joint.counts(joint.decode)["wrong_role"] == 1


@pytest.mark.parametrize("joint", ["mooncake"], indirect=True)
def test_an_engine_that_the_bootstrap_server_does_not_know_fails_the_request(joint: Joint) -> None:
    _, second = joint.legs("stranger", remote_engine_id="nobody")
    assert joint.decode.post("/v1/completions", second).status == 500


@pytest.mark.parametrize("joint", ["mooncake"], indirect=True)
def test_a_prefill_that_ends_before_its_limit_sends_nothing_in_mooncake(joint: Joint) -> None:
    first, second = joint.legs("stopped")
    token = joint.prefill.post("/v1/completions", first | {"return_token_ids": True}).json()["choices"][0]
    first["kv_transfer_params"]["transfer_id"] = second["kv_transfer_params"]["transfer_id"] = "stopped2"
    answer = joint.prefill.post("/v1/completions", first | {"stop_token_ids": token["token_ids"]}).json()
    assert answer["choices"][0]["finish_reason"] == "stop"
    assert joint.decode.post("/v1/completions", second).status == 500


@pytest.mark.parametrize("joint", ["mooncake"], indirect=True)
def test_a_request_that_the_decode_rank_refuses_frees_the_kv_in_mooncake(joint: Joint) -> None:
    eventually(lambda: kv_usage(joint.prefill) == 0)
    first, second = joint.legs("refused")
    joint.prefill.post("/v1/completions", first)
    before = joint.prefill.get("/sim/misuse").json()
    assert before["unclaimed"] == 1
    assert joint.decode.post("/v1/completions", second | {"model": "nobody's"}).status == 404
    eventually(lambda: joint.prefill.get("/sim/misuse").json()["unclaimed"] == 0)
    assert joint.prefill.get("/sim/misuse").json()["counts"] == before["counts"]


@pytest.mark.parametrize("joint", ["sglang"], indirect=True)
def test_a_server_of_sglang_refuses_what_has_no_room(joint: Joint) -> None:
    for rank in (joint.prefill, joint.decode):
        for room in (None, -1, 1 << 63, "7", True):
            reply = rank.post("/v1/completions", {"prompt": "x", "bootstrap_room": room})
            assert reply.status == 400
