"""The options of `forebay key` that say what a key may."""

from __future__ import annotations

import functools
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import click
import msgspec

from forebay.option_values import Name
from scheduler.api_keys import ApiKey
from scheduler.limit_rule import MOST

NEVER = "never"
ALL = "all"

LIMITS = {
    "requests_per_minute": "Requests a minute, over all gateways",
    "tokens_per_minute": "Tokens a minute, of prompts and answers",
    "requests_at_once": "Requests that may run at a time",
}

Command = Callable[..., None]

name_option = click.option(
    "--name", required=True, type=Name(), help="What it is called in log and metrics: letters, digits, . _ -"
)


class When(click.ParamType[datetime | str]):
    """A date, or a time of a day; UTC unless it says otherwise."""

    name = "date"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> datetime | str:
        """Raises click.BadParameter."""
        if value == NEVER:
            return NEVER
        try:
            when = datetime.fromisoformat(value)
        except ValueError:
            self.fail(f"{value!r} is not a date such as 2027-01-31 or 2027-01-31T18:00+01:00", param, ctx)
        return when if when.tzinfo else when.replace(tzinfo=UTC)


def key_options(command: Command) -> Command:
    """Give a command these options; it is called with the fields of an ApiKey that were named."""

    @functools.wraps(command)
    def run(expires: datetime | str | None, model: tuple[str, ...], **given: Any) -> None:
        fields = {name: value for name, value in given.items() if name not in LIMITS or value is not None}
        if expires is not None:
            fields["expires"] = None if expires == NEVER else expires
        if model:
            fields["models"] = () if model == (ALL,) else tuple(dict.fromkeys(model))
        command(**fields)

    decorated: Command = run
    for name, text in reversed(LIMITS.items()):
        flag = "--" + name.replace("_", "-")
        decorated = click.option(flag, name, type=click.IntRange(0, MOST), help=f"{text}; 0 for no limit.")(decorated)
    models = click.option("--model", type=Name(), multiple=True, help="A model it may use, or `all`; may be repeated.")
    return click.option("--expires", type=When(), help="From when on it is refused (UTC), or `never`.")(
        models(decorated)
    )


def parsed(**fields: object) -> ApiKey:
    """A key of these fields. Raises click.UsageError naming the one that is wrong."""
    try:
        return msgspec.convert(fields, ApiKey)
    except msgspec.ValidationError as error:
        reason, _, where = str(error).partition(" - at `$.")
        if where.startswith("name"):
            raise click.UsageError(
                "a name has up to 64 letters, digits and . _ -, and begins with a letter or a digit"
            ) from error
        raise click.UsageError(f"{where.rstrip('`')}: {reason}") from error
