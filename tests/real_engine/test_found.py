"""What operators' commands find of real servers: by their command lines, and by asking them before they serve."""

from __future__ import annotations

import json

from agent.auto.run import find
from agent.settings import AgentSettings
from scheduler.messages import Role
from tests.e2e.up_process import forebay
from tests.real_engine.conftest import Engines, Told
from tests.real_engine.engine import MAX_NUM_SEQS


def test_servers_are_found_by_their_command_lines(engines: Engines, told: Told) -> None:
    found = {
        (group.model, group.role, group.connector, group.max_num_seqs): [target.name for target in ports]
        for model in ("plain", "pair")
        for group, ports in find(AgentSettings(redis="-", auto=True, model=model), "192.0.2.1").ports.items()
    }
    expected = {
        ("plain", Role.MIXED, "", MAX_NUM_SEQS): [engines.plain.rank],
        ("pair", Role.PREFILL, "nixl", MAX_NUM_SEQS): [engines.prefill.rank],
        ("pair", Role.DECODE, "nixl", MAX_NUM_SEQS): [engines.decode.rank],
    }
    told(f"found: {', '.join(f'{role.value} {ports[0]}' for (_, role, _, _), ports in sorted(found.items()))}")
    assert found == expected


def test_a_preflight_sees_that_the_pair_fits_together(engines: Engines, told: Told) -> None:
    ranks = ("--prefill-ranks", engines.prefill.rank, "--decode-ranks", engines.decode.rank)
    done = forebay("preflight", "--json", *ranks)
    assert done.stdout, done.stderr
    report = json.loads(done.stdout)
    told("; ".join(f"{each['where']}: {each['what']}" for each in report["findings"] if each["level"] == "ok"))
    assert done.returncode == 0, done.stdout
    (cell,) = report["matrix"]
    assert cell["findings"] == []
