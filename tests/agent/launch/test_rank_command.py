"""What each rank of a node is started with."""

from typing import Any

from agent.launch.rank_command import Arguments, RankCommand, rank_commands
from agent.launch.settings import LaunchSettings
from tests.agent.launch.samples import launching


def arguments(**changes: Any) -> Arguments:
    values: dict[str, Any] = {
        "takes": "main",
        "dp_address": "192.0.2.1",
        "devices": tuple(map(str, range(8))),
        "is_alone": False,
    }
    return Arguments(**{**values, **changes})


def commands(settings: LaunchSettings, given: Arguments, **changes: Any) -> tuple[RankCommand, ...]:
    options: dict[str, Any] = {
        "program": ("bash", "./run.sh"),
        "folder": "/srv",
        "environment": {},
        "device_kind": "none",
        "log_dir": "/logs",
    }
    return rank_commands(settings, given, **{**options, **changes})


SECOND_OF_TWO_NODES = launching(tp_size=4, dp_size_local=2, dp_rank_start=2, dp_rpc_port=12342)


def test_the_arguments_are_those_of_launch_online_dp() -> None:
    first, second = commands(SECOND_OF_TWO_NODES, arguments())
    assert first.argv == ("bash", "./run.sh", "0,1,2,3", "9000", "4", "2", "192.0.2.1", "12342", "4")
    assert second.argv == ("bash", "./run.sh", "4,5,6,7", "9001", "4", "3", "192.0.2.1", "12342", "4")
    assert (second.dp_rank, second.port, second.folder) == (3, 9001, "/srv")
    assert second.log_path == "/logs/rank-3-port-9001.log"


def test_the_arguments_of_the_launcher_of_0_9_1_are_others() -> None:
    first, second = commands(SECOND_OF_TWO_NODES, arguments(takes="0.9.1"))
    assert first.argv[2:] == ("4", "192.0.2.1", "12342", "0", "2", "9000", "2")
    assert second.argv[2:] == ("4", "192.0.2.1", "12342", "1", "3", "9001", "2")


def test_dense_ranks_are_each_told_to_be_the_only_one_on_ports_and_devices_of_their_own() -> None:
    settings = launching(dp_size=2, tp_size=2, dense=True)
    first, second = commands(settings, arguments(is_alone=True))
    assert first.argv[2:] == ("0,1", "9000", "1", "0", "192.0.2.1", "12345", "2")
    assert second.argv[2:] == ("2,3", "9001", "1", "0", "192.0.2.1", "12345", "2")
    assert [command.dp_rank for command in (first, second)] == [0, 1]


def test_each_rank_sees_its_own_devices() -> None:
    seen = [
        command.environment
        for command in commands(SECOND_OF_TWO_NODES, arguments(), device_kind="rocm", environment={"HOME": "/root"})
    ]
    assert seen == [
        {"HOME": "/root", "HIP_VISIBLE_DEVICES": "0,1,2,3"},
        {"HOME": "/root", "HIP_VISIBLE_DEVICES": "4,5,6,7"},
    ]


def test_ranks_that_count_devices_by_their_local_rank_see_all_of_them() -> None:
    given = arguments(takes="0.9.1", devices=("8", "9"))
    settings = launching(dp_size=2)
    seen = [command.environment for command in commands(settings, given, device_kind="ascend")]
    assert seen == [{"ASCEND_RT_VISIBLE_DEVICES": "8,9"}] * 2


def test_no_rank_sees_what_is_set_for_the_agent() -> None:
    (command,) = commands(
        launching(dp_size=1), arguments(), environment={"FOREBAY_REDIS": "redis://:secret@r", "MODEL": "m"}
    )
    assert command.environment == {"MODEL": "m"}


def test_a_rank_is_told_where_its_agent_listens_for_what_it_pushes() -> None:
    (command,) = commands(launching(dp_size=1), arguments(), environment={"FOREBAY_STAT_SOCKET": "/run/s"})
    assert command.environment == {"FOREBAY_STAT_SOCKET": "/run/s"}
