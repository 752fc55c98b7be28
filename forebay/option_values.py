"""The text of an option or environment variable to a value of a settings field's type, checked by msgspec."""

from __future__ import annotations

import math
from collections.abc import Iterable
from enum import Enum
from typing import Annotated, Any, Literal, get_args, get_origin

import click
import msgspec


def bare(annotation: Any) -> Any:
    """The type without its metadata and without `| None`."""
    if get_origin(annotation) is Annotated:
        return bare(get_args(annotation)[0])
    others = [part for part in get_args(annotation) if part is not type(None)]
    return bare(others[0]) if len(others) == 1 and type(None) in get_args(annotation) else annotation


def choices(annotation: Any) -> list[str]:
    """The values an enum or a `Literal` admits; empty for other types."""
    kind = bare(annotation)
    if isinstance(kind, type) and issubclass(kind, Enum):
        return [str(member.value) for member in kind]
    return [str(value) for value in get_args(kind)] if get_origin(kind) is Literal else []


class Name(click.ParamType[str]):
    """A name to ask the store about, which takes none that is not UTF-8."""

    name = "text"

    def convert(self, value: str, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """Raises click.BadParameter."""
        try:
            value.encode()
        except UnicodeEncodeError:
            self.fail(f"{value!r} is not UTF-8", param, ctx)
        return value


class Scalar(click.ParamType[Any]):
    """One value of `annotation`, constraints of its `msgspec.Meta` included."""

    def __init__(self, annotation: Any) -> None:
        names = {int: "integer", float: "float"}
        self.annotation = annotation
        self.name = "|".join(choices(annotation)) or names.get(bare(annotation), "text")

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """As the help shows it: the choices, or what kind of value it is."""
        return f"[{self.name}]" if choices(self.annotation) else self.name.upper()

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Raises click.BadParameter; a default, which is a value already, passes."""
        if not isinstance(value, str):
            return value
        try:
            converted = msgspec.convert(value, self.annotation, strict=False)
        except msgspec.ValidationError as error:
            self.fail(self._complaint(value, str(error)), param, ctx)
        if isinstance(converted, float) and not math.isfinite(converted):
            self.fail(f"{value!r} is not a finite number", param, ctx)
        return converted

    def _complaint(self, value: str, reason: str) -> str:
        if admitted := choices(self.annotation):
            return f"{value!r} is not one of {', '.join(admitted)}"
        reason = reason.partition(", got ")[0].replace(" | null", "")
        reason = reason[:1].lower() + reason[1:]
        # A text may be a password or a URL with one in it.
        return reason if bare(self.annotation) is str else f"{value!r}: {reason}"


class Items(click.ParamType[tuple[Any, ...]]):
    """A comma list; each item a value of `annotation`. Converts to a tuple, which `joined` puts together."""

    envvar_list_splitter = ","

    def __init__(self, annotation: Any) -> None:
        self.item = Scalar(annotation)
        self.name = f"{self.item.name},..."

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """As the help shows it."""
        return f"{self.item.get_metavar(param, ctx)}[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Raises click.BadParameter for an item that is empty or not of the type."""
        if not isinstance(value, str):
            return (value,)
        texts = [text.strip() for text in value.split(",")]
        if "" in texts:
            self.fail("an item of the list is empty", param, ctx)
        return tuple(self.item.convert(text, param, ctx) for text in texts)


class Pairs(click.ParamType[tuple[Any, ...]]):
    """A comma list of `K=V`. Converts to pairs, which `joined` puts together."""

    name = "K=V"
    envvar_list_splitter = ","

    def get_metavar(self, param: click.Parameter, ctx: click.Context) -> str:
        """As the help shows it."""
        return "K=V[,...]"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> tuple[Any, ...]:
        """Raises click.BadParameter where a key or the equals sign is missing."""
        if not isinstance(value, str):
            return (value,)
        pairs = [text.strip().partition("=") for text in value.split(",")]
        if any(not key or not equals for key, equals, _ in pairs):
            self.fail("expected K=V", param, ctx)
        return tuple((key, text) for key, _, text in pairs)


def joined(values: Iterable[tuple[Any, ...]]) -> tuple[Any, ...]:
    """What a repeated option was given, as one tuple."""
    return tuple(item for value in values for item in value)
