"""Holds the arrows and the house rules over the real tree, and shows what the checker sees."""

import ast
from pathlib import Path

import pytest

from tests import architecture, house_rules

ROOT = Path(__file__).parent.parent


def test_the_product_keeps_the_rules() -> None:
    violations = architecture.check(ROOT)
    assert not violations, "\n" + "\n".join(map(str, violations))


def test_every_exception_to_the_file_size_is_still_needed() -> None:
    for path, reason in house_rules.LONG_FILES.items():
        assert reason
        assert len((ROOT / path).read_text().splitlines()) > house_rules.MAX_FILE_LINES


def test_every_word_of_purity_in_a_docstring_is_where_the_checker_sees_it() -> None:
    modules = list(architecture.modules(ROOT))
    says_so = {module.path for module in modules if "Pure" in (ast.get_docstring(module.tree) or "")}
    assert says_so == modules[0].pure


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    for package in house_rules.PACKAGES:
        (tmp_path / package).mkdir()
        (tmp_path / package / "__init__.py").write_text('"""A package."""\n')
    return tmp_path


def plant(tree: Path, path: str, text: str) -> list[str]:
    (tree / path).parent.mkdir(parents=True, exist_ok=True)
    (tree / path).write_text(text)
    return [str(violation) for violation in architecture.check(tree)]


def test_a_tree_that_keeps_the_rules_passes(tree: Path) -> None:
    assert plant(tree, "gateway/app.py", "import fastapi\nfrom scheduler import keys\nLIMITS = {'a': 1}\n") == []


@pytest.mark.parametrize(
    ("path", "text", "expected"),
    [
        pytest.param("gateway/a.py", "import agent.probe\n", "1: gateway must not import agent", id="gateway-agent"),
        pytest.param("agent/a.py", "from gateway import app\n", "1: agent must not import gateway", id="agent-gateway"),
        pytest.param("agent/a.py", "from ..gateway import app\n", "1: agent must not import gateway", id="relative"),
        pytest.param("scheduler/a.py", "import forebay\n", "1: scheduler must not import forebay", id="scheduler-root"),
        pytest.param("simulator/a.py", "import gateway\n", "1: simulator must not import gateway", id="simulator"),
        pytest.param("agent/a.py", "import tests.helpers\n", "1: the product must not import its tests", id="tests"),
        pytest.param(
            "scheduler/a.py",
            "def f():\n    import httpx\n",
            "2: scheduler knows nothing of HTTP: it must not import httpx",
            id="http-inside-a-function",
        ),
        pytest.param(
            "scheduler/a.py",
            "from urllib.request import urlopen\n",
            "1: scheduler knows nothing of HTTP: it must not import urllib",
            id="http-of-the-standard-library",
        ),
        pytest.param(
            "agent/a.py",
            "import redis.asyncio\n",
            "1: only scheduler/store.py may import redis",
            id="redis-elsewhere",
        ),
        pytest.param("gateway/a.py", "import fakeredis\n", "1: only forebay/ may import fakeredis", id="fakeredis"),
        pytest.param(
            "scheduler/policies/a.py",
            "import time\n",
            "1: a module that decides must not import time",
            id="clock",
        ),
        pytest.param(
            "scheduler/policies/a.py",
            "async def f(): ...\n",
            "1: a module that decides must not wait",
            id="waiting",
        ),
        pytest.param(
            "scheduler/policies/a.py",
            "x = open('f')\n",
            "1: a module that decides must not call open",
            id="file",
        ),
        pytest.param(
            "scheduler/policies/a.py",
            "from random import choice\n",
            "1: a module that decides must not import random",
            id="chance",
        ),
        pytest.param(
            "scheduler/policies/a.py",
            "from random import Random\nchance = Random()\n",
            "2: a module that decides must not call Random",
            id="chance-of-its-own",
        ),
        pytest.param(
            "scheduler/policies/a.py",
            "from scheduler.store import Store\n",
            "1: a module that decides must not stand on one that does: scheduler.store.Store",
            id="purity-is-transitive",
        ),
        pytest.param(
            "agent/a.py",
            '"""Something. Pure."""\nimport time\n',
            "2: a module that decides must not import time",
            id="clock-in-what-says-it-is-pure",
        ),
        pytest.param(
            "agent/a.py",
            "try:\n    f()\nexcept BaseException:\n    pass\n",
            "3: no except BaseException",
            id="swallowed-cancellation",
        ),
        pytest.param("agent/a.py", "seen = {}\n", "1: no mutable module global (seen)", id="dict-global"),
        pytest.param("agent/a.py", "seen: set[int] = set()\n", "1: no mutable module global (seen)", id="set-global"),
        pytest.param("agent/a.py", "seen = list[int]()\n", "1: no mutable module global (seen)", id="generic-global"),
        pytest.param(
            "agent/a.py",
            "import collections\nif True:\n    _q = collections.deque()\n",
            "3: no mutable module global (_q)",
            id="nested-global",
        ),
        pytest.param("agent/a.py", "def f():\n    global x\n", "2: no global statement (x)", id="global-statement"),
        pytest.param("agent/a.py", "try:\n    f()\nexcept:\n    pass\n", "3: no bare except", id="bare-except"),
        pytest.param(
            "agent/a.py",
            "try:\n    f()\nexcept (OSError, Exception):\n    pass\n",
            "3: no except Exception",
            id="broad-except",
        ),
        pytest.param("agent/a.py", "x = 1\n" * 251, "1: 251 lines; a file has at most 250", id="long-file"),
        pytest.param(
            "agent/a.py",
            "def f():\n" + "    x = 1\n" * 50,
            "1: f has 51 lines; a function has at most 50",
            id="long-function",
        ),
        pytest.param(
            "scheduler/scripts/a.lua",
            "-- Contract.\n" + "local x = 1\n" * 60,
            "1: 61 lines; a script has at most 60",
            id="long-script",
        ),
        pytest.param(
            "scheduler/scripts/a.lua",
            "local x = 1\n",
            "1: a script starts with its contract, as a comment",
            id="script-without-contract",
        ),
    ],
)
def test_a_planted_violation_is_named_with_its_place(tree: Path, path: str, text: str, expected: str) -> None:
    assert plant(tree, path, text) == [f"{path}:{expected}"]


def test_names_that_only_look_mutable_pass(tree: Path) -> None:
    text = "__all__ = ['a']\nTABLE = {}\nnames = ('a',)\n\n\ndef f():\n    seen = {}\n    return seen\n"
    assert plant(tree, "agent/a.py", text) == []


def test_chance_may_be_an_argument_of_what_decides(tree: Path) -> None:
    plant(tree, "scheduler/view.py", '"""A view. Pure.\n\nMore of it.\n"""\n')
    text = "from random import Random\nfrom scheduler.view import View\n\n\ndef f(chance: Random) -> float: ...\n"
    assert plant(tree, "scheduler/policies/a.py", text) == []


def test_a_clean_up_that_raises_on_may_catch_everything(tree: Path) -> None:
    assert plant(tree, "agent/a.py", "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n") == []


def test_the_libraries_with_one_home_may_be_used_there(tree: Path) -> None:
    plant(tree, "scheduler/store.py", "import redis.asyncio\n")
    assert plant(tree, "forebay/embedded.py", "import fakeredis\nimport gateway\nimport agent\n") == []
