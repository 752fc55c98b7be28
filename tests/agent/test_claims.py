"""An agent that begins ends where others have its ranks; one that has had a rank goes on."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from agent.claims import APART_S, CLAIM_OVER_S, Beginning, Claims, StoreAnswer
from agent.errors import RankClaimedError
from agent.main import serve
from tests.agent.fakes import healthy_answers, scripted_rank
from tests.agent.samples import settings
from tests.polling import PATIENCE_S, until
from tests.servers import needs_redis, redis_server

REFUSED = {"r": "node-b", "s": "node-c"}
OURS = frozenset({"r"})


def refuse(beginning: Beginning, from_s: int, for_s: float) -> None:
    """Its ranks, in an answer each second."""
    for second in range(int(for_s) + 1):
        beginning.hear(StoreAnswer(refused=REFUSED, at_s=from_s + second))


def test_claims_that_last_end_an_agent_that_has_no_rank() -> None:
    beginning = Beginning()
    refuse(beginning, 5, CLAIM_OVER_S)
    with pytest.raises(RankClaimedError, match="rank r is claimed by agent node-b; rank s is claimed by agent node-c"):
        beginning.hear(StoreAnswer(refused=REFUSED, at_s=5.1 + CLAIM_OVER_S))


def test_a_claim_that_was_given_up_is_forgotten() -> None:
    beginning = Beginning()
    refuse(beginning, 5, CLAIM_OVER_S)
    beginning.hear(StoreAnswer(at_s=15.5))
    refuse(beginning, 16, CLAIM_OVER_S)


def test_of_the_time_when_the_store_said_nothing_no_claim_is_known() -> None:
    beginning = Beginning()
    refuse(beginning, 5, CLAIM_OVER_S)
    refuse(beginning, 5 + int(CLAIM_OVER_S + APART_S) + 1, CLAIM_OVER_S)
    with pytest.raises(RankClaimedError):
        refuse(beginning, 29, CLAIM_OVER_S)


@pytest.mark.parametrize("refused", [{}, {"s": "node-c"}])
def test_an_agent_that_has_had_a_rank_goes_on_whatever_is_claimed(refused: dict[str, str]) -> None:
    beginning = Beginning()
    beginning.hear(StoreAnswer(taken=OURS, refused=refused, at_s=5))
    refuse(beginning, 6, 10 * CLAIM_OVER_S)


def test_an_answer_without_ranks_ends_no_beginning() -> None:
    beginning = Beginning()
    beginning.hear(StoreAnswer(at_s=5))
    with pytest.raises(RankClaimedError):
        refuse(beginning, 6, CLAIM_OVER_S + 1)


def test_what_is_said_again_of_one_answer_makes_no_claim_older() -> None:
    claims = Claims()
    assert claims.none_are_made({}, 5)
    assert not any(claims.none_are_made(REFUSED, 6) for _ in range(100))


@needs_redis
async def test_a_second_agent_of_a_rank_ends_with_exit_code_1_and_a_line_and_the_first_goes_on(tmp_path: Path) -> None:
    hasty = "from agent import claims; claims.CLAIM_OVER_S = 0.2; from forebay.main import main; main()"
    lines: list[str] = []
    with redis_server(tmp_path) as redis:
        async with scripted_rank(healthy_answers()) as rank, asyncio.TaskGroup() as tasks:
            at = f"127.0.0.1:{rank.port}"
            first = tasks.create_task(serve(settings(ranks=at, redis=redis.url, node="node-a"), lines.append))
            await until(lambda: len(lines) == 1, "the first has the rank")
            command = ["agent", "--redis", redis.url, "--model", "tiny", "--role", "mixed", "--ranks", at]
            second = await asyncio.create_subprocess_exec(
                *(sys.executable, "-c", hasty, *command), stdout=subprocess.PIPE, stderr=subprocess.PIPE
            )
            try:
                async with asyncio.timeout(PATIENCE_S):
                    said, complained = await second.communicate()
            finally:
                with suppress(ProcessLookupError):
                    second.kill()
            assert (second.returncode, said) == (1, b"")
            assert complained.decode().splitlines()[-1] == f"Error: rank {at} is claimed by agent node-a"
            assert not first.done()
            first.cancel()
