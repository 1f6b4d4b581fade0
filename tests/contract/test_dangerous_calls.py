"""Nothing that zcube reads is run: no call that executes text, loads pickles or unsafe YAML, or goes through a shell."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

import zcube

PACKAGE = Path(zcube.__file__).resolve().parent
#: Modules none of which is imported; what they load may run anything, or is made to.
MODULES = {
    "pickle",
    "cPickle",
    "dill",
    "cloudpickle",
    "joblib",
    "marshal",
    "shelve",
    "code",
    "codeop",
    "yaml",
    "commands",
    "pty",
}
#: Functions that run text, by name; ``exec("")`` in the command line runs none.
BUILTINS = {"eval", "exec", "compile", "__import__"}
#: Functions of modules, by their last two names: they run text, go through a shell, or load pickles unasked.
FUNCTIONS = {
    ("os", "system"), ("os", "popen"), ("subprocess", "getoutput"), ("subprocess", "getstatusoutput"), ("np", "load"),
    ("numpy", "load"), ("pd", "read_pickle"), ("pd", "eval"), ("asyncio", "create_subprocess_shell"), ("builtins", "eval"),
    ("builtins", "exec"), ("tempfile", "mktemp"), ("tarfile", "open"), ("shutil", "unpack_archive"),
}  # fmt: skip
METHODS = {"extractall", "read_pickle", "to_pickle"}
#: What stands in the package and why: (file, name).
KEPT = {
    ("cli/__init__.py", "exec"): "the empty text: what makes Python forget an interrupt",
}


def dangers(tree: ast.AST) -> Iterator[str]:
    """Yield the names of what a module calls or imports that none should."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names if alias.name.split(".")[0] in MODULES)
        elif isinstance(node, ast.ImportFrom):
            if (node.module or "").split(".")[0] in MODULES:
                yield node.module or ""
            yield from (alias.name for alias in node.names if (node.module, alias.name) in FUNCTIONS)
        elif isinstance(node, ast.keyword):
            if node.arg == "shell" and not (isinstance(node.value, ast.Constant) and not node.value.value):
                yield "shell="
            if node.arg == "allow_pickle":
                yield "allow_pickle="
        elif isinstance(node, ast.Name) and node.id in BUILTINS:
            yield node.id
        elif isinstance(node, ast.Attribute):
            of = node.value.id if isinstance(node.value, ast.Name) else ""
            if (of, node.attr) in FUNCTIONS or node.attr in METHODS:
                yield f"{of}.{node.attr}"


@cache
def trees() -> dict[Path, ast.Module]:
    """Return every module of the package, parsed."""
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in sorted(PACKAGE.rglob("*.py"))}


def test_the_package_runs_nothing_that_it_reads() -> None:
    found = {(str(path.relative_to(PACKAGE)), name) for path, tree in trees().items() for name in dangers(tree)}
    assert found == set(KEPT)


def test_the_one_text_that_is_run_is_empty() -> None:
    tree = trees()[PACKAGE / "cli" / "__init__.py"]
    (call,) = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "exec"]
    assert [ast.literal_eval(argument) for argument in call.args] == [""]


@pytest.mark.parametrize(
    "text",
    [
        "eval('1')", "import pickle", "from pickle import loads", "import yaml", "subprocess.run('x', shell=True)",
        "subprocess.run('x', shell=flag)", "os.system('x')", "from os import system", "np.load(p, allow_pickle=True)",
        "f = exec", "zipfile.ZipFile(p).extractall()", "pd.read_pickle(p)", "__import__('os')",
    ],
)  # fmt: skip
def test_each_of_them_would_be_seen(text: str) -> None:
    assert list(dangers(ast.parse(text)))


def test_programs_are_started_by_lists_of_arguments() -> None:
    """Every call of ``subprocess`` gets a list or a tuple, or a name that holds one, and never a text to be split."""
    for path, tree in trees().items():
        calls = (node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute))
        for node in calls:
            is_start = ast.unparse(node.func) in {"subprocess.run", "subprocess.Popen"}
            if is_start and node.args:
                assert not isinstance(node.args[0], ast.Constant | ast.JoinedStr), f"{path}: {ast.unparse(node)}"
