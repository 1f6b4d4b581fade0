"""Documentation that repeats the code is generated from it; commands it shows exist."""

from __future__ import annotations

import importlib.util
import json
import re
from pathlib import Path

from zcube.verdict.table import ROWS

PROJECT = Path(__file__).resolve().parents[2]


def test_scenario_page_is_what_the_models_say():
    spec = importlib.util.spec_from_file_location("generate", PROJECT / "docs" / "generate.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    assert (PROJECT / "docs" / "scenarios.md").read_text() == module.page(), "run: python docs/generate.py"
    metrics = (PROJECT / "docs" / "metrics.md").read_text()
    assert metrics == module.metrics_page(), "run: python docs/generate.py"
    assert (PROJECT / "docs" / "reliability.md").read_text() == module.reliability_page(), "run: python docs/generate.py"
    # A definition that stood in the page a second time would be a second text of it.
    for definition in {row.definition for row in ROWS}:
        assert metrics.count(definition) == metrics.count(f"| {definition} |"), definition


def test_commands_in_the_readme_are_commands_of_the_program():
    from zcube.cli.app import command

    root = command()
    shown = set(re.findall(r"zcube ([a-z]+)", (PROJECT / "README.md").read_text()))
    assert {"compare", "cost", "fabric", "new"} <= shown
    assert {
        word for word in shown if word in {"compare", "cost", "fabric", "new", "replay", "plan", "sweep", "trace", "calibrate"}
    } <= set(root.commands)


def test_options_in_the_readme_exist():
    from zcube.cli.app import command

    commands = command().commands
    for verb, options in re.findall(r"zcube (compare|cost) ([^\n#]*)", (PROJECT / "README.md").read_text()):
        known = {option for parameter in commands[verb].params for option in parameter.opts}
        assert set(re.findall(r"--[a-z-]+", options)) <= known


def test_files_linked_from_the_readme_exist():
    for page in ("README.md", "CONTRIBUTING.md"):
        for link in re.findall(r"\]\(([^)#]+)\)", (PROJECT / page).read_text()):
            assert (PROJECT / link).exists(), link


def test_the_map_names_every_room_and_module_once():
    package = PROJECT / "zcube"
    folders = {f"{path.parent.relative_to(package)}/" for path in package.rglob("__init__.py") if path.parent != package}
    modules = {path.name for path in package.glob("*.py") if not path.name.startswith("__")}
    rows = re.findall(r"^\| (`.*?`) \| (.+?) \|", (PROJECT / "CONTRIBUTING.md").read_text(), flags=re.MULTILINE)
    named = [name for first, _ in rows for name in re.findall(r"`([^`]+)`", first)]
    assert sorted(named) == sorted(folders | modules)


def test_notebook_runs_from_top_to_bottom():
    notebook = json.loads((PROJECT / "notebooks" / "first_comparison.ipynb").read_text())
    names: dict = {}
    for cell in notebook["cells"]:
        if cell["cell_type"] == "code":
            source = [line for line in cell["source"] if not line.startswith("%")]
            exec("".join(source).replace('"requests.count": 400', '"requests.count": 40'), names)
    assert list(names["table"].index) == ["roft-1024", "zcube-1024"]
    assert len(names["requests"]) == 2 * 40
    assert names["links"].utilisation.max() > 0


def test_notebooks_use_the_public_names_only():
    for path in (PROJECT / "notebooks").glob("*.ipynb"):
        code = ["".join(cell["source"]) for cell in json.loads(path.read_text())["cells"] if cell["cell_type"] == "code"]
        assert set(re.findall(r"^\s*(?:from|import) (zcube[\w.]*.*)$", "\n".join(code), flags=re.MULTILINE)) == {"zcube as zc"}


def compare_calls():
    """Return the arguments of every ``zcube compare`` that the README and the fabrics page show."""
    for page in ("README.md", "docs/fabrics.md"):
        for line in re.findall(r"^zcube compare([^\n#&]*)", (PROJECT / page).read_text(), flags=re.MULTILINE):
            yield line.split()


def test_scenarios_in_the_documentation_are_accepted():
    from zcube.cli.compare import DEFAULT_SCENARIO
    from zcube.scenario import load_scenario

    calls = list(compare_calls())
    assert len(calls) >= 5
    for words in calls:
        scenario = words[0] if words and not words[0].startswith("-") and not words[0].endswith(".json") else DEFAULT_SCENARIO
        assignments = [words[at + 1] for at, word in enumerate(words) if word == "--set"]
        fabrics = [words[at + 1] for at, word in enumerate(words) if word == "--fabric"]
        changes = {"fabrics": fabrics, "baseline": None} if fabrics else {}
        assert load_scenario(scenario, changes, assignments).gpus == (32 if scenario == "nic-cap-32" else 1024)


def test_the_readme_says_what_the_default_comparison_gives_first_where_zcube_does_not_win():
    """That the figures are right is shown by verification/test_readme.py."""
    heads = ("Loses", "No difference", "Gains")
    lines = re.findall(
        r"^\* \*\*(\w[\w ]*)\*\*: (.*)$", (PROJECT / "README.md").read_text().split("\n## ")[0], flags=re.MULTILINE
    )
    assert len(lines) == 4
    assert [heads.index(head) for head, _ in lines] == sorted(heads.index(head) for head, _ in lines)
    assert all(re.search(r"\((?:[+-][\d.]+ to [+-][\d.]+ %|no seed moves it)\)", text) for _, text in lines)


def test_notebooks_are_shipped_with_outputs_and_nothing_of_the_machine_that_made_them():
    """That the outputs are those of an execution is shown by ``python notebooks/execute.py --check``, a step of CI."""
    paths = sorted((PROJECT / "notebooks").glob("*.ipynb"))
    assert len(paths) >= 6
    for path in paths:
        text = path.read_text(encoding="utf-8")
        notebook = json.loads(text)
        code = [cell for cell in notebook["cells"] if cell["cell_type"] == "code"]
        assert [cell["execution_count"] for cell in code] == list(range(1, len(code) + 1)), path.name
        assert any("image/png" in output.get("data", {}) for cell in code for output in cell["outputs"]), path.name
        assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
        assert not any(cell["metadata"] for cell in notebook["cells"])
        plain = re.sub(r'"image/png": "[^"]*"', "", text)
        assert not re.search(r"[\s\"'(]/(?:home|root|tmp|usr|work|Users|var)/", plain), path.name
        assert "## What this does not show" in "".join(notebook["cells"][-1]["source"]), path.name
        assert len(text) < 600_000
