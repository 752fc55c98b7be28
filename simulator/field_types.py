"""The types a field of a request may have, and what pydantic says of a value that is of another one. Pure."""

from __future__ import annotations

import math
from typing import Any, Final

from simulator.api_errors import Problem, problem

_LARGEST_FLOAT: Final = 1.7976931348623157e308


def string(value: Any, loc: str) -> list[Problem]:
    """A string. One with a lone surrogate cannot come back in an answer: vLLM takes some of these and then fails."""
    text = "Input should be a valid string"
    if not isinstance(value, str):
        return [problem("string_type", loc, text, value)]
    if value.isascii() or not any("\ud800" <= char <= "\udfff" for char in value):
        return []
    return [problem("string_unicode", loc, f"{text}, unable to parse raw data as a unicode string", value)]


def boolean(value: Any, loc: str) -> list[Problem]:
    """true or false."""
    text = "Input should be a valid boolean"
    if isinstance(value, bool):
        return []
    if isinstance(value, str | int):
        return [problem("bool_parsing", loc, f"{text}, unable to interpret input", value)]
    return [problem("bool_type", loc, text, value)]


def integer(value: Any, loc: str) -> list[Problem]:
    """A whole number."""
    text = "Input should be a valid integer"
    if isinstance(value, str):
        return [problem("int_parsing", loc, f"{text}, unable to parse string as an integer", value)]
    if isinstance(value, float) and not math.isfinite(value):
        return [problem("finite_number", loc, "Input should be a finite number", value)]
    if isinstance(value, float) and not value.is_integer():
        return [problem("int_from_float", loc, f"{text}, got a number with a fractional part", value)]
    return [] if isinstance(value, int | float) else [problem("int_type", loc, text, value)]


def number(value: Any, loc: str) -> list[Problem]:
    """Any number a float can hold, NaN and the infinities too."""
    text = "Input should be a valid number"
    if isinstance(value, str):
        return [problem("float_parsing", loc, f"{text}, unable to parse string as a number", value)]
    fits = isinstance(value, float) or (isinstance(value, int) and abs(value) <= _LARGEST_FLOAT)
    return [] if fits else [problem("float_type", loc, text, value)]


def mapping(value: Any, loc: str) -> list[Problem]:
    """An object."""
    return [] if isinstance(value, dict) else [problem("dict_type", loc, "Input should be a valid dictionary", value)]


def objects(value: Any, loc: str) -> list[Problem]:
    """A list of objects."""
    if not isinstance(value, list):
        return [problem("list_type", loc, "Input should be a valid list", value)]
    return [found for at, item in enumerate(value) for found in mapping(item, f"{loc}.{at}")]


def one_or_many_strings(value: Any, loc: str) -> list[Problem]:
    """A string or a list of strings."""
    if isinstance(value, list):
        return [found for at, item in enumerate(value) for found in string(item, f"{loc}.{at}")]
    if isinstance(value, str):
        return []
    return [*string(value, loc), problem("list_type", loc, "Input should be a valid list", value)]


def whole_numbers(values: list[Any]) -> list[int]:
    """What `integers` finds nothing wrong with; like pydantic it takes 2.0 and true for whole numbers."""
    return list(map(int, values))


def integers(value: Any, loc: str) -> list[Problem]:
    """A list of whole numbers."""
    if not isinstance(value, list):
        return [problem("list_type", loc, "Input should be a valid list", value)]
    return [found for at, item in enumerate(value) for found in integer(item, f"{loc}.{at}")]
