"""The options of `forebay preflight`. Pure."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

from agent.errors import TargetError
from agent.settings import ConnectorName
from agent.targets import Target, parse_ports, parse_targets
from scheduler.messages import Role

Ranks = Annotated[str, Meta(description="[https://]HOST:PORT[-PORT][,...]: ranks of this role that run")]


class PreflightSettings(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What is looked at. Each field's description is its help text."""

    redis: Annotated[str, Meta(description="URL of the shared store; its pools' ranks are looked at unless named")] = ""
    prefill_ranks: Ranks = ""
    decode_ranks: Ranks = ""
    mixed_ranks: Ranks = ""
    connector: Annotated[
        ConnectorName,
        Meta(description="KV connector of the ranks that are named, as of their agents; auto: nixl where it shows"),
    ] = "auto"
    rank_api_key: Annotated[str, Meta(pattern=r"^[\x21-\x7e]*\Z", description="vLLM's --api-key")] = ""
    rank_api_key_file: Annotated[str, Meta(description="file with the --rank-api-key")] = ""
    rank_ca: Annotated[
        str, Meta(description="PEM file with the authorities that ranks on https are verified by; else the system's")
    ] = ""
    rank_cert: Annotated[str, Meta(description="PEM file with a certificate to show those ranks")] = ""
    rank_key: Annotated[str, Meta(description="PEM file with its key")] = ""
    ports: Annotated[str, Meta(description="PORT[-PORT][,...]: ports of this node that ranks are to listen on")] = ""
    npus: Annotated[int, Meta(ge=0, le=64, description="NPUs of this node whose links are looked at")] = 0
    npu_peer: Annotated[
        tuple[Annotated[str, Meta(pattern=r"^[0-9a-fA-F.:]+\Z")], ...],
        Meta(description="address of an NPU of another node, to be pinged from each of this one"),
    ] = ()
    within_s: Annotated[float, Meta(ge=0.1, le=600, description="how long a rank may take to answer")] = 30.0

    def __post_init__(self) -> None:
        """Raises ValueError naming the field."""
        known: dict[tuple[str, int], tuple[Role, Target]] = {}
        for role in Role:
            try:
                targets = self.targets(role)
            except TargetError as error:
                raise ValueError(f"{role}_ranks: {error}") from error
            for target in targets:
                other, first = known.setdefault(target.listener, (role, target))
                if other is not role:
                    raise ValueError(f"{role}_ranks: {first.name} is given as a {other} rank, too")
        try:
            self.ports_to_be  # noqa: B018
        except TargetError as error:
            raise ValueError(f"ports: {error}") from error
        if bool(self.rank_cert) != bool(self.rank_key):
            raise ValueError("rank_cert: certificate and key go together, and only one of them is given")
        if self.npu_peer and not self.npus:
            raise ValueError("npu_peer: say how many NPUs this node has, with --npus")

    def targets(self, role: Role) -> tuple[Target, ...]:
        """The ranks of a role that are named."""
        text: str = getattr(self, f"{role}_ranks")
        return parse_targets(text) if text else ()

    @property
    def ports_to_be(self) -> tuple[int, ...]:
        """The ports that ranks are to listen on."""
        return parse_ports(self.ports)
