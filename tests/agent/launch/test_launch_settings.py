"""The options of a launch, and which of them go together."""

from typing import Any

import pytest

from tests.agent.launch.samples import launching
from tests.agent.samples import settings


def test_defaults_are_those_of_launch_online_dp() -> None:
    given = launching(dp_size=3)
    assert (given.tp_size, given.local_ranks, given.dp_rank_start, given.dp_rpc_port) == (1, 3, 0, 12345)
    assert list(given.ports) == [9000, 9001, 9002]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"dp_size": 0}, "dp_size: --launch needs it"),
        ({"dp_size_local": 0}, "dp_size_local: "),
        ({"dp_size_local": 3, "dp_rank_start": 2}, "dp_size_local: the node's last rank would be 4, of 4 ranks"),
        ({"vllm_start_port": 65_533}, "vllm_start_port: the last of 4 ranks would get port 65536"),
        ({"vllm_start_port": 12_343}, "dp_rpc_port: 12345 is a rank's port: 12343-12346"),
        ({"launch": "", "dp_size": 0}, "dp_address: it is for --launch"),
    ],
)
def test_a_launch_that_cannot_be_meant_is_refused_with_the_options_name(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        launching(**changes)


def test_an_agent_attaches_to_ranks_or_starts_them() -> None:
    with pytest.raises(ValueError, match="ranks: --launch knows the ranks it starts"):
        settings(launching=launching())
    with pytest.raises(ValueError, match="ranks: say where the ranks are, start them with --launch"):
        settings(ranks="")
    assert settings(ranks="", launching=launching()).launching.local_ranks == 4


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"ranks": "h:9000"}, "ranks: --auto finds the ranks itself; give one of the two"),
        ({"launching": launching()}, "launch: --auto finds the ranks itself; give one of the two"),
        ({"metrics_ports": "9100"}, "metrics_ports: --auto finds the ranks itself; give one of the two"),
        ({"model": "", "pool_name": "p"}, "pool_name: name the model too, as --auto may find several"),
    ],
)
def test_what_contradicts_ranks_that_are_found_is_refused(changes: dict[str, Any], message: str) -> None:
    found: dict[str, Any] = {"ranks": "", "auto": True, "role": None}
    assert settings(**found, pool_name="p").pool == "p"
    with pytest.raises(ValueError, match=message):
        settings(**found | changes)


@pytest.mark.parametrize(("missing", "message"), [("model", "model: name the"), ("role", "role: say what the ranks")])
def test_only_what_is_found_goes_without_a_model_and_a_role(missing: str, message: str) -> None:
    assert settings(ranks="", auto=True, model="", role=None).auto
    with pytest.raises(ValueError, match=message):
        settings(**{missing: "" if missing == "model" else None})
