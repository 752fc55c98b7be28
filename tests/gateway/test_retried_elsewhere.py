"""Which other ranks a request is tried on: none that shares the fate of one that failed, nor lacks what it needs."""

import msgspec
import pytest

from tests.gateway.fake_pools import card
from tests.gateway.scripted_pair import answers
from tests.gateway.scripted_rank import COMPLETION, Script, breaks_off
from tests.gateway.scripted_ranks import scripted_ranks

ERROR = b'{"error":{"message":"Internal server error","type":"InternalServerError","param":null,"code":500}}'


async def test_a_response_made_in_the_background_is_had_elsewhere_only_if_its_rank_never_got_it() -> None:
    body = {"model": "sim", "input": "x", "background": True}
    async with scripted_ranks(breaks_off) as ranks:
        broken = await ranks.served.client.post("/v1/responses", json=body)
        assert (broken.status_code, ranks.names()) == (502, "A")
        ranks.replace("A", card("http://127.0.0.1:9", rank="A"))
        refused = await ranks.served.client.post("/v1/responses", json=body)
        assert (refused.status_code, ranks.names()) == (200, "AB")


async def test_a_response_that_is_only_stored_is_had_elsewhere_whatever_failed() -> None:
    async with scripted_ranks(breaks_off) as ranks:
        response = await ranks.served.client.post("/v1/responses", json={"model": "sim", "input": "x", "store": True})
    assert (response.status_code, ranks.names()) == (200, "AB")


async def test_what_goes_on_from_a_response_is_never_tried_on_a_rank_that_has_it_not() -> None:
    async with scripted_ranks(breaks_off) as ranks:
        ranks.served.gateway.kept.note("resp_1", "sim", ranks.pool.view.ranks["A"].card)
        body = {"model": "sim", "input": "x", "previous_response_id": "resp_1"}
        broken = await ranks.served.client.post("/v1/responses", json=body)
        assert (broken.status_code, ranks.names()) == (502, "A")
        ranks.replace("A", card("http://127.0.0.1:9", rank="A"))
        refused = await ranks.served.client.post("/v1/responses", json=body)
    assert (refused.status_code, ranks.names()) == (502, "A")
    assert [shape.only_on for shape in ranks.pool.asked] == ["A"] * 4


async def test_of_ranks_behind_a_port_that_takes_no_connection_one_is_asked() -> None:
    async with scripted_ranks() as ranks:
        for name in "AB":
            ranks.replace(name, card("http://127.0.0.1:9", rank=name, local_index="AB".index(name)))
        response = await ranks.served.complete()
    assert (response.content, ranks.names()) == (COMPLETION, "C")
    assert ranks.pool.avoided == [frozenset(), {"A", "B"}]
    assert sorted(ranks.pool.shunned) == ["A", "B"]


@pytest.mark.parametrize("script", [breaks_off, answers(ERROR, "500 Oh no")])
async def test_a_rank_whose_group_steps_with_one_that_failed_is_the_last_to_be_asked(script: Script) -> None:
    async with scripted_ranks(script) as ranks:
        for name in "AB":
            ranks.replace(name, msgspec.structs.replace(ranks.pool.view.ranks[name].card, dp_group="g"))
        response = await ranks.served.complete()
    assert (response.content, ranks.names()) == (COMPLETION, "AC")
    assert ranks.pool.avoided == [frozenset(), {"A", "B"}]
    assert ranks.pool.shunned == []
