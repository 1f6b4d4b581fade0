"""Runs kept in a folder of results: a torn line, what was changed, two writers, and what runs come from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path
from typing import get_args, get_origin

import pytest
from pydantic import BaseModel

from zcube import run_inputs
from zcube.errors import InputError
from zcube.inputs import bundled_folder
from zcube.kept_runs import OWN_COLUMNS, KeptRun, KeptRuns, read_runs
from zcube.out_folder import out_folder
from zcube.scenario import Scenario, load_scenario
from zcube.sweep.table import BETWEEN, FIRST, LAST

NAME = "runs.jsonl"
BUNDLED = ("scenarios", "sweeps", "topologies", "transports")
RECORD = {"record_version": 1, "zcube_version": "0"}


def kept(folder):
    return KeptRuns(folder, NAME, lambda: RECORD)


def run(number):
    return KeptRun.of(f"{number:064x}", {"fabric": "roft-32", "seed": number}, {"ttft_s": {"p99": number / 3}})


def test_a_torn_last_line_is_cut_off_and_whole_ones_stay(tmp_path):
    with kept(tmp_path / "a") as runs:
        for number in range(3):
            runs.keep(run(number))
    store = tmp_path / "a" / NAME
    whole = store.read_bytes()
    for torn in (run(3).line().encode()[:-1], run(3).line().encode()[:30], b"{"):
        store.write_bytes(whole + torn)
        with kept(tmp_path / "a") as runs:
            assert sorted(one.key for one in runs.runs.values()) == [run(number).key for number in range(3)]
            assert store.read_bytes() == whole
    store.write_bytes(whole[:-20])
    with kept(tmp_path / "a") as runs:
        assert len(runs.runs) == 2
        runs.keep(run(2))
    assert store.read_bytes() == whole


def test_a_process_killed_while_it_adds_loses_nothing_that_it_had_added(tmp_path):
    code = f"""
import os, signal
from pathlib import Path
from zcube.kept_runs import KeptRun, KeptRuns
with KeptRuns(Path({str(tmp_path / "a")!r}), {NAME!r}, lambda: {RECORD!r}) as runs:
    for number in range(5):
        runs.keep(KeptRun.of(f"{{number:064x}}", {{}}, {{"a": number}}))
    os.kill(os.getpid(), signal.SIGKILL)
"""
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == -signal.SIGKILL
    with kept(tmp_path / "a") as runs:
        assert [one.figures["a"] for one in runs.runs.values()] == [0, 1, 2, 3, 4]


def test_what_a_user_changed_or_added_is_refused_and_stays(tmp_path):
    with kept(tmp_path / "a") as runs:
        runs.keep(run(0))
    out_folder(tmp_path / "a").write(runs.fill, RECORD, grows=[NAME])
    store = tmp_path / "a" / NAME
    whole = store.read_text()
    for changed in (
        whole.replace("roft", "ruft"),
        whole + "a note of mine\n",
        "",
        whole + "a note without end",
        whole + "{}\n",
    ):
        store.write_text(changed)
        with pytest.raises(InputError, match=NAME):
            kept(tmp_path / "a").__enter__()
        assert store.read_text() == changed
    store.write_text(whole)
    (tmp_path / "a" / "mine.txt").write_text("mine")
    with pytest.raises(InputError, match=r"mine\.txt"):
        kept(tmp_path / "a")


def test_the_first_faults_of_a_store_are_told_by_line(tmp_path):
    path = tmp_path / NAME
    path.write_text(run(0).line() + '{"key": "x", "figures": {}}\n[1]\n{"key": "' + "0" * 64 + '", "figures": {"a": NaN}}\n')
    with pytest.raises(InputError) as raised:
        read_runs(path)
    assert [fault.where.split(": ")[1] for fault in raised.value.faults] == ["line 2", "line 3", "line 4"]


GOOD = {"output": 1.5, "requests": 7, "worst": "infinity", "name": "x", "ok": True, "by": {"p99": 2.0}, "bins": [1, 2]}


def line_of(number, figures, **others):
    return json.dumps({"key": f"{number:064x}", **others, "figures": figures}) + "\n"


@pytest.mark.parametrize(
    ("figures", "told"),
    [
        ({"output": 10**400}, "out of range"),
        ({"requests": 10**30}, "out of range"),
        ({"requests": -(10**19)}, "out of range"),
        ({"output": -1e308}, "out of range"),
        ({"bins": [1, 1e300]}, "out of range"),
        ({"by": {"p99": 10**400}}, "out of range"),
        ({"output": {"p99": 1}}, "figures.output: a table, a number in lines before"),
        ({"output": "much"}, "figures.output: a text, a number"),
        ({"output": [1]}, "figures.output: a list"),
        ({"output": True}, "figures.output: a truth value"),
        ({"by": 3}, "figures.by: a number, a table"),
        ({"by": {"p99": "x"}}, "figures.by.p99: a text, a number"),
        ({"name": "x" * 20_000}, "20000 characters"),
        ({"hash": 1}, "named hash"),
        ({"fabric": "x", "point": 1}, "named fabric, point"),
        ("none", "figures"),
    ],
)
def test_figures_that_no_run_has_are_told_by_file_and_line(tmp_path, figures, told):
    path = tmp_path / NAME
    path.write_text(line_of(0, GOOD) + line_of(1, figures))
    with pytest.raises(InputError) as raised:
        read_runs(path)
    (fault,) = raised.value.faults
    assert fault.where.startswith(f"{path}: line 2") and told in str(fault)


def test_figures_that_are_missing_or_infinite_in_some_runs_are_read(tmp_path):
    path = tmp_path / NAME
    none = dict.fromkeys(GOOD)
    path.write_text(
        "".join(line_of(n, one) for n, one in enumerate([GOOD, none, {}, {**GOOD, "output": 3, "requests": "infinity"}]))
    )
    assert len(read_runs(path)) == 4


def test_a_run_that_stands_twice_with_other_figures_is_a_fault(tmp_path):
    path = tmp_path / NAME
    path.write_text(line_of(0, {"a": 1}, seed=1) + line_of(0, {"a": 1}, seed=2))
    assert len(read_runs(path)) == 1
    path.write_text(line_of(0, {"a": 1}) + line_of(1, {"a": 1}) + line_of(0, {"a": 2}))
    with pytest.raises(InputError, match="other figures") as raised:
        read_runs(path)
    assert "line 3" in str(raised.value)


def test_the_columns_no_figure_may_be_named_as_are_those_of_the_table():
    assert {*FIRST, *BETWEEN, *LAST} == OWN_COLUMNS


def test_a_run_that_could_not_be_written_is_not_kept_and_the_error_names_the_file(tmp_path):
    resource = pytest.importorskip("resource", reason="no limits of file sizes here")
    with kept(tmp_path / "a") as runs:
        runs.keep(run(0))
        store = tmp_path / "a" / NAME
        whole, limits = store.read_bytes(), resource.getrlimit(resource.RLIMIT_FSIZE)
        handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
        try:
            # Half of the next line fits.
            resource.setrlimit(resource.RLIMIT_FSIZE, (len(whole) + 20, limits[1]))
            with pytest.raises(OSError) as raised:
                runs.keep(run(1))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)
            signal.signal(signal.SIGXFSZ, handler)
        assert raised.value.filename == str(store)
        assert list(runs.runs) == [run(0).key] and store.read_bytes() == whole
        runs.keep(run(2))
    assert set(read_runs(store)) == {run(0).key, run(2).key}


def test_a_second_writer_is_refused_and_the_next_one_after_it_is_not(tmp_path):
    with kept(tmp_path / "a") as first:
        first.keep(run(0))
        with pytest.raises(InputError, match="under way"):
            kept(tmp_path / "a").__enter__()
        # What takes the folder's place is locked no more.
        out_folder(tmp_path / "a").write(first.fill, RECORD, grows=[NAME])
        with kept(tmp_path / "a") as second:
            second.keep(run(1))
    assert set(read_runs(tmp_path / "a" / NAME)) == {run(0).key, run(1).key}


def test_the_programs_hash_has_its_data_and_what_it_is_made_with(tmp_path, monkeypatch):
    package = tmp_path / "zcube"
    shutil.copytree(Path(run_inputs.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(run_inputs, "__file__", str(package / "run_inputs.py"))

    def digest():
        return run_inputs.program_digest.__wrapped__()

    seen = [digest()]
    for changed in ("llm/devices/h200.toml", "serving/run.py"):
        with (package / changed).open("a") as file:
            file.write("\n")
        seen.append(digest())
    monkeypatch.setattr(run_inputs, "version", lambda name: "0")
    seen.append(digest())
    assert len(set(seen)) == 4
    with (package / "cli" / "app.py").open("a") as file:
        file.write("\n")
    assert digest() == seen[-1]


def test_installed_or_from_a_checkout_it_is_one_program(tmp_path, monkeypatch):
    """A wheel has the bundled folders in the package, a checkout beside it."""
    checkout, wheel = tmp_path / "checkout" / "zcube", tmp_path / "wheel" / "zcube"
    shutil.copytree(Path(run_inputs.__file__).parent, checkout, ignore=shutil.ignore_patterns("__pycache__", *BUNDLED))
    shutil.copytree(checkout, wheel)
    for folder in BUNDLED:
        shutil.copytree(bundled_folder(folder), wheel / folder)
    digests = set()
    for package in (checkout, wheel):
        monkeypatch.setattr(run_inputs, "__file__", str(package / "run_inputs.py"))
        digests.add(run_inputs.program_digest.__wrapped__())
    assert len(digests) == 1


def test_a_file_counts_as_what_it_holds_and_a_pipe_as_nothing(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("1")
    os.mkfifo(tmp_path / "pipe")
    named = {"requests": {"source": str(path)}, "cost": {"racks": str(tmp_path / "pipe"), "price_book": "x" * 5000}}
    before = run_inputs.files_named(named)
    assert list(before) == [str(path)]
    path.write_text("22")
    assert run_inputs.files_named(named) != before
    assert json.dumps(before)


def texts_of(model):
    """Yield key and field of every text that a declared model has, in its tables too."""

    def parts(kind):
        yield kind
        for part in get_args(kind):
            yield from parts(part)

    for name, field in model.model_fields.items():
        kinds = list(parts(field.annotation))
        if str in kinds and dict not in {get_origin(kind) for kind in kinds}:
            yield name, field
        for kind in kinds:
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                yield from texts_of(kind)


def test_every_key_that_is_read_as_a_path_counts_as_a_file_and_no_other_text_does():
    texts = {name for name, _ in texts_of(Scenario)}
    names = {"arrival", "congestion_control", "description", "input", "layout", "link", "output", "rank_map", "routing"}
    assert texts == names | set(run_inputs.FILE_KEYS)


def test_a_text_that_happens_to_be_a_name_in_the_present_folder_changes_no_key(tmp_path, monkeypatch):
    scenario = load_scenario("glm51-pd-256")

    def inputs():
        return run_inputs.served_inputs(scenario, scenario.baseline_label, "f", 1)

    before = inputs()
    monkeypatch.chdir(tmp_path)
    for name in (scenario.load.mode, scenario.compute.model, scenario.compute.times, scenario.kv.rank_map, "coding-agent"):
        (tmp_path / name).write_text("mine")
    with (tmp_path / scenario.compute.device).open("wb") as sparse:
        sparse.truncate(40 << 30)
    (tmp_path / scenario.cost.price_book).mkdir()
    assert inputs() == before
    assert run_inputs.files_named(scenario.model_dump(mode="json")) == {}


def test_a_file_that_no_reader_takes_is_not_read_and_counts_by_its_size(tmp_path, monkeypatch):
    monkeypatch.setattr(run_inputs, "_digest_of", lambda *_: pytest.fail("read"))
    path = tmp_path / "trace.jsonl"
    digests = set()
    for size in (40 << 30, 41 << 30):
        with path.open("wb") as sparse:
            sparse.truncate(size)
        digests |= set(run_inputs.files_named({"source": str(path)}).values())
    assert len(digests) == 2


def test_of_a_folder_the_tables_that_are_read_count_and_all_of_them(tmp_path):
    def digest():
        return run_inputs.file_digest(tmp_path)

    for number in range(1100):
        (tmp_path / f"h200_sxm_nccl_{number}.csv").write_text("1")
    before = digest()
    (tmp_path / "below").mkdir()
    for other in ("notes.csv", "below/h200_sxm_moe.csv", "h200_sxm_moe.txt"):
        (tmp_path / other).write_text("1")
    assert digest() == before
    (tmp_path / "h200_sxm_nccl_1099.csv").write_text("22")
    after = digest()
    (tmp_path / "h200_sxm_nccl_1098.csv").write_text("22")
    assert len({before, after, digest()}) == 3


@pytest.mark.parametrize("reference", ["my.toml", "my.toml+tilert", "my.toml@spine0"])
def test_a_fabrics_file_is_found_before_engine_and_failures(tmp_path, monkeypatch, reference):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my.toml").write_text("")
    assert list(run_inputs.files_named({"fabrics": [reference]})) == ["my.toml"]


@pytest.mark.parametrize("package", ["llvmlite", "numba", "numpy", "pandas"])
def test_another_release_of_what_figures_are_made_with_is_another_program(monkeypatch, package):
    before = run_inputs.program_digest.__wrapped__()
    real = run_inputs.version
    monkeypatch.setattr(run_inputs, "version", lambda name: "0" if name == package else real(name))
    assert run_inputs.program_digest.__wrapped__() != before


def test_another_python_is_another_program(monkeypatch):
    before = run_inputs.program_digest.__wrapped__()
    monkeypatch.setattr("platform.python_version", lambda: "0")
    assert run_inputs.program_digest.__wrapped__() != before
