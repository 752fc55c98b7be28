"""Which processes `forebay up` starts; every command line it makes is one that Forebay understands."""

import click
import pytest

from forebay.fleet import Commands, agent_commands, gateway_commands, rank_commands
from forebay.main import main
from forebay.settings import UpSettings

SETTINGS = UpSettings(mixed=2, prefill=1, decode=0, gateways=2, port=8100, model="m", speed=50.0, policy="random")
PORTS = {"mixed": [1, 2], "prefill": [3]}


def parsed(commands: Commands) -> dict[str, dict[str, object]]:
    """The options by child, as the command's own parser reads them."""
    found = {}
    for name, (command_name, *arguments) in commands.items():
        context = click.Context(main)
        command = main.get_command(context, command_name)
        assert command is not None
        environment = {"FOREBAY_REDIS": "redis://x"}
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("FOREBAY_REDIS", environment["FOREBAY_REDIS"])
            found[name] = command.make_context(command_name, list(arguments)).params
    return found


def test_there_is_a_rank_for_each_port_with_its_role_model_and_speed() -> None:
    ranks = parsed(rank_commands(SETTINGS, PORTS))
    assert {name: (rank["port"], rank["role"]) for name, rank in ranks.items()} == {
        "mixed-0": (1, "mixed"),
        "mixed-1": (2, "mixed"),
        "prefill-0": (3, "prefill"),
    }
    assert {(rank["model"], rank["speed"], rank["host"]) for rank in ranks.values()} == {("m", 50.0, "127.0.0.1")}


def test_there_is_an_agent_for_each_role_which_knows_what_its_ranks_can_do() -> None:
    agents = parsed(agent_commands(SETTINGS, PORTS))
    assert {name: (agent["role"], agent["ranks"]) for name, agent in agents.items()} == {
        "agent-mixed": ("mixed", "127.0.0.1:1,127.0.0.1:2"),
        "agent-prefill": ("prefill", "127.0.0.1:3"),
    }
    rank = parsed(rank_commands(SETTINGS, PORTS))["mixed-0"]
    assert agents["agent-mixed"]["max_num_seqs"] == rank["max_num_seqs"]
    assert agents["agent-mixed"]["prefill_tokens_per_s"] == 50 * 8000


def test_gateways_get_the_ports_from_the_first_one_on_and_explain() -> None:
    gateways = parsed(gateway_commands(SETTINGS))
    assert {name: gateway["port"] for name, gateway in gateways.items()} == {"gateway-0": 8100, "gateway-1": 8101}
    assert {gateway["policy"] for gateway in gateways.values()} == {"random"}
    assert all(gateway["explain"] and gateway["host"] == "127.0.0.1" for gateway in gateways.values())
