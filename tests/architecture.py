"""The rules of ARCHITECTURE.md as a checker over a source tree: what breaks a rule, and where."""

import ast
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from tests.house_rules import (
    CHANCE_AS_ARGUMENT,
    HTTP_LIBRARIES,
    IMPURE_CALLS,
    IMPURE_LIBRARIES,
    LONG_FILES,
    MAX_FILE_LINES,
    MAX_FUNCTION_LINES,
    MAX_SCRIPT_LINES,
    MAY_IMPORT,
    MERE_VALUES,
    MUTABLE_MAKERS,
    ONLY_IN,
    OWN_DISTRIBUTIONS,
    PACKAGES,
    PURE,
    PURE_FOLDERS,
    SANS_IO_LIBRARIES,
)


class Violation(NamedTuple):
    """One broken rule."""

    path: str
    line: int
    rule: str

    def __str__(self) -> str:
        """As an editor can jump to it."""
        return f"{self.path}:{self.line}: {self.rule}"


class Module(NamedTuple):
    """One parsed source file; `path` is relative to the tree's root, with forward slashes."""

    path: str
    text: str
    tree: ast.Module
    pure: frozenset[str]
    """The paths of all modules of the tree that say they are pure."""

    @property
    def package(self) -> str:
        """The top-level package the file belongs to."""
        return self.path.split("/", 1)[0]


def check(root: Path) -> list[Violation]:
    """Every broken rule in the product packages under `root`, by file and line."""
    found: list[Violation] = []
    for module in modules(root):
        for rule in RULES:
            found.extend(Violation(module.path, line, message) for line, message in rule(module))
    for file in _product_files(root, ".lua"):
        path = file.relative_to(root).as_posix()
        found.extend(Violation(path, line, message) for line, message in _script(file.read_text(encoding="utf-8")))
    return sorted(found)


def modules(root: Path) -> Iterator[Module]:
    """The modules of the product packages under `root`."""
    files = {file.relative_to(root).as_posix(): file.read_text("utf-8") for file in _product_files(root, ".py")}
    trees = {path: ast.parse(text) for path, text in files.items()}
    pure = frozenset(path for path, tree in trees.items() if _says_it_is_pure(tree))
    for path, tree in trees.items():
        yield Module(path, files[path], tree, pure)


def _says_it_is_pure(tree: ast.Module) -> bool:
    return (ast.get_docstring(tree) or "").partition("\n\n")[0].endswith(PURE)


def _product_files(root: Path, suffix: str) -> Iterator[Path]:
    for package in (*PACKAGES, *OWN_DISTRIBUTIONS):
        yield from sorted((root / package).rglob(f"*{suffix}"))


Found = Iterable[tuple[int, str]]
"""What a rule finds in one module: (line, message)."""


def _imports(module: Module) -> Iterator[tuple[int, str]]:
    """Each import as (line, absolute dotted name), relative ones resolved, `from a import b` as `a.b`."""
    folder = module.path.split("/")[:-1]
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parents = folder[: len(folder) - node.level + 1] if node.level else []
            base = ".".join([*parents, *([node.module] if node.module else [])])
            yield from ((node.lineno, f"{base}.{alias.name}") for alias in node.names)


def _arrows(module: Module) -> Found:
    allowed = MAY_IMPORT[module.package] | {module.package}
    for line, name in _imports(module):
        top = name.split(".", 1)[0]
        if top in PACKAGES and top not in allowed:
            yield line, f"{module.package} must not import {top}"
        elif top == "tests":
            yield line, "the product must not import its tests"
        elif module.package == "scheduler" and (top in HTTP_LIBRARIES or name.startswith("urllib.request")):
            yield line, f"scheduler knows nothing of HTTP: it must not import {top}"


def _libraries_at_home(module: Module) -> Found:
    for line, name in _imports(module):
        homes = ONLY_IN.get(name.split(".", 1)[0])
        if homes is not None and not _is_in(module.path, homes):
            yield line, f"only {' and '.join(homes)} may import {name.split('.', 1)[0]}"


def _purity(module: Module) -> Found:
    if not _is_pure(module.path, module.pure):
        return
    for line, name in _imports(module):
        top, _, inner = name.partition(".")
        if name == CHANCE_AS_ARGUMENT:
            continue
        if top in (IMPURE_LIBRARIES | HTTP_LIBRARIES) - SANS_IO_LIBRARIES:
            yield line, f"a module that decides must not import {top}"
        elif top in PACKAGES and inner and name not in MERE_VALUES and not _names_a_pure_module(name, module.pure):
            yield line, f"a module that decides must not stand on one that does: {name}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.AsyncFunctionDef | ast.Await):
            yield node.lineno, "a module that decides must not wait"
        elif isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in IMPURE_CALLS:
            yield node.lineno, f"a module that decides must not call {node.func.id}"


def _is_pure(path: str, pure: frozenset[str]) -> bool:
    return path in pure or _is_in(path, PURE_FOLDERS)


def _names_a_pure_module(name: str, pure: frozenset[str]) -> bool:
    """`a.b` or `a.b.C`: the name may be of a module or of something inside one."""
    as_module = name.replace(".", "/") + ".py"
    as_member = name.rpartition(".")[0].replace(".", "/") + ".py"
    return _is_pure(as_module, pure) or _is_pure(as_member, pure)


def _is_in(path: str, homes: Iterable[str]) -> bool:
    return any(path.startswith(home) if home.endswith("/") else path == home for home in homes)


def _no_globals(module: Module) -> Found:
    for node in ast.walk(module.tree):
        if isinstance(node, ast.Global):
            yield node.lineno, f"no global statement ({', '.join(node.names)})"
    for statement in _module_level(module.tree.body):
        if isinstance(statement, ast.Assign):
            targets, value = statement.targets, statement.value
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            targets, value = [statement.target], statement.value
        else:
            continue
        for target in targets:
            if isinstance(target, ast.Name) and _names_a_variable(target.id) and _makes_mutable(value):
                yield statement.lineno, f"no mutable module global ({target.id})"


def _module_level(body: Iterable[ast.stmt]) -> Iterator[ast.stmt]:
    for statement in body:
        yield statement
        if isinstance(statement, ast.If | ast.Try | ast.With):
            yield from _module_level(child for child in ast.iter_child_nodes(statement) if isinstance(child, ast.stmt))


def _names_a_variable(name: str) -> bool:
    return not name.isupper() and not (name.startswith("__") and name.endswith("__"))


def _makes_mutable(value: ast.expr) -> bool:
    if isinstance(value, ast.Call):
        maker = value.func.value if isinstance(value.func, ast.Subscript) else value.func
        name = maker.attr if isinstance(maker, ast.Attribute) else getattr(maker, "id", "")
        return name in MUTABLE_MAKERS
    return isinstance(value, ast.List | ast.Dict | ast.Set | ast.ListComp | ast.DictComp | ast.SetComp)


def _no_broad_except(module: Module) -> Found:
    """What cleans up and raises on may catch BaseException: a cancelled task is not an Exception."""
    for node in ast.walk(module.tree):
        if not isinstance(node, ast.ExceptHandler):
            continue
        if node.type is None:
            yield node.lineno, "no bare except"
            continue
        passes_on = isinstance(node.body[-1], ast.Raise) and node.body[-1].exc is None
        for kind in node.type.elts if isinstance(node.type, ast.Tuple) else [node.type]:
            name = kind.id if isinstance(kind, ast.Name) else ""
            if name == "Exception" or (name == "BaseException" and not passes_on):
                yield node.lineno, f"no except {name}"


def _sizes(module: Module) -> Found:
    lines = len(module.text.splitlines())
    if lines > MAX_FILE_LINES and module.path not in LONG_FILES:
        yield 1, f"{lines} lines; a file has at most {MAX_FILE_LINES}"
    for node in ast.walk(module.tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            length = (node.end_lineno or node.lineno) - node.lineno + 1
            if length > MAX_FUNCTION_LINES:
                yield (
                    node.lineno,
                    f"{node.name} has {length} lines; a function has at most {MAX_FUNCTION_LINES}",
                )


def _script(text: str) -> Found:
    lines = text.splitlines()
    if len(lines) > MAX_SCRIPT_LINES:
        yield 1, f"{len(lines)} lines; a script has at most {MAX_SCRIPT_LINES}"
    code_starts = next((number for number, line in enumerate(lines) if not line.startswith("--")), len(lines))
    if code_starts == 0:
        yield 1, "a script starts with its contract, as a comment"


RULES: tuple[Callable[[Module], Found], ...] = (
    _arrows,
    _libraries_at_home,
    _purity,
    _no_globals,
    _no_broad_except,
    _sizes,
)
