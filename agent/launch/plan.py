"""From the options of a launch to the commands of its ranks; all that can be refused is refused here."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import msgspec

from agent.errors import LaunchError, TargetError
from agent.launch.devices import DeviceKind, node_devices
from agent.launch.node_look import address_towards, found_devices, refuse_taken_ports
from agent.launch.rank_command import Arguments, RankCommand, rank_commands
from agent.launch.settings import LaunchSettings
from agent.launch.template import Template, read_template
from agent.launch.template_text import TemplateFacts, argument_set, read_text
from agent.targets import parse_targets
from scheduler.endpoints import is_local
from scheduler.store_url import parse_store_url

NODE_ADDRESS = "NODE_ADDRESS"
"""Tells a template the address that gateways use for this node, unless the environment says another."""
_LOOPBACK = "127.0.0.1"


class LaunchPlan(msgspec.Struct, frozen=True, kw_only=True):
    """The ranks to start. `ranks` is what the agent attaches to; `dp_group` the name that they register with.

    `is_group`: they step together, and live and die together. `is_whole_group`: no other node has members of it, so
    that it may be begun anew from here.
    """

    commands: tuple[RankCommand, ...]
    ranks: str
    dp_group: str
    is_group: bool
    is_whole_group: bool
    log_dir: str
    settings: LaunchSettings


def make_plan(settings: LaunchSettings, redis: str, dp_group: str, environment: Mapping[str, str]) -> LaunchPlan:
    """The plan of a launch, after its checks; makes the folder for logs. Nothing is started.

    `dp_group` is the name asked for. Raises LaunchError and StoreUrlError.
    """
    template = read_template(settings.launch)
    facts = read_text(template.text)
    takes = argument_set(facts, settings.template_args, settings.launch)
    _refuse_dense_with_dp(settings, facts)
    is_group = facts.passes_dp and not settings.dense and settings.dp_size > 1
    if is_group and not settings.dp_address:
        raise LaunchError(f"--dp-address: template {template.path} starts members of a DP group, who need it")
    kind = _device_kind(settings, facts, by_local_rank=takes == "0.9.1" and not settings.dense)
    needed = settings.local_ranks * settings.tp_size
    arguments = Arguments(
        takes=takes,
        dp_address=settings.dp_address or _LOOPBACK,
        devices=node_devices(settings.devices, kind, environment, needed),
        is_alone=settings.dense,
    )
    has_rank_0 = is_group and settings.dp_rank_start == 0
    refuse_taken_ports((*settings.ports, settings.dp_rpc_port) if has_rank_0 else settings.ports)
    ranks, host = _ranks(settings, redis)
    log_dir = _log_dir(settings.log_dir)
    environment = {NODE_ADDRESS: host} | dict(environment)
    return LaunchPlan(
        commands=_commands(settings, arguments, template, environment, kind, log_dir),
        ranks=ranks,
        dp_group=dp_group or (_group_name(settings, host) if is_group else ""),
        is_group=is_group,
        is_whole_group=settings.is_whole_group,
        log_dir=log_dir,
        settings=settings,
    )


def _group_name(settings: LaunchSettings, host: str) -> str:
    """Where it finds together; nodes that each have a whole one at a loopback address have a group each."""
    address = host if settings.is_whole_group and is_local(settings.dp_address) else settings.dp_address
    return f"{address}:{settings.dp_rpc_port}"


def _ranks(settings: LaunchSettings, redis: str) -> tuple[str, str]:
    """The ranks as `--ranks` names them, and the node's address as it stands in a URL without its brackets."""
    host = (settings.rank_host or address_towards(parse_store_url(redis))).strip("[]")
    ranks = f"{f'[{host}]' if ':' in host else host}:{settings.ports[0]}-{settings.ports[-1]}"
    try:
        parse_targets(ranks)
    except TargetError as error:
        raise LaunchError(f"--rank-host {settings.rank_host}: {error}") from error
    return ranks, host


def _commands(
    settings: LaunchSettings,
    arguments: Arguments,
    template: Template,
    environment: Mapping[str, str],
    kind: DeviceKind,
    log_dir: str,
) -> tuple[RankCommand, ...]:
    return rank_commands(
        settings,
        arguments,
        program=template.program,
        folder=template.folder,
        environment=environment,
        device_kind=kind,
        log_dir=log_dir,
    )


def _refuse_dense_with_dp(settings: LaunchSettings, facts: TemplateFacts) -> None:
    """VLLM refuses --data-parallel-* for dense models, with a DP size of 1 too where a rank is named."""
    if settings.dense and facts.passes_dp and not facts.asks_dp_size:
        raise LaunchError(
            f"template {settings.launch}: it passes --data-parallel-*, which vLLM refuses for dense models; "
            'leave it out, or pass it only if the DP size is greater than 1, as in if [ "$3" -gt 1 ]'
        )


def _device_kind(settings: LaunchSettings, facts: TemplateFacts, *, by_local_rank: bool) -> DeviceKind:
    if settings.device_env != "auto":
        return settings.device_env
    if facts.sets_devices or (by_local_rank and not settings.devices):
        return "none"
    return found_devices()


def _log_dir(asked: str) -> str:
    folder = Path(asked).absolute()
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise LaunchError(f"--log-dir {asked}: {error.strerror}") from error
    return str(folder)
