"""A node warms its ranks up before it offers them."""

import pytest

from scheduler.messages import RankState
from tests.agent.fakes import healthy_answers, http, scripted_rank
from tests.agent.running_node import node_of
from tests.agent.samples import page_bytes
from tests.polling import until
from tests.simulator.rank_process import RankProcess


async def test_a_rank_is_warmed_up_before_it_is_offered_and_once_in_its_life(rank: RankProcess) -> None:
    name = f"127.0.0.1:{rank.port}"
    for _ in range(2):
        async with node_of(rank.port, warmup=3) as node:
            await node.until_state(name, RankState.UP)
        assert sum(rank.series("vllm:request_success_total").values()) == 3


async def test_a_port_is_looked_at_while_one_of_its_ranks_is_warmed_up() -> None:
    used = page_bytes("idle")
    fresh = used.replace(b'engine="0"', b'engine="1"').replace(b"} 263.0", b"} 0.0")
    async with scripted_rank(healthy_answers()) as rank, node_of(rank.port, warmup=1) as node:
        rank.answers |= {"/metrics": http(200, used + fresh), "/v1/completions": None}
        await until(lambda: "/v1/completions" in rank.asked, "the warm-up of the second engine hangs")
        await node.until_state(f"127.0.0.1:{rank.port}#0", RankState.UP)
        rank.answers["/health"] = http(503)
        await node.until_state(f"127.0.0.1:{rank.port}#0", RankState.DOWN)
        assert rank.asked.count("/v1/completions") == 1
        assert node.state_of(f"127.0.0.1:{rank.port}#1") is None
        rank.answers |= {"/health": http(200), "/v1/completions": http(200, b"{}")}
        rank.hang_up()
        await node.until_state(f"127.0.0.1:{rank.port}#1", RankState.UP)


async def test_a_rank_whose_warm_up_fails_is_not_offered_until_it_succeeds(
    rank: RankProcess, caplog: pytest.LogCaptureFixture
) -> None:
    name = f"127.0.0.1:{rank.port}"
    rank.post("/sim/fault", {"kind": "error", "status": 500})
    async with node_of(rank.port, warmup=1) as node:
        await until(lambda: "warm-up answers 500" in caplog.text, "the failure is logged")
        assert node.store.told == []
        rank.post("/sim/fault", {"kind": "clear"})
        await node.until_state(name, RankState.UP)
