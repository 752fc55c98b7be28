"""Refuses environment variables with our prefix that are no option's: misspelt, they would do nothing."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

from forebay.options import ENVIRONMENT_PREFIX


def refuse_unknown_variables(group: click.Group, ctx: click.Context, names: Iterable[str]) -> None:
    """Raise click.UsageError for one of `names` that is no option of any command, with the likeliest one that is.

    A variable of another command passes, since processes share environments.
    """
    known = _variables(group)
    unknown = {name for name in names if name.startswith(ENVIRONMENT_PREFIX)} - known
    # The invoked command first: as a rule it knows them all, and then no other has to be imported.
    for command_name in (ctx.invoked_subcommand or "", *group.list_commands(ctx)):
        if not unknown:
            return
        command = group.get_command(ctx, command_name)
        known |= _variables(command) if command else set()
        unknown -= known
    if unknown:
        name = min(unknown)
        closest = difflib.get_close_matches(name, known, n=1)
        hint = f" Did you mean {closest[0]}?" if closest else ""
        raise click.UsageError(f"No such environment variable: {name} is no option's.{hint}")


def _variables(command: click.Command) -> set[str]:
    own = {str(param.envvar) for param in command.params if param.envvar}
    inner = command.commands.values() if isinstance(command, click.Group) else ()
    return own.union(*map(_variables, inner))
