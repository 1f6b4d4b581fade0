"""Processes of parallel runs that end while they work: the verb says so and ends, or begins the run again; nothing is left."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc"),
]

LONG = ("nic-cap-32", "--set", "requests.count=20000", "--set", "load.concurrency=24", "--jobs", "2", "--out", "out")
STUDY = """scenarios = ["nic-cap-32"]
seeds = 2
[set]
requests.count = 3000
[grid]
network.nic_gbps = [50, 100]
"""
SEARCH = ("--gpus", "64", "--nic", "400", "--switch", "25.6T", "--families", "spine-leaf", "--search", "--population", "32")
FABRICS = ("roft-256@random-links:0.02", "zcube-256@random-links:0.02")
WRITTEN = ("--jobs", "2", "--out", "out")
VERBS = {
    "compare": ("compare", *LONG),
    "capacity": ("compare", *LONG, "--find-capacity", "--set", "slo.ttft_s=2"),
    "matrix": ("matrix", "permutation", "--fabrics", "roft-256,zcube-256", "--transports", "dcqcn,ecmp", *WRITTEN),
    "degrade": ("fabric", "degrade", *(2 * FABRICS), "--partners", "31", "--queue-pairs", "16", "--jobs", "2"),
    "plan": ("plan", *SEARCH, "--generations", "200", *WRITTEN),
}  # fmt: skip
#: Verbs whose folder holds what is done, for the next call to go on from.
KEEPS_RUNS = {"matrix": ("out",), "plan": ("out",)}
SWEEP = ("sweep", "study.toml", "--jobs", "2", "--out", "out")
#: What a process is given to be gone, on a machine with other work.
GONE_S = 30


def started(folder: Path, *words: str) -> subprocess.Popen[str]:
    (folder / "study.toml").write_text(STUDY)
    (folder / "tmp").mkdir(exist_ok=True)
    return subprocess.Popen(
        [sys.executable, "-P", "-m", "zcube", *words], cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        env={**os.environ, "TMPDIR": str(folder / "tmp")}, start_new_session=True,
    )  # fmt: skip


def children(process: int) -> list[int]:
    try:
        tasks = [Path(f"/proc/{process}/task/{task.name}/children") for task in Path(f"/proc/{process}/task").iterdir()]
        return [int(child) for path in tasks for child in path.read_text().split()]
    except OSError:
        return []


def is_at_work(process: int) -> bool:
    """Whether a process runs, has taken some tenths of a second of a processor and is neither a compiler nor a tracker."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes()
        state, *figures = Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return False
    # One that waits may have ended its run.
    is_busy = state == "R" and int(figures[10]) > 0.3 * os.sysconf("SC_CLK_TCK")
    return is_busy and b"compile_groups" not in words and b"resource_tracker" not in words


def workers(process: subprocess.Popen[str]) -> list[int]:
    """Return the processes of a verb as soon as one is at work, that one first."""
    ends_s = time.monotonic() + 300
    while not any(map(is_at_work, everyone := children(process.pid))):
        assert process.poll() is None and time.monotonic() < ends_s, process.communicate()
        time.sleep(0.02)
    return sorted(everyone, key=lambda child: not is_at_work(child))


def check_nothing_left(process: subprocess.Popen[str], folder: Path, also: tuple[str, ...] = ()) -> None:
    until_s = time.monotonic() + GONE_S
    while lives(process.pid) and time.monotonic() < until_s:
        time.sleep(0.05)
    assert not lives(process.pid), "a process runs on"
    assert not list((folder / "tmp").iterdir())
    assert sorted(path.name for path in folder.iterdir()) == sorted(["study.toml", "tmp", *also])


def lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


@pytest.fixture(scope="module", autouse=True)
def _warm() -> None:
    subprocess.run([sys.executable, "-P", "-m", "zcube", "warm"], check=True, capture_output=True)


@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV], ids=lambda sent: sent.name)
@pytest.mark.parametrize("verb", VERBS)
def test_a_process_that_ends_ends_the_verb_which_names_its_run(tmp_path: Path, verb: str, sent: signal.Signals) -> None:
    process = started(tmp_path, *VERBS[verb])
    os.kill(workers(process)[0], sent)
    _, err = process.communicate(timeout=GONE_S)
    assert process.returncode == 1, err
    (line,) = [line for line in err.splitlines() if line.startswith("error: ")]
    assert f"by signal {sent.value}" in line and "its run (" in line and "Traceback" not in err, err
    check_nothing_left(process, tmp_path, KEEPS_RUNS.get(verb, ()))


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL], ids=lambda sent: sent.name)
@pytest.mark.parametrize("verb", VERBS)
def test_the_processes_end_with_the_verb(tmp_path: Path, verb: str, sent: signal.Signals) -> None:
    process = started(tmp_path, *VERBS[verb])
    workers(process)
    process.send_signal(sent)
    _, err = process.communicate(timeout=GONE_S)
    assert process.returncode == {signal.SIGTERM: 143, signal.SIGINT: 130}.get(sent, -sent) and "Traceback" not in err, err
    check_nothing_left(process, tmp_path, KEEPS_RUNS.get(verb, ()))


def test_a_sweep_begins_the_run_of_a_killed_process_again(tmp_path: Path) -> None:
    process = started(tmp_path, *SWEEP)
    os.kill(workers(process)[0], signal.SIGKILL)
    _, err = process.communicate(timeout=300)
    assert process.returncode == 0, err
    check_nothing_left(process, tmp_path, ("out",))
    whole = tmp_path / "whole"
    whole.mkdir()
    (undisturbed := started(whole, *SWEEP)).communicate(timeout=300)
    assert undisturbed.returncode == 0
    differing = {"run.json"}
    names = {path.name for path in (tmp_path / "out").iterdir()} - differing
    assert names == {path.name for path in (whole / "out").iterdir()} - differing
    assert (tmp_path / "out" / "points.parquet").read_bytes() == (whole / "out" / "points.parquet").read_bytes()


@pytest.mark.parametrize("sent", [signal.SIGTERM, signal.SIGKILL], ids=lambda sent: sent.name)
def test_a_sweep_goes_on_with_what_is_missing_only(tmp_path: Path, sent: signal.Signals) -> None:
    process = started(tmp_path, *SWEEP)
    assert process.stdout is not None and process.stdout.readline()
    process.send_signal(sent)
    process.communicate(timeout=GONE_S)
    check_nothing_left(process, tmp_path, ("out",))
    listed = started(tmp_path, *SWEEP, "--dry-run", "--json").communicate(timeout=60)[0]
    missing = json.loads(listed)["to_run"]
    assert 0 < missing < 8
    again = started(tmp_path, *SWEEP)
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0, err
    assert sum(f" of {missing}, " in line for line in out.splitlines()) == missing, out
