"""Runs kept in a folder of results: a torn line, what was changed, two writers, and what runs come from."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from zcube import run_inputs
from zcube.errors import InputError
from zcube.kept_runs import KeptRun, KeptRuns, read_runs
from zcube.out_folder import out_folder

NAME = "runs.jsonl"
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


def test_a_file_counts_as_what_it_holds_and_a_pipe_as_nothing(tmp_path):
    path = tmp_path / "trace.csv"
    path.write_text("1")
    os.mkfifo(tmp_path / "pipe")
    before = run_inputs.files_named({"a": [str(path), str(tmp_path / "pipe"), "x" * 5000]})
    assert list(before) == [str(path)]
    path.write_text("22")
    assert run_inputs.files_named(str(path)) != before
    assert json.dumps(before)
