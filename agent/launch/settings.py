"""The options of `forebay agent --launch`, parsed once into one frozen value. Pure.

Names and defaults are those of vllm-ascend's launch_online_dp.py, up to `vllm_start_port`; the rest is ours.
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

LONGEST_S = 86_400
_MAX_PORT = 65_535

TemplateArgs = Literal["auto", "main", "0.9.1"]
DeviceEnv = Literal["auto", "ascend", "cuda", "rocm", "none"]


class LaunchSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What an agent starts. Each field's description is its help text.

    Raises ValueError (on construction) or msgspec.ValidationError (from `msgspec.convert`) whose message starts with
    the field's name.
    """

    launch: Annotated[
        str, Meta(description="script that starts one rank; run for each, as launch_online_dp.py runs its template")
    ] = ""
    dp_size: Annotated[int, Meta(ge=0, le=65_536, description="ranks of the DP group, on all nodes")] = 0
    tp_size: Annotated[int, Meta(ge=1, le=1024, description="devices of one rank")] = 1
    dp_size_local: Annotated[int, Meta(ge=-1, le=1024, description="ranks on this node; -1: all of them")] = -1
    dp_rank_start: Annotated[int, Meta(ge=0, le=65_535, description="number of this node's first rank")] = 0
    dp_address: Annotated[str, Meta(pattern=r"^\S*\Z", description="address of the node that has rank 0")] = ""
    dp_rpc_port: Annotated[
        int, Meta(ge=1, le=_MAX_PORT, description="port there, on which the DP group finds together")
    ] = 12345
    vllm_start_port: Annotated[
        int, Meta(ge=1, le=_MAX_PORT, description="port of this node's first rank; the others follow")
    ] = 9000
    template_args: Annotated[
        TemplateArgs,
        Meta(description="the arguments the script takes: those of vllm-ascend's main or 0.9.1; auto reads the script"),
    ] = "auto"
    devices: Annotated[
        str,
        Meta(description="devices for the ranks, such as 0-15 or 0,2,4; default: those visible to the agent, else 0.."),
    ] = ""
    device_env: Annotated[
        DeviceEnv,
        Meta(
            description="sets ASCEND_RT_, CUDA_ or HIP_VISIBLE_DEVICES for each rank; "
            "auto: as the node's devices are, none where the script sets one"
        ),
    ] = "auto"
    dense: Annotated[
        bool, Meta(description="independent ranks of a dense model; known of a script without --data-parallel-*")
    ] = False
    rank_host: Annotated[
        str, Meta(pattern=r"^\S*\Z", description="this node as gateways reach it; default: its address towards Redis")
    ] = ""
    log_dir: Annotated[str, Meta(min_length=1, description="folder for what the ranks print, a file each")] = (
        "forebay-logs"
    )
    ready_timeout_s: Annotated[
        float, Meta(ge=0.1, le=LONGEST_S, description="how long the ranks may take until all are offered")
    ] = 3600.0
    drain_timeout_s: Annotated[
        float, Meta(ge=0, le=LONGEST_S, description="how long requests may run on after SIGTERM")
    ] = 60.0
    stop_timeout_s: Annotated[
        float, Meta(ge=0, le=LONGEST_S, description="between SIGTERM to a rank's processes and SIGKILL")
    ] = 30.0

    def __post_init__(self) -> None:
        if not self.launch:
            self._refuse_options_without_it()
            return
        if not self.dp_size:
            raise ValueError("dp_size: --launch needs it")
        if self.dp_size_local == 0:
            raise ValueError("dp_size_local: a node without ranks has nothing to launch; -1 stands for all")
        if self.dp_rank_start + self.local_ranks > self.dp_size:
            last = self.dp_rank_start + self.local_ranks - 1
            raise ValueError(f"dp_size_local: the node's last rank would be {last}, of {self.dp_size} ranks from 0 on")
        if self.ports[-1] > _MAX_PORT:
            raise ValueError(f"vllm_start_port: the last of {self.local_ranks} ranks would get port {self.ports[-1]}")
        if self.dp_rpc_port in self.ports:
            raise ValueError(f"dp_rpc_port: {self.dp_rpc_port} is a rank's port: {self.ports[0]}-{self.ports[-1]}")

    def _refuse_options_without_it(self) -> None:
        for field in msgspec.structs.fields(self):
            if field.name != "rank_host" and getattr(self, field.name) != field.default:
                raise ValueError(f"{field.name}: it is for --launch")

    @property
    def local_ranks(self) -> int:
        """How many ranks this node has."""
        return self.dp_size if self.dp_size_local == -1 else self.dp_size_local

    @property
    def is_whole_group(self) -> bool:
        """Whether this node has all ranks."""
        return self.local_ranks == self.dp_size

    @property
    def ports(self) -> range:
        """The ports of this node's ranks."""
        return range(self.vllm_start_port, self.vllm_start_port + self.local_ranks)
