"""Fixtures shared by every kind of test."""

from __future__ import annotations

import os
import sys
import tomllib
from pathlib import Path

import pytest

import zcube
from zcube.cli import main
from zcube.network.packet.controls import controls
from zcube.progress import silent
from zcube.run_inputs import program_digest
from zcube.warm import warm

PACKAGES = Path(__file__).resolve().parent / "packages"


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the programs that tests start use the package under test, and compile all kernels once before several processes test.

    A program would take the package from the folder that it is started in, and processes would each compile their own kernels.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    places = [str(Path(zcube.__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and session.config.getoption("numprocesses", None):
        warm(silent)


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real traces and measured tables (ZCUBE_DATA, else ../shared/data beside the checkout)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ZCUBE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ZCUBE_DATA to the folder that holds mooncake/, azure2023/, ...")
    return folder


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Install a package of tests/packages, entry points and all, for this test; returns the environment of a subprocess."""

    def install(name: str) -> dict[str, str]:
        folder = PACKAGES / name
        project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
        points = "".join(
            f"[{group}]\n" + "".join(f"{key} = {value}\n" for key, value in named.items())
            for group, named in project["entry-points"].items()
        )
        metadata = tmp_path / "site" / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
        metadata.mkdir(parents=True)
        (metadata / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n")
        (metadata / "entry_points.txt").write_text(points)
        places = [str(metadata.parent), str(folder)]
        monkeypatch.setattr(sys, "path", [*places, *sys.path])
        controls.cache_clear()
        program_digest.cache_clear()
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])}

    yield install
    controls.cache_clear()
    program_digest.cache_clear()


@pytest.fixture
def run(capsys):
    """Run the command line in this process; returns status, stdout, stderr."""

    def run_main(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    return run_main
