"""The command line and environment of each rank of a node. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import assert_never

import msgspec

from agent.launch.devices import VARIABLES, DeviceKind, devices_of
from agent.launch.settings import LaunchSettings
from agent.launch.template_text import ArgumentSet

OURS = "FOREBAY_"
"""Our variables are not for ranks: a store's password may stand in them."""
STAT_SOCKET = "FOREBAY_STAT_SOCKET"
"""But this one is: it tells a rank's stat logger where its agent listens."""


class RankCommand(msgspec.Struct, frozen=True, kw_only=True):
    """How one rank is started; `dp_rank` is its number in the DP group, `folder` where it runs."""

    index: int
    dp_rank: int
    port: int
    argv: tuple[str, ...]
    folder: str
    environment: Mapping[str, str]
    log_path: str


class Arguments(msgspec.Struct, frozen=True, kw_only=True):
    """What the positional arguments of a node's ranks are made of.

    `is_alone`: each rank is told to be the only one, which is how the templates in deploy/launch/ know that
    --data-parallel-* must not be passed (vLLM refuses them for dense models).
    """

    takes: ArgumentSet
    dp_address: str
    devices: tuple[str, ...]
    is_alone: bool

    def of_rank(self, index: int, settings: LaunchSettings) -> tuple[str, ...]:
        """The arguments of the node's rank `index`."""
        dp_size, rank, local_size, local_rank = 1, 0, 1, 0
        if not self.is_alone:
            dp_size, rank = settings.dp_size, settings.dp_rank_start + index
            local_size, local_rank = settings.local_ranks, index
        port, rpc_port = settings.ports[index], settings.dp_rpc_port
        given: Sequence[object]
        match self.takes:
            case "main":
                devices = devices_of(self.devices, index, settings.tp_size)
                given = (devices, port, dp_size, rank, self.dp_address, rpc_port, settings.tp_size)
            case "0.9.1":
                given = (dp_size, self.dp_address, rpc_port, local_rank, rank, port, local_size)
            case _:
                assert_never(self.takes)
        return tuple(map(str, given))

    def visible_to(self, index: int, settings: LaunchSettings) -> str:
        """The devices that the node's rank `index` may see.

        An engine that is told its local rank (0.9.1) counts its devices from there, and so has to see all of them.
        """
        if self.takes == "0.9.1" and not self.is_alone:
            return ",".join(self.devices)
        return devices_of(self.devices, index, settings.tp_size)


def rank_commands(
    settings: LaunchSettings,
    arguments: Arguments,
    *,
    program: Sequence[str],
    folder: str,
    environment: Mapping[str, str],
    device_kind: DeviceKind,
    log_dir: str,
) -> tuple[RankCommand, ...]:
    """The commands of all of a node's ranks; `program` is what starts the template, `folder` where it stands."""
    inherited = {name: value for name, value in environment.items() if not name.startswith(OURS) or name == STAT_SOCKET}
    return tuple(
        RankCommand(
            index=index,
            dp_rank=settings.dp_rank_start + index,
            port=port,
            argv=(*program, *arguments.of_rank(index, settings)),
            folder=folder,
            environment=inherited
            | ({} if device_kind == "none" else {VARIABLES[device_kind]: arguments.visible_to(index, settings)}),
            log_path=f"{log_dir}/rank-{settings.dp_rank_start + index}-port-{port}.log",
        )
        for index, port in enumerate(settings.ports)
    )
