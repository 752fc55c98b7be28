"""The stat logger is a distribution of its own: what vLLM needs of it, and what it needs itself."""

import ast
import subprocess
import sys
import tomllib
from importlib import import_module
from pathlib import Path

FOLDER = Path(__file__).parents[2] / "vllm_plugin"
PROJECT = tomllib.loads((FOLDER / "pyproject.toml").read_text())["project"]
OLDEST = (3, 10)


def modules() -> dict[str, str]:
    return {path.name: path.read_text() for path in (FOLDER / "forebay_stat_logger").glob("*.py")}


def test_vllm_finds_a_class_by_the_entry_point() -> None:
    module, _, name = PROJECT["entry-points"]["vllm.stat_logger_plugins"]["forebay"].partition(":")
    assert isinstance(getattr(import_module(module), name), type)


def test_it_needs_the_standard_library_alone_and_of_vllm_only_what_is_guarded() -> None:
    allowed = sys.stdlib_module_names | {"forebay_stat_logger"}
    needed = {
        (file, name.split(".")[0])
        for file, text in modules().items()
        for node in ast.walk(ast.parse(text))
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom)
            else []
        )
    }
    assert {pair for pair in needed if pair[1] not in allowed} == {("logger.py", "vllm")}
    assert PROJECT["dependencies"] == []


def test_it_can_be_imported_where_there_is_neither_vllm_nor_forebay() -> None:
    code = "import sys; sys.path[:0] = [sys.argv[1]]; import forebay_stat_logger.logger"
    subprocess.run([sys.executable, "-I", "-S", "-c", code, str(FOLDER)], check=True)


VLLM = """
import abc, sys, types
sys.path[:0] = [sys.argv[1]]
modules = [types.ModuleType(name) for name in ("vllm", "vllm.v1", "vllm.v1.metrics", "vllm.v1.metrics.loggers")]
sys.modules.update({module.__name__: module for module in modules})
"""


def run_with_vllm(code: str) -> None:
    subprocess.run([sys.executable, "-I", "-S", "-c", VLLM + code, str(FOLDER)], check=True)


def test_a_newer_vllm_that_wants_more_of_a_logger_still_starts() -> None:
    run_with_vllm(
        "class Base(abc.ABC):\n"
        "    @abc.abstractmethod\n"
        "    def record_colour(self): ...\n"
        "modules[-1].AggregateStatLoggerBase = Base\n"
        "from forebay_stat_logger.logger import ForebayStatLogger\n"
        "assert issubclass(ForebayStatLogger, Base)\n"
        "ForebayStatLogger(vllm_config=None, engine_indexes=[0]).record_colour()\n"
    )


def test_a_vllm_without_the_class_for_all_engines_cannot_load_it_and_so_leaves_it_out() -> None:
    run_with_vllm(
        "try:\n"
        "    import forebay_stat_logger.logger\n"
        "except ImportError: pass\n"
        "else: raise SystemExit('vLLM refuses to start with a class that is no stat logger')\n"
    )


def test_it_is_written_for_the_oldest_python_that_it_names() -> None:
    assert PROJECT["requires-python"] == ">=3.10"
    for text in modules().values():
        ast.parse(text, feature_version=OLDEST)


def test_it_comes_with_the_projects_licence() -> None:
    assert (FOLDER / "LICENSE").read_bytes() == (FOLDER.parent / "LICENSE").read_bytes()
    assert PROJECT["license"] == "Apache-2.0"
