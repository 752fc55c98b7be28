"""Command-line options from settings: a frozen msgspec struct describes a command's options, alone.

A field `lease_ms: Annotated[int, Meta(ge=1, description="how long ...")] = 2000` becomes the option
`--lease-ms`, the environment variable `FOREBAY_LEASE_MS` and a line of help. A `bool` is a pair of flags,
`--x/--no-x`, or `--x/--y` with `Meta(extra={"off": "y"})`. A tuple's option may be repeated or take a comma list; a
dict's takes `K=V`, each K once. The fields of a struct inside the struct are options as well. Whatever is refused, by
type, by range or by the struct itself, is a usage error (exit 2) that names the option.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from enum import Enum
from typing import Any, get_args, get_origin

import click
import msgspec
from msgspec.structs import FieldInfo

from forebay.option_values import Items, Pairs, Scalar, bare, joined

ENVIRONMENT_PREFIX = "FOREBAY_"

Command = Callable[..., None]


def settings_options(
    settings_type: type[msgspec.Struct], prefix: str = ENVIRONMENT_PREFIX
) -> Callable[[Command], Command]:
    """Give a command the options of `settings_type`; it is called with the parsed `settings`.

    `prefix` is that of the environment variables. What the struct's own `__post_init__` raises is a usage error too; a
    message that starts with a field's name and a colon names that option.
    """

    def decorate(command: Command) -> Command:
        def run(**given: Any) -> None:
            values = _take_values(settings_type, given)
            try:
                settings = msgspec.convert(values, settings_type)
            except ValueError as error:
                raise _refusal(settings_type, prefix, str(error)) from error
            command(settings=settings, **given)

        decorated: Command = functools.update_wrapper(run, command)
        for field in reversed(list(_leaves(settings_type))):
            decorated = _option(field, prefix)(decorated)
        return decorated

    return decorate


def _leaves(settings_type: type[msgspec.Struct]) -> Iterator[FieldInfo]:
    """The fields that are options: all of them, and in place of a struct the fields inside."""
    for field in msgspec.structs.fields(settings_type):
        if nested := _nested(field):
            yield from _leaves(nested)
        else:
            yield field


def option_names(settings_type: type[msgspec.Struct]) -> list[str]:
    """The fields that are options of a command with these settings."""
    return [field.name for field in _leaves(settings_type)]


def _nested(field: FieldInfo) -> type[msgspec.Struct] | None:
    kind = bare(field.type)
    return kind if isinstance(kind, type) and issubclass(kind, msgspec.Struct) else None


def _take_values(settings_type: type[msgspec.Struct], given: dict[str, Any]) -> dict[str, Any]:
    """Move what the options of `settings_type` were given out of `given`, into the shape of the struct."""
    return {
        field.name: _take_values(nested, given) if (nested := _nested(field)) else given.pop(field.name)
        for field in msgspec.structs.fields(settings_type)
    }


def _refusal(settings_type: type[msgspec.Struct], prefix: str, message: str) -> click.UsageError:
    said = message.partition(" - at `$")[0]  # msgspec names the struct inside, which is no word of the command line
    name, colon, reason = said.partition(": ")
    if colon and name in {field.name for field in _leaves(settings_type)}:
        return click.BadParameter(reason, param_hint=f"'{_flag(name)}' (env var: '{variable(name, prefix)}')")
    return click.UsageError(said)


def _option(field: FieldInfo, prefix: str) -> Callable[[Command], Command]:
    kind = bare(field.type)
    flag = _flag(field.name)
    attributes: dict[str, Any] = {
        "envvar": variable(field.name, prefix),
        "show_envvar": True,
        "help": _description(field.type),
        "required": field.required,
    }
    if not field.required:
        default = _default(field)
        attributes |= {"default": default, "show_default": default not in (None, "", ())}
    if kind is bool:
        flag = f"{flag}/--{_off(field.type) or 'no-' + flag[2:]}"
    elif get_origin(kind) is tuple:
        attributes |= {"type": Items(get_args(kind)[0]), "multiple": True, "callback": _joined}
    elif get_origin(kind) is dict:
        attributes |= {"type": Pairs(), "multiple": True, "callback": _joined_pairs}
    else:
        attributes["type"] = Scalar(field.type)
    return click.option(flag, field.name, **attributes)


def _joined(_ctx: click.Context, _param: click.Parameter, values: Any) -> tuple[Any, ...]:
    return joined(values)


def _joined_pairs(ctx: click.Context, param: click.Parameter, values: Any) -> dict[str, str]:
    pairs = joined(values)
    keys = [key for key, _ in pairs]
    for key in keys:
        if keys.count(key) > 1:
            raise click.BadParameter(f"{key!r} is given twice", ctx, param)
    return dict(pairs)


def _default(field: FieldInfo) -> Any:
    """The default as click takes it: an enum's member by value, a dict as its pairs."""
    default = field.default if field.default_factory is msgspec.NODEFAULT else field.default_factory()
    if isinstance(default, dict):
        return tuple(default.items())
    return default.value if isinstance(default, Enum) else default


def _flag(name: str) -> str:
    return "--" + name.replace("_", "-")


def variables_of(settings: msgspec.Struct) -> dict[str, str]:
    """The environment variables from which a command without arguments builds the same settings.

    All of them, so that nothing else in the environment shows through; an empty one stands for the default.
    """
    found: dict[str, str] = {}
    for field in msgspec.structs.fields(settings):
        value = getattr(settings, field.name)
        found |= variables_of(value) if isinstance(value, msgspec.Struct) else {variable(field.name): _text(value)}
    return found


def _text(value: Any) -> str:
    if isinstance(value, dict):
        value = tuple(f"{key}={each}" for key, each in value.items())
    if isinstance(value, tuple):
        return ",".join(map(str, value))
    return "" if value is None else str(value)


def variable(name: str, prefix: str = ENVIRONMENT_PREFIX) -> str:
    """The environment variable of a settings field."""
    return prefix + name.upper()


def _description(annotation: Any) -> str | None:
    return next((meta.description for meta in _metas(annotation) if meta.description), None)


def _off(annotation: Any) -> str | None:
    """The name of the flag that turns a `bool` off, where it has one of its own."""
    return next((meta.extra["off"] for meta in _metas(annotation) if meta.extra and "off" in meta.extra), None)


def _metas(annotation: Any) -> list[msgspec.Meta]:
    return [part for part in get_args(annotation)[1:] if isinstance(part, msgspec.Meta)]
