"""How an operator says which ranks a command is about: RANK, `--dp-group` or `--node`."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import click

from forebay.option_values import Name
from scheduler.draining import Selection

Command = Callable[..., None]


def selection_options(command: Command) -> Command:
    """Give a command these options; it is called with the `selection`.

    None of them is read from the environment, where an agent's `FOREBAY_NODE` may be.
    """

    def run(rank: str | None, dp_group: str | None, node: str | None, **given: Any) -> None:
        named = {key: name for key, name in (("rank", rank), ("dp_group", dp_group), ("node", node)) if name}
        if not named:
            raise click.UsageError("Missing argument 'RANK', or --dp-group or --node.")
        if len(named) > 1:
            raise click.UsageError("Only one of RANK, --dp-group and --node can be meant.")
        command(selection=Selection(**named), **given)

    decorated: Command = functools.update_wrapper(run, command)
    decorated = click.option("--node", type=Name(), help="All ranks of this node instead of one rank.")(decorated)
    decorated = click.option("--dp-group", type=Name(), help="All ranks of this DP group, on all nodes.")(decorated)
    return click.argument("rank", type=Name(), required=False)(decorated)
