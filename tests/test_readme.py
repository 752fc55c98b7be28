"""What the README, ARCHITECTURE.md and docs/ name exists: commands, options, variables, targets, modules, files."""

import re
import shlex
from collections import defaultdict
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from forebay.main import main
from tests import house_rules

ROOT = Path(__file__).parent.parent
README = (ROOT / "README.md").read_text()
ARCHITECTURE = (ROOT / "ARCHITECTURE.md").read_text()

PAGES = ["README.md", "README.zh-CN.md", "ARCHITECTURE.md", "CHANGELOG.md"]
PAGES += sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))


def shell_lines(page: str) -> list[str]:
    return [
        line.strip()
        for block in re.findall(r"^```sh\n(.*?)^```$", (ROOT / page).read_text(), re.MULTILINE | re.DOTALL)
        for line in block.replace("\\\n", " ").splitlines()
    ]


SHELL_LINES = shell_lines("README.md")


def commands() -> dict[str, click.Command]:
    context = click.Context(main)
    found = {name: main.get_command(context, name) for name in main.list_commands(context)}
    shown = {name: command for name, command in found.items() if command is not None and not command.hidden}
    groups = {name: group.commands for name, group in shown.items() if isinstance(group, click.Group)}
    return shown | {f"{name} {inner}": one for name, commands in groups.items() for inner, one in commands.items()}


def named_in(line: list[str]) -> click.Command:
    """The command that a line of the README calls."""
    known = commands()
    return known.get(" ".join(line[1:3])) or known[line[1]]


def options(command: click.Command) -> dict[str, click.Option]:
    return {
        parameter.opts[0]: parameter
        for parameter in command.params
        if isinstance(parameter, click.Option) and parameter.envvar
    }


def flags(command: click.Command) -> set[str]:
    return {flag for parameter in command.params for flag in parameter.opts}


def forebay_lines(page: str) -> list[list[str]]:
    """Those that call it, without variables that they set and what is before it in a container."""
    called = [re.match(r"(?:docker compose exec gateway |\w+=\S+ +)*(forebay .*)", line) for line in shell_lines(page)]
    return [shlex.split(line[1], comments=True) for line in called if line]


def test_the_readme_opens_with_the_two_commands() -> None:
    assert SHELL_LINES[:2] == ["make run", "make test"]


def test_both_languages_open_with_the_same_commands() -> None:
    assert shell_lines("README.zh-CN.md")[:2] == SHELL_LINES[:2]
    assert {line for line in shell_lines("README.zh-CN.md") if line.startswith("vllm")} <= set(SHELL_LINES)


def test_ci_runs_the_readmes_test_command_verbatim() -> None:
    assert (ROOT / ".ci/run").read_text().splitlines()[-1] == SHELL_LINES[1]


@pytest.mark.parametrize("page", PAGES)
def test_every_linked_file_exists(page: str) -> None:
    path = ROOT / page
    links = re.findall(r"\]\(([^)#]+)[^)]*\)", path.read_text())
    assert [link for link in links if "://" not in link and not (path.parent / link).exists()] == []


def test_every_make_target_named_exists() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"\bmake ([a-z]+(?:-[a-z]+)*)", README)) <= targets
    assert {"run", "test", "check", "mutants", "test-vllm", "help"} <= targets


def test_the_readme_shows_the_commands_that_operators_need() -> None:
    assert {line[1] for line in forebay_lines("README.md")} >= {"gateway", "agent", "status", "drain", "undrain", "key"}


@pytest.mark.parametrize("page", PAGES)
def test_every_command_shown_exists_with_its_options(page: str) -> None:
    for line in forebay_lines(page):
        shown = {word for word in line if word.startswith("--")}
        assert shown <= flags(named_in(line)), shlex.join(line)


@pytest.mark.parametrize("name", sorted(commands()))
def test_every_command_explains_itself(name: str) -> None:
    result = CliRunner().invoke(main, [*name.split(), "--help"])
    assert result.exit_code == 0, result.output


def test_each_row_of_the_settings_table_names_the_commands_that_have_the_option() -> None:
    used_by: dict[tuple[str, str], set[str]] = defaultdict(set)
    for name, command in commands().items():
        for flag, option in options(command).items():
            used_by[str(option.envvar), flag].add(name.split()[0])
    row = re.compile(r"^\| `(FOREBAY_\w+)` \| `(--[\w-]+)` \| ([\w, ]+) \| .+ \|$", re.MULTILINE)
    table = {(variable, flag): set(names.split(", ")) for variable, flag, names in row.findall(README)}
    assert len(table) == README.count("\n| `FOREBAY_")
    assert table == {key: used_by[key] for key in table}


def test_a_variable_takes_the_same_values_for_every_command_that_reads_it() -> None:
    kinds: dict[str, set[tuple[str, ...]]] = defaultdict(set)
    for command in commands().values():
        for option in options(command).values():
            kinds[str(option.envvar)].add(tuple(sorted(option.type.name.split("|"))))
    assert {variable: kind for variable, kind in kinds.items() if len(kind) > 1} == {}


def test_the_architecture_page_lists_every_module_and_nothing_else() -> None:
    modules = {
        path.relative_to(ROOT).as_posix()
        for package in (*house_rules.PACKAGES, *house_rules.OWN_DISTRIBUTIONS)
        for suffix in ("*.py", "*.lua")
        for path in (ROOT / package).rglob(suffix)
        if path.name != "__init__.py"
    }
    listed = [
        folder + name
        for folder, section in re.findall(r"^### (\w+/)\n(.*?)(?=^###|\Z)", ARCHITECTURE, re.MULTILINE | re.DOTALL)
        for name in re.findall(r"^- `([\w/.]+)`: \S", section, re.MULTILINE)
    ]
    assert sorted(listed) == sorted(modules)


def test_the_architecture_page_names_no_file_that_is_not_there() -> None:
    files = [
        path.relative_to(ROOT).as_posix()
        for folder in (*house_rules.PACKAGES, *house_rules.OWN_DISTRIBUTIONS, "tests")
        for path in (ROOT / folder).rglob("*.*")
    ]
    named = re.findall(r"`([\w/]+\.(?:py|lua))`", ARCHITECTURE)
    assert [name for name in named if not any(f"/{file}".endswith(f"/{name}") for file in files)] == []
