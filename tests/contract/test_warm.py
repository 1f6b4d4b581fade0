"""All kernels can be compiled ahead: then no verb compiles any, also where the folder that holds them cannot be written."""

from __future__ import annotations

import ast
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from importlib import import_module
from pathlib import Path

import pytest
from numba import config
from numba.core.dispatcher import Dispatcher

import zcube
from zcube import as_written, compile_cache, warm
from zcube.compile_cache import COMPLETE, borrowed, folder
from zcube.errors import RunError
from zcube.fabric.catalog import load_fabric
from zcube.kernel_files import NotKeptWarning
from zcube.network import fluid
from zcube.network.packet import engine
from zcube.network.packet.settings import PacketSettings
from zcube.network.settings import Network
from zcube.progress import COMPILING, silent
from zcube.replays import little
from zcube.replays.gpus import gpu_numbers
from zcube.replays.little import OF_FLUID, little_groups, may_be_little
from zcube.workload.flow_lists import read_flows

PACKAGE = Path(zcube.__file__).parent


@pytest.fixture(scope="module")
def warmed() -> Path:
    """The folder of kernels, all of them in it."""
    place = warm.warm(silent).folder
    assert place is not None
    return place


def test_every_kernel_that_python_calls_is_kept(warmed):
    kept = {path.name.split("-")[0] for path in warmed.rglob("*.nbi")}
    for path in PACKAGE.rglob("*.py"):
        parts = path.relative_to(PACKAGE.parent).with_suffix("").parts
        with suppress(ModuleNotFoundError):  # What runs beside PyTorch needs PyTorch.
            if parts[-1] not in ("__init__", "__main__"):
                import_module(".".join(parts))
    kernels = {
        f"{value.py_func.__module__.rpartition('.')[2]}.{value.py_func.__qualname__}"
        for name, module in list(sys.modules.items())
        if name.startswith("zcube.")
        for value in vars(module).values()
        if isinstance(value, Dispatcher)
        and value.stats.cache_path
        and value.targetoptions.get("inline") != "always"
        and not value.targetoptions.get("no_cpython_wrapper")
    }
    assert {"engine.advance", "engine.advance_plain", "fluid.advance", "shortest.walk"} <= kernels
    assert kernels <= kept


VERBS = """
import io, sys
from contextlib import redirect_stdout
from zcube.cli import main
from zcube.compile_events import compilations_heard

heard = []
for verb in {verbs!r}:
    with compilations_heard(heard.append), redirect_stdout(io.StringIO()):
        try:
            main(verb)
        except SystemExit as ended:
            assert not ended.code, (verb, ended.code)
print(len(heard))
"""


def compilations(verbs: list[list[str]], before: str = "") -> int:
    ended = subprocess.run(
        [sys.executable, "-c", before + VERBS.format(verbs=verbs)], capture_output=True, text=True, timeout=300
    )
    assert ended.returncode == 0, ended.stderr
    return int(ended.stdout)


@pytest.fixture
def flows(tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("src,dst,bytes,start_s\n0,100,1000000,0\n1,101,1000000,0\n2,3,2000000,0.00001\n")
    return str(path)


def test_after_warming_no_verb_compiles(warmed, flows, tmp_path):
    replay = ["replay", flows, "--fabric"]
    small = ["--set", "requests.count=3", "--set", "load.concurrency=2", "--out", str(tmp_path / "out")]
    verbs = [
        [*replay, "roft-256", "--fidelity", "packet"],
        [*replay, "zcube-n16", "--path-split", "fixed"],
        [*replay, "dragonfly-1056", "--bin-s", "1e-5", "--bins-out", str(tmp_path / "bins.csv")],
        ["fabric", "show", "roft-256"],
        ["fabric", "show", "bcube-1024"],
        ["compare", "glm51-pd-256", "--fabric", "zcube-n16", *small],
    ]
    assert compilations(verbs) == 0


def test_what_another_installation_compiled_is_not_taken_for_ones_own(warmed, tmp_path):
    """The same sources elsewhere share the folder, but Numba keeps kernels by the path of their source."""
    shutil.copytree(PACKAGE, tmp_path / "zcube", ignore=shutil.ignore_patterns("__pycache__"))
    code = (
        "from zcube import compile_cache, warm; print(compile_cache.folder(), sum(warm.missing_groups(list(warm.GROUPS)), []))"
    )
    environment = {**os.environ, "PYTHONPATH": str(tmp_path), "NUMBA_CACHE_DIR": str(warmed.parent)}
    asked = [sys.executable, "-c", code]
    shown = subprocess.run(asked, env=environment, cwd=tmp_path, capture_output=True, text=True, check=True).stdout
    place, _, missing = shown.strip().partition(" ")
    assert place == str(warmed)
    assert sorted(ast.literal_eval(missing)) == sorted(warm.GROUPS)


def test_a_complete_folder_that_cannot_be_written_is_used(warmed, flows, monkeypatch):
    refuse = f"""
import os, tempfile
whole = tempfile.TemporaryFile
def refused(*arguments, dir=None, **options):
    if dir is not None and os.fspath(dir).startswith({str(warmed.parent)!r}):
        raise PermissionError(13, "read only", dir)
    return whole(*arguments, dir=dir, **options)
tempfile.TemporaryFile = refused
os.environ["NUMBA_CACHE_DIR"] = {str(warmed.parent)!r}
"""
    said = (
        "from zcube.warm import warm; from zcube.progress import silent; print(warm(silent), file=__import__('sys').stderr)\n"
    )
    assert compilations([["replay", flows, "--fabric", "roft-256"], ["fabric", "show", "roft-256"]], refuse + said) == 0

    monkeypatch.setattr(config, "CACHE_DIR", str(warmed.parent))
    own = tempfile.TemporaryFile

    def refused(*arguments, dir=None, **options):
        if dir == warmed:
            raise PermissionError(13, "read only", dir)
        return own(*arguments, dir=dir, **options)

    monkeypatch.setattr(tempfile, "TemporaryFile", refused)
    links = folder.__wrapped__()
    assert links.parent == Path(tempfile.gettempdir())
    assert {path.name for path in links.rglob("*.nbi")} == {path.name for path in warmed.rglob("*.nbi")}
    monkeypatch.setattr(compile_cache, "folder", lambda: links)
    assert borrowed() == warmed
    done = warm.warm(silent)
    assert (done.folder, done.is_borrowed, done.compiled) == (warmed, True, False)


@pytest.fixture
def groups(tmp_path, monkeypatch):
    """Groups that note their compilation, in a folder of their own."""
    compiled: list[str] = []
    monkeypatch.setattr(compile_cache, "folder", lambda: tmp_path)
    monkeypatch.setattr(compile_cache, "borrowed", lambda: None)
    monkeypatch.setattr(warm, "GROUPS", {name: lambda name=name: compiled.append(name) for name in warm.GROUPS})
    monkeypatch.setattr(warm, "processors", lambda: 2)
    return compiled


def test_what_another_process_fails_to_compile_is_compiled_here_and_once(groups, tmp_path, monkeypatch):
    monkeypatch.setattr(warm, "started", lambda _, several: subprocess.Popen([sys.executable, "-c", "raise SystemExit(1)"]))
    done = warm.warm(silent)
    assert sorted(groups) == sorted(warm.GROUPS)
    assert (done.folder, done.compiled) == (tmp_path, True)
    assert (tmp_path / COMPLETE).is_file()
    assert not warm.warm(silent).compiled
    assert len(groups) == len(warm.GROUPS)


def test_only_groups_that_are_needed_and_missing_are_compiled(groups, monkeypatch):
    started = []
    monkeypatch.setattr(warm, "started", lambda _, several: started.append(several) or subprocess.Popen([sys.executable, "-V"]))
    said = []
    with warm.KernelsAhead(warm.needed_groups("flow")) as ahead:
        ahead.wait(lambda *words: said.append(words))
    assert (started, groups) == ([["flow"], ["routing", "posting"]], [])
    assert {*said} == {(COMPILING, 0, 0, "")}
    before = len(said)
    warm.compile_groups(["flow", "routing", "posting"])
    with warm.KernelsAhead(warm.needed_groups("flow")) as ahead:
        ahead.wait(lambda *words: said.append(words))
    assert (len(started), len(said)) == (2, before)
    assert warm.missing_groups(warm.needed_groups("packet", packets=[PacketSettings()])) == [["plain-engine"], ["packet"]]
    assert not warm.needed_groups("no such fidelity")


def test_processes_compile_about_equally_long_and_are_no_more_than_processors(groups, monkeypatch):
    served = warm.needed_groups("flow", *warm.OF_SERVING)
    assert warm.missing_groups(served) == [["routing", "deciding", "serving"], ["flow", "posting"]]
    everything = list(warm.GROUPS)
    assert [several[0] for several in warm.missing_groups(everything)] == ["full-engine", "routing"]
    for processors in (1, 2, 3, 8):
        monkeypatch.setattr(warm, "processors", lambda processors=processors: processors)
        found = warm.missing_groups(everything)
        assert len(found) == min(processors, 6)
        assert sorted(group for several in found for group in several) == sorted(everything)


def test_groups_with_little_to_do_are_not_compiled_but_run_as_written(groups, monkeypatch):
    """Only those that are missing: what is kept is used."""
    started, begun = [], []

    def start(_, several):
        started.append(several)
        begun.append(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(0.2)"]))
        return begun[-1]

    monkeypatch.setattr(warm, "started", start)
    of = {"packet": engine.advance_plain, "flow": fluid.advance}

    def written(little, at_once=False):
        started.clear()
        needed = warm.needed_groups("packet", packets=[PacketSettings()])
        with warm.KernelsAhead(needed, at_once) as ahead, ahead.ready(silent, little):
            assert all(process.poll() is not None for process in begun)
            return started, {group for group, kernel in of.items() if as_written_in(kernel.py_func.__module__)}

    as_written_in = lambda module: as_written._WHERE.get()(module)  # noqa: E731
    everything = [["plain-engine", "routing"], ["flow", "packet", "posting"]]
    assert written([*OF_FLUID, *warm.OF_PACKETS]) == ([], {"packet", "flow"})
    assert written(OF_FLUID) == ([["plain-engine"], ["packet"]], {"flow"})
    assert written([]) == (everything, set())
    assert written([*OF_FLUID, *warm.OF_PACKETS], at_once=True) == (everything, set())
    warm.compile_groups(OF_FLUID)
    assert written([*OF_FLUID, *warm.OF_PACKETS]) == ([], {"packet"})


FIRST = """
import sys
import pytest
from zcube.compile_events import compilations_heard
from zcube.cli import main

heard = []
with compilations_heard(heard.append), pytest.raises(SystemExit) as ended:
    main(sys.argv[1:])
assert not heard and not ended.value.code
"""


@pytest.mark.parametrize("fidelity", ["packet", "lossless"])
def test_a_first_little_replay_compiles_nothing_and_says_the_same(warmed, run, tmp_path, fidelity):
    flows, first, later = (tmp_path / name for name in ("flows.csv", "first.csv", "later.csv"))
    flows.write_text("src,dst,bytes,start_s\n0,100,200000,0\n1,101,200000,0\n2,3,400000,0.00001\n")
    words = ["replay", str(flows), "--fabric", "roft-256", "--fidelity", fidelity, "--json", "--out"]
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path / "kernels")}
    asked = [sys.executable, "-c", FIRST, *words, str(first)]
    said = subprocess.run(asked, env=environment, capture_output=True, text=True, check=True).stdout
    assert (0, said) == run(*words, later)[:2] and said
    assert first.read_bytes() == later.read_bytes()
    assert not list((tmp_path / "kernels").rglob("*.nbi"))


def test_what_counts_as_little(flows, monkeypatch, tmp_path):
    def groups_of(fidelity, **more):
        network = Network(fidelity=fidelity, **more)
        carrier = network.on(load_fabric("roft-256"), 0)
        return list(little_groups(carrier, read_flows(Path(flows), lambda names: gpu_numbers(carrier.fabric, names))))

    fluid_groups = list(OF_FLUID)
    assert groups_of("packet") == [*fluid_groups, *warm.OF_PACKETS]
    monkeypatch.setattr(little, "LITTLE_PACKETS", 978)
    assert groups_of("packet") == fluid_groups
    monkeypatch.setattr(little, "LITTLE_PACKETS", 979)
    assert groups_of("packet") == [*fluid_groups, *warm.OF_PACKETS]
    assert groups_of("packet", packet={"skip": {"mode": "steady"}}) == fluid_groups
    assert groups_of("flow", bin_s=1e-6) == []
    monkeypatch.setattr(little, "LITTLE_PRESSED_FLOWS", 2)
    assert groups_of("lossless") == [] and groups_of("flow") == fluid_groups
    monkeypatch.setattr(little, "LITTLE_FLOWS", 2)
    assert groups_of("flow") == groups_of("packet") == []
    assert may_be_little(tmp_path / "none.csv")


def test_what_comes_next_is_imported_only_while_other_processes_compile(groups, monkeypatch):
    imported = []
    monkeypatch.setattr(warm, "import_module", imported.append)
    monkeypatch.setattr(warm, "started", lambda _, several: subprocess.Popen([sys.executable, "-V"]))
    for processors, found in ((1, []), (2, ["matplotlib"])):
        monkeypatch.setattr(warm, "processors", lambda processors=processors: processors)
        with warm.KernelsAhead(["flow"] if processors == 1 else ["packet"]) as ahead:
            ahead.wait(silent, ["matplotlib"])
        assert imported == found


def test_on_one_processor_or_without_a_folder_no_process_is_started(groups, monkeypatch):
    monkeypatch.setattr(warm, "started", lambda _, several: pytest.fail("started"))
    with monkeypatch.context() as patch:
        patch.setattr(warm, "processors", lambda: 1)
        with warm.KernelsAhead(["packet", "flow"]) as ahead:
            ahead.wait(silent)
    assert groups == ["flow", "packet"]
    monkeypatch.setattr(compile_cache, "folder", lambda: None)
    assert warm.warm(silent).folder is None


def test_one_process_compiles_and_the_others_wait(groups, tmp_path):
    pytest.importorskip("fcntl")
    hold = f"""
import time
from pathlib import Path
from zcube import compile_cache, warm
compile_cache.folder = lambda: Path({str(tmp_path)!r})
def compile():
    Path({str(tmp_path / "began")!r}).touch()
    time.sleep(0.5)
warm.GROUPS = {{"flow": compile}}
warm.compile_groups(["flow"])
"""
    with subprocess.Popen([sys.executable, "-c", hold]) as other:
        while not (tmp_path / "began").exists():
            assert other.poll() is None
            time.sleep(0.01)
        warm.compile_groups(["flow", "routing"])
    assert (other.returncode, groups) == (0, ["routing"])


def test_processes_end_with_the_verb(groups, monkeypatch):
    sleep = [sys.executable, "-c", "import time; time.sleep(600)"]
    started = []
    monkeypatch.setattr(warm, "started", lambda _, several: started.append(subprocess.Popen(sleep)) or started[-1])
    with pytest.raises(KeyboardInterrupt), warm.KernelsAhead(["packet", "flow"]):
        raise KeyboardInterrupt
    assert [process.poll() for process in started] == [-9, -9]


def test_a_group_that_could_not_be_kept_is_not_said_to_be(groups, tmp_path, monkeypatch, run):
    """The disk fills while kernels are compiled: told, exit 1, and no mark that would keep later runs from compiling."""

    def unkept():
        warnings.warn("kernels cannot be kept in a folder: No space left on device", NotKeptWarning, stacklevel=2)

    monkeypatch.setattr(warm, "processors", lambda: 1)
    monkeypatch.setitem(warm.GROUPS, "flow", unkept)
    with pytest.warns(NotKeptWarning, match="No space left") as said:
        status, out, err = run("warm")
    assert len(said) == 2 and (status, out) == (1, "")
    assert f"{tmp_path} does not keep compiled kernels: flow" in err and "Traceback" not in err
    assert warm.missing_groups(list(warm.GROUPS)) == [["flow"]]
    assert not (tmp_path / COMPLETE).exists()


def test_a_full_disk_is_told_before_anything_is_compiled(groups, tmp_path, monkeypatch, run):
    monkeypatch.setattr(warm, "no_place", lambda folder: "has 0 bytes free on its disk")
    status, _, err = run("warm")
    assert (status, groups) == (1, []) and f"{tmp_path} has 0 bytes free on its disk" in err


def test_a_disk_without_room_for_a_claim_or_a_mark_stops_no_run(groups, tmp_path, monkeypatch):
    for name in ("open", "touch"):
        monkeypatch.setattr(warm.Path, name, lambda *of, **options: (_ for _ in ()).throw(OSError(28, "No space left")))
    warm.compile_groups(["flow", "routing"])
    assert groups == ["flow", "routing"]


def test_an_interrupt_waits_until_a_group_of_kernels_is_loaded(monkeypatch):
    """In LLVM's callback it would be printed and forgotten."""
    seen = []

    def group():
        signal.pthread_kill(threading.get_ident(), signal.SIGINT)
        # Time in which Python would hear of it.
        seen.append(sum(range(1000)))

    ahead = warm.KernelsAhead([])
    ahead._groups = ["one"]
    monkeypatch.setitem(warm.GROUPS, "one", group)
    with pytest.raises(KeyboardInterrupt):
        ahead.load()
    assert seen


def test_what_is_imported_before_a_process_is_copied_begins_no_thread():
    code = (
        "from importlib import import_module\nimport zcube.cli\nzcube.cli._run = lambda arguments, debug: 0\n"
        "try:\n    zcube.cli.main([])\nexcept SystemExit:\n    pass\n"
        "from zcube.cli.compare import FOR_FOLDER\nfrom zcube.process_copy import can_be_copied\nbefore = can_be_copied()\n"
        "for module in FOR_FOLDER:\n    import_module(module)\nprint(before, can_be_copied())"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.split() in (["True", "True"], ["False", "False"])


@pytest.mark.parametrize(
    ("more", "engines"),
    [
        ((), {"plain-engine"}),
        (("--set", "network.packet.congestion_control=hpcc"), {"full-engine"}),
        # Another value may need another engine.
        (("--sweep", "load.rate_per_s=1,2"), {"plain-engine", "full-engine"}),
    ],
)
def test_a_comparison_compiles_the_engine_that_its_settings_need(more, engines, run, monkeypatch):
    asked = []

    def ahead(groups):
        asked.append(groups)
        raise RunError("enough is known")

    monkeypatch.setattr(warm, "KernelsAhead", ahead)
    status, _, err = run("compare", "glm51-pd-256", "--fidelity", "packet", "--jobs", "1", "--json", *more)
    assert status == 1 and "enough is known" in err
    assert {group for group in asked[0] if group.endswith("-engine")} == engines
