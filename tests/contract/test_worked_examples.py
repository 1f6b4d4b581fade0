"""docs/extending.md is a package: its files and commands are taken from the page and run."""

from __future__ import annotations

import json
import re
import shlex
import tomllib
from pathlib import Path

import pytest

PAGE = Path(__file__).resolve().parents[2] / "docs" / "extending.md"

FILE = re.compile(r"^`([\w./-]+)`\n\n```\w+\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)
COMMANDS = re.compile(r"^```sh\n(.*?)^```$", flags=re.MULTILINE | re.DOTALL)


def commands() -> list[str]:
    """Return the commands of the page, in order."""
    return [line for block in COMMANDS.findall(PAGE.read_text()) for line in block.splitlines()]


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Write the page's files, and what pip leaves of the package beside them."""
    folder = tmp_path_factory.mktemp("package")
    for name, text in FILE.findall(PAGE.read_text()):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    metadata = folder / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
    points = (f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in named.items())
              for group, named in project["entry-points"].items())  # fmt: skip
    (metadata / "entry_points.txt").write_text("".join(points))
    return folder


@pytest.fixture
def zcube(package, run, on_the_path, monkeypatch):
    """Run a command of the page in its folder, where its package is installed; returns stdout."""
    on_the_path(package)
    monkeypatch.chdir(package)

    def printed(command: str, *more: str) -> str:
        program, *words = shlex.split(command)
        status, out, err = run(*words, *more)
        assert (program, status) == ("zcube", 0), err
        return out

    return printed


def test_the_page_has_every_file_of_the_package(package: Path) -> None:
    modules = {
        f"{point.partition(':')[0].replace('.', '/')}.py"
        for point in re.findall(r'= "(zcube_chain[\w.]*:\w+)"', PAGE.read_text())
    }
    assert {"zcube_chain/family.py", "zcube_chain/routing.py", "zcube_chain/control.py"} == modules
    assert all((package / module).is_file() for module in modules)
    assert len(commands()) == 6


def test_a_family_and_a_routing(zcube) -> None:
    """Four switches in a row have three cables between them; a path crosses at most all four."""
    show, cost, check = commands()[:3]
    counts = json.loads(zcube(show, "--json"))
    assert (counts["family"], counts["switches"], counts["switch_links"], counts["diameter_switches"]) == ("chain", 4, 3, 4)
    zcube(cost, "--json")
    document = json.loads(zcube(check, "--json"))
    assert document["routing"] == "chain-paths"
    assert {claim["name"] for claim in document["claims"] if claim["holds"]} >= {"well-formed paths", "free of deadlock"}


def test_a_congestion_control(zcube) -> None:
    """A quarter of 400 Gb/s for 4 MB in packets of 4,096 bytes with 82 of headers; delays of the path are below a hundredth."""
    alone_s = 4e6 * (4096 + 82) / 4096 * 8 / (0.25 * 400e9)
    assert json.loads(zcube(commands()[3], "--json"))["makespan_s"] == pytest.approx(alone_s, rel=0.02)


def test_a_model(zcube) -> None:
    """39 layers and one draft layer ship 656 bytes of latents and 132 of index keys a token, fp8 and scales."""
    generate, replay = commands()[4:]
    zcube(generate)
    operations = json.loads(zcube(replay, "--json"))["trace"]["operations_by_name"]
    assert {row["operation"]: row["bytes"] for row in operations}["kv-write"] == (39 + 1) * 4096 * (656 + 132)
