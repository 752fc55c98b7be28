"""The environment variables that Forebay knows: those of its commands' options."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

import click

from forebay.options import ENVIRONMENT_PREFIX


def refuse_unknown_variables(group: click.Group, ctx: click.Context, names: Iterable[str]) -> None:
    """Raise click.UsageError for a name with our prefix that is no command's option: it would do nothing.

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
    return {str(param.envvar) for param in command.params if param.envvar}
