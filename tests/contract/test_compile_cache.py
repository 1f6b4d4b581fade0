"""Compiled kernels are kept by the hash of their sources: none is stale, and folders that are no longer used go."""

from __future__ import annotations

import ast
import errno
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import time
import warnings
from contextlib import suppress
from pathlib import Path

import llvmlite
import numba
import numpy as np
import platformdirs
import pytest
from numba import config
from numba.core.dispatcher import Dispatcher

import zcube
from zcube import compile_cache, kernel_files
from zcube.compile_cache import KEPT_DAYS, MARKER, compiled, folder, kernel_sources, remove_unused, source_hash
from zcube.inputs import resolve_declared
from zcube.kernel_files import KernelFiles
from zcube.replays.little import LITTLE_FLOWS

PACKAGE = Path(zcube.__file__).parent
REPLAY = [sys.executable, "-m", "zcube", "replay", "flows.csv", "--fabric", "roft-256.toml", "--queue-pairs", "1"]
OPTIONS = ["--paths-out", "paths.csv", "--json"]


@pytest.fixture
def job(tmp_path):
    """A folder with the transfers that every process here replays: from 16 GPUs to another rail, more than are little."""
    rows = [f"{8 * server},{128 + 8 * server + rail},1000000,0" for server in range(16) for rail in (1, 2)] * 7
    assert len(rows) > LITTLE_FLOWS
    (tmp_path / "flows.csv").write_text("src,dst,bytes,start_s\n" + "\n".join(rows) + "\n")
    shutil.copy(resolve_declared("roft-256", "topologies"), tmp_path)
    return tmp_path


def environment(**changes: str) -> dict[str, str]:
    # Two edits of equal length within a second would leave Python's own compiled modules in place.
    kept = {name: value for name, value in os.environ.items() if not name.startswith("NUMBA_")}
    return {**kept, "PYTHONDONTWRITEBYTECODE": "1", **changes}


def replayed(place: Path, surroundings: dict[str, str]) -> tuple[dict, str]:
    ended = subprocess.run(REPLAY + OPTIONS, cwd=place, env=surroundings, capture_output=True, text=True, timeout=300)
    assert ended.returncode == 0, ended.stderr
    return json.loads(ended.stdout), (place / "paths.csv").read_text()


def replace_in(path: Path, before: str, after: str) -> None:
    text = path.read_text()
    assert text.count(before) == 1
    path.write_text(text.replace(before, after))


@pytest.mark.parametrize(
    ("processes", "verb"),
    # A kernel of the check is compiled where it is needed, those of a replay ahead.
    [(2, [*REPLAY[:3], "fabric", "check", "roft-256.toml"]), pytest.param(4, REPLAY, marks=pytest.mark.slow)],
    ids=["check", "replay"],
)
def test_processes_on_an_empty_cache(job, processes, verb):
    cache = job / "cache"
    surroundings = environment(NUMBA_CACHE_DIR=str(cache))
    pipe, command = subprocess.PIPE, [*verb, "--json"]
    started = [
        subprocess.Popen(command, cwd=job, env=surroundings, stdout=pipe, stderr=pipe, text=True) for _ in range(processes)
    ]
    ended = [process.communicate(timeout=300) for process in started]
    assert [process.returncode for process in started] == [0] * processes, [err for _, err in ended]
    assert len({out for out, _ in ended}) == 1
    cached = {path.name for path in cache.rglob("*.nbc")}
    assert cached
    again = subprocess.run(command, cwd=job, env=surroundings, capture_output=True, text=True, check=True)
    assert again.stdout == ended[0][0]
    assert {path.name for path in cache.rglob("*.nbc")} == cached
    (kept,) = cache.iterdir()
    assert kept.name == "zcube-kernels-" + source_hash(kernel_sources(PACKAGE))


@pytest.mark.slow
def test_an_edit_of_a_callee_or_constant_of_another_file_is_seen_with_a_warm_cache(job):
    copy = shutil.copytree(PACKAGE, job / "zcube", ignore=shutil.ignore_patterns("__pycache__"))
    surroundings = environment(PYTHONPATH=str(job), XDG_CACHE_HOME=str(job / "cache"))
    before, paths = replayed(job, surroundings)
    share = "return max(state.links[link].residual_bps, 0.0) / state.links[link].unfixed"
    replace_in(copy / "network/max_min.py", share, share + " / 2.0")
    replace_in(copy / "routing/hashing.py", "0xBF58476D1CE4E5B9", "0xBF58476D1CE4E5BB")
    after, other_paths = replayed(job, surroundings)
    assert other_paths != paths
    assert after["makespan_s"] > 1.5 * before["makespan_s"]


def test_the_sources_hold_every_module_with_kernels_and_all_that_these_import():
    sources = kernel_sources(PACKAGE)
    files = {".".join(path.relative_to(PACKAGE.parent).with_suffix("").parts): path for path in PACKAGE.rglob("*.py")}
    modules = {name.removesuffix(".__init__"): path for name, path in files.items()}
    for name, text in sources.items():
        assert text == modules[name].read_bytes()
        for node in ast.walk(ast.parse(text)):
            if isinstance(node, ast.Import):
                imported = {alias.name for alias in node.names}
            elif isinstance(node, ast.ImportFrom):
                assert node.level == 0, f"{name}: relative imports are not followed"
                imported = {str(node.module), *(f"{node.module}.{alias.name}" for alias in node.names)}
            else:
                continue
            assert imported & modules.keys() <= sources.keys(), name
    for name in sorted(modules.keys() - {"zcube.__main__"}):
        with suppress(ModuleNotFoundError):  # What runs beside PyTorch needs PyTorch.
            importlib.import_module(name)
    holders = {
        name
        for name in modules.keys() & sys.modules.keys()
        for value in vars(sys.modules[name]).values()
        if isinstance(value, Dispatcher) and value.py_func.__module__ == name
    }
    assert holders >= {"zcube.network.fluid", "zcube.routing.shortest", "zcube.network.packet.engine"}
    assert holders <= sources.keys()


def test_no_kernel_is_compiled_past_the_folder():
    names = [
        path.name
        for path in PACKAGE.rglob("*.py")
        if re.search(r"\b(njit|jit|vectorize|guvectorize|cfunc)\b", path.read_text())
    ]
    assert names == ["compile_cache.py"]


def test_the_hash_depends_on_every_source_and_on_the_versions(monkeypatch):
    sources = kernel_sources(PACKAGE)
    own = source_hash(sources)
    assert source_hash(dict(sources)) == own
    assert len({source_hash({**sources, name: text + b"#"}) for name, text in sources.items()} - {own}) == len(sources)
    for module in (numba, llvmlite, np):
        with monkeypatch.context() as patch:
            patch.setattr(module, "__version__", "0.0.1")
            assert source_hash(sources) != own


def test_few_sources_are_read_at_a_start():
    """Each start reads and hashes them: the modules that kernels can depend on, and no others."""
    sources = kernel_sources(PACKAGE)
    assert {"zcube.network.max_min", "zcube.routing.hashing"} <= set(sources)
    assert not {name for name in sources if name.startswith(("zcube.cli", "zcube.report"))}
    of_engines = {name for name in sources if name.startswith(("zcube.serving.", "zcube.llm."))}
    assert of_engines == {f"zcube.serving.{name}" for name in ("decode_batch", "prefix_cache", "router")} | {
        "zcube.llm.decode_steps"
    }
    assert sum(map(len, sources.values())) < 600_000


def loaded_by(*arguments: str) -> set[str]:
    code = f"import sys; from zcube.cli import main\ntry: main({arguments!r})\nfinally: print(*sys.modules, file=sys.stderr)"
    return set(subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stderr.split())


def test_help_pays_nothing():
    assert not {"numba", "zcube.compile_cache"} & loaded_by("--help")


def test_a_comparison_does_not_load_what_it_was_not_asked_for():
    loaded = loaded_by("compare", "glm51-pd-256", "--set", "requests.count=2", "--json")
    unused = ("zcube.calibrate.c", "zcube.calibrate.tile_parts", "zcube.comparison_band", "zcube.fabric.wiring.rack_layout")
    unused += ("zcube.llm.tables.", "zcube.network.packet.engine", "zcube.trace.files", "scipy.linalg", "pandas", "matplotlib")
    assert not {name for name in loaded if name.startswith(unused)}


def made(root: Path, name: str, days: float, marked: bool = True) -> Path:
    place = root / name
    place.mkdir(parents=True)
    (place / "kernel.nbc").write_text("")
    if marked:
        (place / MARKER).touch()
        then = time.time() - days * 86400
        os.utime(place / MARKER, (then, then))
    return place


def test_only_marked_folders_unused_for_the_days_stated_are_removed(tmp_path):
    unused = made(tmp_path, "zcube-kernels-0000000000000000", KEPT_DAYS + 1)
    target = made(tmp_path / "elsewhere", "zcube-kernels-1", KEPT_DAYS + 1)
    (tmp_path / "zcube-kernels-link").symlink_to(target)
    kept = [
        target,
        made(tmp_path, "zcube-kernels-1111111111111111", KEPT_DAYS - 1),
        made(tmp_path, "zcube-kernels-unmarked", KEPT_DAYS + 1, marked=False),
        made(tmp_path, "another-folder", KEPT_DAYS + 1),
    ]
    remove_unused(tmp_path)
    assert not unused.exists()
    assert all((place / "kernel.nbc").exists() for place in kept)
    remove_unused(tmp_path, kept_days=KEPT_DAYS - 2)
    assert not kept[1].exists()


@pytest.fixture
def places(tmp_path, monkeypatch):
    """Point the user's cache folder and the folder beside the sources into a temporary folder."""
    user, package = tmp_path / "user", tmp_path / "package"
    monkeypatch.setattr(platformdirs, "user_cache_path", lambda *names, **options: user)
    monkeypatch.setattr(compile_cache, "_PACKAGE", shutil.copytree(PACKAGE, package))
    monkeypatch.setattr(config, "CACHE_DIR", "")
    return user, package


def test_the_user_s_setting_stands_above_the_user_s_cache_folder(places, tmp_path, monkeypatch):
    user, _ = places
    assert folder.__wrapped__().parent == user
    monkeypatch.setattr(config, "CACHE_DIR", str(tmp_path / "set"))
    assert folder.__wrapped__().parent == tmp_path / "set"


def test_a_start_marks_its_folder_used_and_a_folder_made_removes_unused_ones(places):
    user, _ = places
    own = folder.__wrapped__()
    day = 86400
    os.utime(own / MARKER, (day, day))
    other = made(user, "zcube-kernels-2222222222222222", KEPT_DAYS + 1)
    assert folder.__wrapped__() == own
    assert time.time() - (own / MARKER).stat().st_mtime < day
    assert other.exists()
    shutil.rmtree(own)
    assert folder.__wrapped__() == own
    assert not other.exists()


def test_without_a_place_to_write_kernels_are_compiled_and_not_kept(places, monkeypatch):
    user, package = places
    user.write_text("no folder")
    beside = package / "__pycache__"
    assert folder.__wrapped__().parent == beside
    shutil.rmtree(beside)
    beside.write_text("no folder")
    with pytest.warns(UserWarning, match="set NUMBA_CACHE_DIR"):
        assert folder.__wrapped__() is None
    monkeypatch.setattr(compile_cache, "folder", lambda: None)

    def double(value):
        return 2 * value

    double.__module__ = "zcube.network.fluid"
    twice = compiled()(double)
    assert twice(21) == 42
    assert twice.stats.cache_path is None


def test_a_kernel_is_kept_in_the_folder_whatever_locators_the_user_set(monkeypatch):
    from zcube.routing.shortest import walk

    assert Path(walk.stats.cache_path).parent == folder()
    monkeypatch.setattr(config, "CACHE_LOCATOR_CLASSES", "InTreeCacheLocator", raising=False)

    def double(value):
        return 2 * value

    double.__module__ = "zcube.network.fluid"
    assert Path(compiled()(double).stats.cache_path).parent == folder()
    assert vars(config)["CACHE_LOCATOR_CLASSES"] == "InTreeCacheLocator"
    double.__module__ = "elsewhere"
    assert compiled()(double).stats.cache_path is None


def test_a_numba_that_compiles_nothing_is_told(job):
    ended = subprocess.run(REPLAY, cwd=job, env=environment(NUMBA_DISABLE_JIT="1"), capture_output=True, text=True, check=False)
    assert ended.returncode == 2
    assert "NUMBA_DISABLE_JIT: found set" in ended.stderr


def double(value):
    return 2 * value


double.__module__ = "zcube.network.fluid"


def cut(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-40])


def flip(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


DAMAGES = {
    "cut": cut,
    "flipped": flip,
    "empty": lambda path: path.write_bytes(b""),
    "missing": Path.unlink,
    "words": lambda path: path.write_text("words"),
    "a folder": lambda path: (path.unlink(), path.mkdir()),
}


@pytest.mark.parametrize("ending", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGES)
def test_a_kernel_whose_files_are_not_whole_is_compiled_anew(tmp_path, monkeypatch, damage, ending):
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    first = compiled()(double)
    assert first(21) == 42 and sum(first.stats.cache_misses.values()) == 1
    (path,) = tmp_path.rglob(f"*.{ending}")
    DAMAGES[damage](path)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        again = compiled()(double)
        assert again(21) == 42 and sum(again.stats.cache_misses.values()) == 1
    # Where a folder stands in a file's way nothing can be kept, which is told.
    assert [str(one.message).partition(str(tmp_path))[0] for one in said] == ["kernels cannot be kept in "] * (
        damage == "a folder"
    )
    later = compiled()(double)
    assert later(21) == 42 and sum(later.stats.cache_hits.values()) == (damage != "a folder")
    assert not list(tmp_path.rglob("*.tmp.*"))


@pytest.mark.parametrize("error", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EIO])
def test_a_disk_that_takes_no_kernel_costs_no_run(tmp_path, monkeypatch, error):
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    twice = compiled()(double)

    def refuse(path, target):
        raise OSError(error, os.strerror(error))

    monkeypatch.setattr(kernel_files.Path, "replace", refuse)
    with pytest.warns(UserWarning, match=f"cannot be kept in .*: {os.strerror(error)}"):
        assert twice(21) == 42
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]


def test_what_a_dead_process_was_writing_goes_by_the_disk_s_clock(tmp_path, monkeypatch):
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    assert compiled()(double)(21) == 42
    (path,) = tmp_path.rglob("*.nbi")
    dead, living = (path.with_name(f"{path.name}.tmp.{number}") for number in range(2))
    dead.touch()
    living.touch()
    os.utime(dead, (1, 1))
    assert compiled()(double)(2.5) == 5.0
    assert living.exists() and not dead.exists()


def test_a_kept_kernel_is_read_without_what_only_compiling_needs():
    code = """
import sys
import numba, numpy as np
from zcube.workload.prefix_hits import count_hits, prefix_hits

def hits():
    return prefix_hits(np.array([0, 2, 5]), np.array([1, 2, 1, 2, 3]))[0].tolist()

first = hits()
print(first, sum(count_hits.stats.cache_hits.values()), "scipy.linalg" in sys.modules)
print(numba.njit(lambda square: np.dot(square, square))(np.eye(2)).tolist(), hits() == first)
"""
    said = [subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout for _ in range(2)]
    # The first one may have had to compile it.
    assert said[1].splitlines() == ["[0, 2] 1 False", "[[1.0, 0.0], [0.0, 1.0]] True"]


def test_two_processes_never_give_two_codes_one_name(tmp_path, monkeypatch):
    """As where both read the index before either wrote it: what the last index names is its own."""
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    whole, real = compiled()(double), compiled()(double)
    with monkeypatch.context() as unseen:
        unseen.setattr(KernelFiles, "_load_index", lambda self: {})
        assert (whole(21), real(2.5)) == (42, 5.0)
    assert len(list(tmp_path.rglob("*.nbc"))) == 2
    assert [compiled()(double)(value) for value in (21, 2.5)] == [42, 5.0]
