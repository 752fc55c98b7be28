"""No option of any command takes a number beyond all sense; each is refused by name before anything starts."""

import os

import click
import pytest
from click.testing import CliRunner, Result

from forebay.main import main
from forebay.option_values import Items, Scalar, bare

TOO_MUCH = ["-1", "-1e23", "1e23", "1" + 23 * "0", str(2**63), "-" + "9" * 400, "9" * 5_000, "1e309"]
NO_NUMBERS = ["nan", "inf", "-inf", "-nan", "Infinity"]
REQUIRED = {
    "FOREBAY_REDIS": "redis://127.0.0.1:1",
    "FOREBAY_MODEL": "m",
    "FOREBAY_ROLE": "mixed",
    "FOREBAY_RANKS": "h:1",
}
LAST = "so-that-nothing-starts-if-the-value-passes"


def is_a_number(parameter: click.Parameter) -> bool:
    kind = parameter.type.item if isinstance(parameter.type, Items) else parameter.type
    if isinstance(kind, Scalar):
        return bare(kind.annotation) in {int, float}
    return isinstance(kind, (click.types.IntParamType, click.types.FloatParamType))


def numbers(group: click.Group) -> list[tuple[str, click.Option]]:
    """All numeric options, each with the words before it: those of the group itself have none."""
    context = click.Context(group)
    found = [("", parameter) for parameter in group.params]
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += [(name, parameter) for parameter in command.params]
    return [(name, each) for name, each in found if isinstance(each, click.Option) and is_a_number(each)]


NUMBERS = numbers(main)
NAMES = ("command", "option")


def name_of(value: str | click.Option) -> str:
    return value if isinstance(value, str) else value.opts[0]


def run(*arguments: str, **variables: str) -> Result:
    ours = {name: None for name in os.environ if name.startswith("FOREBAY_")}
    return CliRunner().invoke(main, arguments, env={**ours, **REQUIRED, **variables})


def is_refused_by_name(result: Result, option: click.Option) -> bool:
    errors = [line for line in result.output.splitlines() if line.startswith("Error: ")]
    return result.exit_code == 2 and len(errors) == 1 and f"'{option.opts[0]}'" in errors[0]


def senseless(option: click.Option) -> list[str]:
    """To launch_online_dp.py -1 local ranks are all there are."""
    values = [*TOO_MUCH, *NO_NUMBERS, "-0.001"]
    return [value for value in values if (value, option.opts[0]) != ("-1", "--dp-size-local")]


def test_there_are_numbers_to_look_at() -> None:
    assert len(NUMBERS) > 30


@pytest.mark.parametrize(NAMES, NUMBERS, ids=name_of)
def test_a_number_beyond_all_sense_is_refused_by_name(command: str, option: click.Option) -> None:
    for value in senseless(option):
        result = run(*command.split(), option.opts[0], value, LAST)
        assert is_refused_by_name(result, option), f"{value[:40]}: {result.output}{result.exception!r}"


@pytest.mark.parametrize(NAMES, [each for each in NUMBERS if each[1].envvar], ids=name_of)
def test_a_variable_beyond_all_sense_is_refused_by_name(command: str, option: click.Option) -> None:
    for value in senseless(option):
        result = run(*command.split(), LAST, **{str(option.envvar): value})
        assert is_refused_by_name(result, option), f"{value[:40]}: {result.output}{result.exception!r}"


@pytest.mark.parametrize(NAMES, [each for each in NUMBERS if "port" in each[1].opts[0].split("-")], ids=name_of)
def test_a_port_is_at_most_65535(command: str, option: click.Option) -> None:
    assert is_refused_by_name(run(command, option.opts[0], "65536", LAST), option)


@pytest.mark.parametrize(
    ("arguments", "option"),
    [
        ("agent --ranks h:99999", "--ranks"),
        ("agent --ranks h:1-99999", "--ranks"),
        ("gateway --advertise h:99999", "--advertise"),
        ("gateway --advertise h", "--advertise"),
        ("gateway --advertise ::1:8000", "--advertise"),
        ("up --mixed 1000000", "--mixed"),
        ("gateway --workers 1e23", "--workers"),
        ("rank --kv-blocks 1e23", "--kv-blocks"),
    ],
)
def test_a_command_refuses_it_in_one_line(arguments: str, option: str) -> None:
    result = run(*arguments.split())
    assert result.exit_code == 2
    complaint = result.output.splitlines()[-1]
    assert f"'{option}'" in complaint
    assert "$" not in complaint, "a path inside the settings means nothing to a user"
