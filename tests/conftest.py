"""Fixtures shared by every kind of test."""

from __future__ import annotations

import gc
import importlib
import io
import os
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from importlib.metadata import PackageNotFoundError, version
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

import zcube
from zcube.cli import OBJECTS_BETWEEN_COLLECTIONS, main
from zcube.fabric.families import families
from zcube.llm.tables.source import open_source
from zcube.network.packet.controls import controls
from zcube.progress import silent
from zcube.report import comparison_figures
from zcube.routing.catalog import routings
from zcube.run_inputs import program_digest
from zcube.side_by_side import processors
from zcube.warm import warm

PACKAGES = Path(__file__).resolve().parent / "packages"

# How long an example takes hangs on what else the machine does.
settings.register_profile("untimed", deadline=None)
settings.load_profile("untimed")


#: What compiles all kernels while tests are collected.
WARMING = pytest.StashKey[subprocess.Popen[bytes]]()


def pytest_sessionstart(session: pytest.Session) -> None:
    """Let the programs that tests start use the package under test, and compile all kernels once before several processes test.

    A program would take the package from the folder that it is started in, and processes would each compile their own kernels.
    """
    os.environ["PYTHONSAFEPATH"] = "1"
    places = [str(Path(zcube.__file__).resolve().parents[1]), *filter(None, [os.environ.get("PYTHONPATH")])]
    os.environ["PYTHONPATH"] = os.pathsep.join(places)
    is_worker = hasattr(session.config, "workerinput")
    if not is_worker and session.config.getoption("numprocesses", None):
        call = [sys.executable, "-m", "zcube", "warm"]
        session.config.stash[WARMING] = subprocess.Popen(call, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@pytest.hookimpl(wrapper=True)
def pytest_collection() -> Iterator[None]:
    """Look for no garbage among what is collected: it stays, and would be looked through again and again."""
    gc.disable()
    try:
        return (yield)
    finally:
        gc.freeze()
        gc.enable()
        # Nor all the time among what tests leave, a twentieth of their time.
        gc.set_threshold(OBJECTS_BETWEEN_COLLECTIONS, 10, 50)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """One process more than there are processors: many tests wait for programs, browsers and clusters that they start."""
    return processors() + 1


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_node_collection_finished(node: Any) -> None:
    """Begin to test once all kernels are compiled, here if not beside."""
    node.config.stash[WARMING].wait()
    warm(silent)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    """Give a module's tests to one process, which makes its fixtures once; a group is given as a whole."""
    from xdist.scheduler import LoadGroupScheduling

    class Modules(LoadGroupScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return super()._split_scope(nodeid).partition("::")[0]

    return Modules(config, log) if config.getvalue("dist") == "loadgroup" else None


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of the real traces and measured tables (ZCUBE_DATA, else ../shared/data beside the checkout)."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("ZCUBE_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"no real data at {folder}; set ZCUBE_DATA to the folder that holds mooncake/, azure2023/, ...")
    return folder


@pytest.fixture
def on_the_path(monkeypatch):
    """Let folders of installed packages stand before all others for this test; returns the environment of a subprocess."""
    known = set(sys.modules)

    def forget():
        for asked_once in (families, routings, controls, program_digest):
            asked_once.cache_clear()

    def put(*folders: Path) -> dict[str, str]:
        places = [str(folder) for folder in folders]
        monkeypatch.setattr(sys, "path", [*places, *sys.path])
        importlib.invalidate_caches()
        forget()
        put.folders = [*folders, *put.folders]
        return {**os.environ, "PYTHONPATH": os.pathsep.join([*places, os.environ.get("PYTHONPATH", "")])}

    put.folders = []
    yield put
    for name in set(sys.modules) - known:
        if any(Path(getattr(sys.modules[name], "__file__", None) or "").is_relative_to(folder) for folder in put.folders):
            del sys.modules[name]
    forget()


@pytest.fixture
def installed(tmp_path, on_the_path):
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
        return on_the_path(metadata.parent, folder)

    return install


@pytest.fixture(scope="session")
def ran():
    """Run the command line in this process, for what is made once a module; returns status, stdout, stderr."""

    def run_main(*arguments: str) -> tuple[int, str, str]:
        out, err = io.StringIO(), io.StringIO()
        with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        return int(exit_info.value.code or 0), out.getvalue(), err.getvalue()

    return run_main


@pytest.fixture(scope="module")
def one_picture():
    """Let folders of comparisons hold one picture, in a module that looks at none of the others: drawing takes longest."""
    drawn = comparison_figures.comparison_draws
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(comparison_figures, "comparison_draws", lambda results: dict(islice(drawn(results).items(), 1)))
        yield


@pytest.fixture
def run(capsys):
    """Run the command line in this process; returns status, stdout, stderr."""

    def run_main(*arguments: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as exit_info:
            main([str(argument) for argument in arguments])
        captured = capsys.readouterr()
        return int(exit_info.value.code or 0), captured.out, captured.err

    return run_main


@pytest.fixture(scope="module")
def package():
    """The installed package's tables; a test that takes them is skipped where it is not installed."""
    try:
        version("aiconfigurator-core")
    except PackageNotFoundError:
        pytest.skip("aiconfigurator-core is not installed; pip install 'zcube[measured]'")
    return open_source(None)
