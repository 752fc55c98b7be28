"""The command line and the environment as settings see them."""

from enum import StrEnum
from typing import Annotated, Literal

import click
import msgspec
import pytest
from click.testing import CliRunner
from msgspec import Meta

from forebay.options import settings_options, variables_of

PASSWORD = "hunter2-hunter2"


class Colour(StrEnum):
    RED = "red"
    BLUE = "blue"


class Lease(msgspec.Struct, frozen=True, kw_only=True):
    lease_ms: Annotated[int, Meta(ge=1, description="how long a lease runs")] = 2000


class Example(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    redis: Annotated[str, Meta(min_length=3, description="URL of the store")]
    port: Annotated[int, Meta(ge=0, le=65535, description="port to listen on")] = 8000
    speed: Annotated[float, Meta(gt=0)] = 1.0
    colour: Colour = Colour.RED
    kind: Literal["x", "y"] = "x"
    explain: bool = False
    strict: Annotated[bool, Meta(extra={"off": "faithful"})] = False
    key: Annotated[tuple[str, ...], Meta(description="keys of clients")] = ()
    sizes: tuple[int, ...] = (1, 2)
    label: dict[str, str] = {}
    seqs: Annotated[int, Meta(ge=1)] | None = None
    lease: Lease = Lease()

    def __post_init__(self) -> None:
        if self.port == 13:
            raise ValueError("port: 13 is unlucky")
        if self.port == 14:
            raise ValueError("14 is not much better")


class Outcome:
    """What one call of the command came to."""

    def __init__(self, *arguments: str, **variables: str) -> None:
        self.settings: Example | None = None

        @click.command()
        @settings_options(Example)
        def command(settings: Example) -> None:
            self.settings = settings

        result = CliRunner().invoke(command, arguments, env={f"FOREBAY_{k}": v for k, v in variables.items()})
        self.code = result.exit_code
        self.output = result.output


def test_what_is_not_given_has_the_structs_default() -> None:
    assert Outcome("--redis", "redis://x").settings == Example(redis="redis://x")


def test_every_kind_of_field_is_read_from_the_command_line() -> None:
    words = "--redis redis://x --port 1 --speed 2.5 --colour blue --kind y --explain --seqs 3 --lease-ms 50"
    lists = "--key a,b --key c --sizes 5,6 --label zone=a --label rack=1,host=h=1"
    assert Outcome(*words.split(), *lists.split()).settings == Example(
        redis="redis://x",
        port=1,
        speed=2.5,
        colour=Colour.BLUE,
        kind="y",
        explain=True,
        key=("a", "b", "c"),
        sizes=(5, 6),
        label={"zone": "a", "rack": "1", "host": "h=1"},
        seqs=3,
        lease=Lease(lease_ms=50),
    )


def test_every_kind_of_field_is_read_from_the_environment() -> None:
    outcome = Outcome(
        REDIS="redis://x", PORT="1", EXPLAIN="true", KEY="a,b", SIZES="7", LABEL="zone=a,rack=1", LEASE_MS="50"
    )
    assert outcome.settings == Example(
        redis="redis://x",
        port=1,
        explain=True,
        key=("a", "b"),
        sizes=(7,),
        label={"zone": "a", "rack": "1"},
        lease=Lease(lease_ms=50),
    )


def test_the_command_line_wins_over_the_environment() -> None:
    outcome = Outcome("--port", "1", "--no-explain", REDIS="redis://x", PORT="2", EXPLAIN="1")
    assert outcome.settings == Example(redis="redis://x", port=1)


def test_a_flag_may_have_a_name_for_its_opposite() -> None:
    for flag, strict in (("--strict", True), ("--faithful", False)):
        assert Outcome(flag, REDIS="redis://x").settings == Example(redis="redis://x", strict=strict)
    assert Outcome("--no-strict", REDIS="redis://x").code == 2


def test_an_empty_variable_is_one_that_is_not_set() -> None:
    assert Outcome(REDIS="redis://x", PORT="", KEY="", LABEL="").settings == Example(redis="redis://x")


@pytest.mark.parametrize(
    ("arguments", "named"),
    [
        pytest.param(
            ["--port", "65536"], "'--port' (env var: 'FOREBAY_PORT'): '65536': expected `int` <= 65535", id="range"
        ),
        pytest.param(["--port", "http"], "'--port' (env var: 'FOREBAY_PORT'): 'http': expected `int`", id="no-number"),
        pytest.param(["--speed", "0"], "'--speed' (env var: 'FOREBAY_SPEED'): '0': expected `float` > 0.0", id="zero"),
        pytest.param(["--speed", "inf"], "'inf' is not a finite number", id="infinite"),
        pytest.param(["--colour", "pink"], "'pink' is not one of red, blue", id="enum"),
        pytest.param(["--kind", "z"], "'z' is not one of x, y", id="literal"),
        pytest.param(["--sizes", "1,b"], "'--sizes' (env var: 'FOREBAY_SIZES'): 'b': expected `int`", id="item"),
        pytest.param(
            ["--sizes", "1,,2"], "'--sizes' (env var: 'FOREBAY_SIZES'): an item of the list is empty", id="gap"
        ),
        pytest.param(["--label", "zone"], "'--label' (env var: 'FOREBAY_LABEL'): expected K=V", id="pair"),
        pytest.param(["--label", "a=1,b=2", "--label", "a=1"], "'a' is given twice", id="pair-twice"),
        pytest.param(["--seqs", "0"], "'--seqs' (env var: 'FOREBAY_SEQS'): '0': expected `int` >= 1", id="optional"),
        pytest.param(["--lease-ms", "0"], "'--lease-ms' (env var: 'FOREBAY_LEASE_MS')", id="nested"),
        pytest.param(["--port", "13"], "'--port' (env var: 'FOREBAY_PORT'): 13 is unlucky", id="struct-names-field"),
        pytest.param(["--port", "14"], "Error: 14 is not much better", id="struct"),
        pytest.param(["--prot", "1"], "No such option '--prot'", id="unknown"),
        pytest.param(["extra"], "unexpected extra argument", id="argument"),
    ],
)
def test_a_bad_option_is_named_and_ends_with_2(arguments: list[str], named: str) -> None:
    outcome = Outcome("--redis", "redis://x", *arguments)
    assert outcome.code == 2
    assert named in outcome.output
    assert outcome.settings is None


def test_a_bad_variable_is_named_and_ends_with_2() -> None:
    outcome = Outcome(REDIS="redis://x", SIZES="1,b")
    assert outcome.code == 2
    assert "FOREBAY_SIZES" in outcome.output


def test_settings_turned_into_variables_are_read_back_as_the_same_settings() -> None:
    settings = Example(
        redis="redis://x",
        colour=Colour.BLUE,
        explain=True,
        key=("a", "b"),
        label={"zone": "a", "rack": "1"},
        lease=Lease(lease_ms=50),
    )
    variables = {name.removeprefix("FOREBAY_"): value for name, value in variables_of(settings).items()}
    assert Outcome(**variables).settings == settings
    assert set(variables) == {
        "REDIS",
        "PORT",
        "SPEED",
        "COLOUR",
        "KIND",
        "EXPLAIN",
        "STRICT",
        "KEY",
        "SIZES",
        "LABEL",
        "SEQS",
        "LEASE_MS",
    }


def test_a_missing_option_is_named_with_its_variable() -> None:
    outcome = Outcome()
    assert outcome.code == 2
    assert "Missing option '--redis' (env var: 'FOREBAY_REDIS')" in outcome.output


def test_the_help_has_description_variable_and_default() -> None:
    output = " ".join(Outcome("--help").output.split())
    assert "--port INTEGER port to listen on [env var: FOREBAY_PORT; default: 8000]" in output
    assert "--redis TEXT URL of the store [env var: FOREBAY_REDIS; required]" in output
    assert "--lease-ms INTEGER how long a lease runs [env var: FOREBAY_LEASE_MS; default: 2000]" in output
    assert "--key TEXT[,...] keys of clients [env var: FOREBAY_KEY]" in output
    assert "[red|blue]" in output


def test_a_secret_is_repeated_neither_in_the_help_nor_in_an_error() -> None:
    assert PASSWORD not in Outcome("--help", REDIS=f"redis://:{PASSWORD}@x", KEY=PASSWORD).output
    refused = Outcome("--port", "x", REDIS=f"redis://:{PASSWORD}@x", KEY=PASSWORD)
    assert refused.code == 2
    assert PASSWORD not in refused.output
    refused = Outcome("--redis", "x", "--key", f"{PASSWORD},,")
    assert refused.code == 2
    assert PASSWORD not in refused.output
