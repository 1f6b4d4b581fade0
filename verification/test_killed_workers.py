"""A worker that is killed in the middle of a verb's runs: exit 1 soon, who ended and how in the message, nothing left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="children are found in /proc")]

LONG = ("--set", "requests.count=20000", "--set", "load.concurrency=24")
STUDY = """scenarios = ["nic-cap-32"]
seeds = 2
[set]
requests.count = 20000
[grid]
network.nic_gbps = [50, 100, 200, 400]
"""
SEARCH = ("--gpus", "64", "--nic", "400", "--switch", "25.6T", "--families", "spine-leaf", "--search", "--population", "32")
MATRIX = ("--transports", "dcqcn,ecmp")
VERBS = {
    "compare": ("compare", "nic-cap-32", *LONG, "--jobs", "2", "--out", "out"),
    "sweep": ("sweep", "study.toml", "--jobs", "2", "--out", "out"),
    "matrix": ("matrix", "permutation", "--fabrics", "roft-256,zcube-256", *MATRIX, "--jobs", "2", "--out", "out"),
    "plan": ("plan", *SEARCH, "--generations", "200", "--jobs", "2", "--out", "out"),
}  # fmt: skip


def children(process: int) -> list[int]:
    try:
        return [int(child) for child in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        return []


def is_at_work(process: int) -> bool:
    """Whether a process has taken a second of a processor, and is no compiler."""
    try:
        words = Path(f"/proc/{process}/cmdline").read_bytes()
        user = int(Path(f"/proc/{process}/stat").read_text().rpartition(")")[2].split()[11])
    except OSError:
        return False
    return b"multiprocessing" in words and b"resource_tracker" not in words and user > os.sysconf("SC_CLK_TCK")


@pytest.mark.parametrize("verb", VERBS)
@pytest.mark.parametrize("sent", [signal.SIGKILL, signal.SIGSEGV], ids=lambda sent: sent.name)
def test_a_worker_that_ends_ends_the_verb(tmp_path, verb, sent):
    if verb == "plan":
        pytest.importorskip("pymoo")
    (tmp_path / "study.toml").write_text(STUDY)
    command = [sys.executable, "-P", "-m", "zcube", *VERBS[verb]]
    process = subprocess.Popen(command, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    ends_s = time.monotonic() + 300
    while not (at_work := [child for child in children(process.pid) if is_at_work(child)]):
        assert process.poll() is None and time.monotonic() < ends_s, process.communicate()
        time.sleep(0.05)
    everyone = children(process.pid)
    os.kill(at_work[0], sent)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 1, err
    assert sent.name in err or f"signal {sent.value}" in err or "was killed" in err, err
    assert "Traceback" not in err
    assert not any(Path(f"/proc/{child}").exists() for child in everyone)
    assert not [path for path in tmp_path.iterdir() if path.name.startswith(".")]
