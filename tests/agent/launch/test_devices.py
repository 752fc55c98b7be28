"""Which devices the ranks of a node get."""

import pytest

from agent.errors import LaunchError
from agent.launch.devices import devices_of, node_devices, parse_devices


@pytest.mark.parametrize(
    ("text", "devices"),
    [
        ("0-3", ("0", "1", "2", "3")),
        ("0,2, 4", ("0", "2", "4")),
        ("0-1,8-9", ("0", "1", "8", "9")),
        ("GPU-8f2c-11,MIG-1/2", ("GPU-8f2c-11", "MIG-1/2")),
    ],
)
def test_a_device_list_is_read_in_its_order(text: str, devices: tuple[str, ...]) -> None:
    assert parse_devices(text) == devices


@pytest.mark.parametrize("text", ["", "a", "3-1", "0,,1", "0-", "-1", "1,0-2"])
def test_a_device_list_that_cannot_be_meant_is_refused(text: str) -> None:
    with pytest.raises(LaunchError, match="--devices: "):
        parse_devices(text)


def test_ranks_get_devices_side_by_side_from_0_on_unless_told_otherwise() -> None:
    devices = node_devices("", "cuda", {}, 4)
    assert [devices_of(devices, index, 2) for index in range(2)] == ["0,1", "2,3"]


def test_what_the_agent_itself_may_see_bounds_its_ranks() -> None:
    assert node_devices("", "cuda", {"CUDA_VISIBLE_DEVICES": "4,5"}, 2) == ("4", "5")
    assert node_devices("6-7", "cuda", {"CUDA_VISIBLE_DEVICES": "4,5"}, 2) == ("6", "7")
    with pytest.raises(LaunchError, match="CUDA_VISIBLE_DEVICES: the ranks need 4 devices, and 4,5 is 2"):
        node_devices("", "cuda", {"CUDA_VISIBLE_DEVICES": "4,5"}, 4)


def test_too_few_devices_are_refused() -> None:
    with pytest.raises(LaunchError, match="--devices: the ranks need 8 devices, and 0-5 is 6"):
        node_devices("0-5", "none", {}, 8)
