"""Time ``zcube compare`` of two installed builds side by side: CPU time per simulated request, and peak memory.

    python benchmarks/bench_compare.py --old OLD/bin/python --new NEW/bin/python [--only JOB]... [--repeats 5] [--jobs 1]

A build is a Python that has zcube installed, or any command that stands for one (``"env PYTHONPATH=tree python"``). Every job
runs once in each build to compile, then as often as asked, the builds taking turns. CPU time is user and system time of the
whole process and of all that it waits for; memory is that of its largest process. What is divided by is the requests that the
run's own document counts as offered, on all fabrics: builds may differ in how many requests a bundled scenario has and in
which they are (its length, restarted sessions, window of measurement). Only the job ``conversation`` gives both the same
requests, from Mooncake's trace under the folder named by ``ZCUBE_DATA``; it is left out without it.

Runs side by side take more CPU time each where two processors are threads of one core; ``--jobs 1`` shows it without.

Printed are medians, the ratio old to new of each pair's CPU time per request, its median, and peak memory; of the new build
also what the closed loop costs beside the open one, and, with ``--tenfold``, memory at ten times the requests.
"""

from __future__ import annotations

import argparse
import json
import os
import shlex
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from statistics import median

CONVERSATION = "mooncake/conversation_trace.jsonl"
OPEN = "glm51-pd-1024"
EP32 = "glm51-ep32-1024"


def jobs() -> dict[str, list[str]]:
    """Return the arguments of every job that can be run here."""
    found = {
        OPEN: [OPEN],
        "ep32": [EP32, "--set", "requests.count=1000"],
        "closed-1500": [OPEN, "--set", "load.mode=closed", "--set", "load.concurrency=1500"],
    }
    trace = Path(os.environ.get("ZCUBE_DATA", "")) / CONVERSATION
    if "ZCUBE_DATA" in os.environ and trace.exists():
        found["conversation"] = [OPEN, "--requests", str(trace)]
    return found


@dataclass(frozen=True)
class Cost:
    """What one process took: CPU seconds, bytes of its largest process, requests simulated on all fabrics."""

    cpu_s: float
    peak_bytes: int
    requests: int

    @property
    def ms_per_request(self) -> float:
        """CPU time per simulated request, milliseconds."""
        return 1e3 * self.cpu_s / self.requests


def run(build: str, arguments: list[str]) -> Cost:
    """Run a comparison in a build."""
    command = [*shlex.split(build), "-m", "zcube", "compare", *arguments, "--json"]
    # With its bytecode kept, as that of an installed package is.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    # Away from any source tree, whose package would come before the build's.
    with tempfile.TemporaryDirectory() as folder, (Path(folder) / "out.json").open("w+b") as out:
        process = subprocess.Popen(command, cwd=folder, env=environment, stdout=out, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            raise SystemExit(f"exit status {process.returncode}: {shlex.join(command)}")
        out.seek(0)
        document = json.load(out)
    offered = sum(fabric["requests"]["offered"] for fabric in document["fabrics"].values())
    return Cost(usage.ru_utime + usage.ru_stime, usage.ru_maxrss * 1024, offered)


def main() -> None:
    """Print a row per job."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--old", required=True, help="the build compared with")
    parser.add_argument("--new", default=sys.executable)
    parser.add_argument("--only", action="append", choices=jobs(), help="a job; repeat for several")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--jobs", type=int, help="runs at a time of the new build; the old one knows no other number than 1")
    parser.add_argument("--tenfold", action="store_true", help="memory of the new build at ten times the requests")
    asked = parser.parse_args()
    print(f"{'job':14}{'old, ms':>10}{'new, ms':>10}{'ratio':>8}{'old, MB':>10}{'new, MB':>10}   ratios")
    new_s: dict[str, float] = {}
    for name, arguments in jobs().items():
        if asked.only and name not in asked.only:
            continue
        for build in (asked.old, asked.new):
            run(build, arguments)
        with_jobs = [*arguments, *(["--jobs", str(asked.jobs)] if asked.jobs else [])]
        pairs = [(run(asked.old, arguments), run(asked.new, with_jobs)) for _ in range(asked.repeats)]
        ratios = [old.ms_per_request / new.ms_per_request for old, new in pairs]
        old_ms, new_ms = (median(pair[side].ms_per_request for pair in pairs) for side in (0, 1))
        old_mb, new_mb = (median(pair[side].peak_bytes for pair in pairs) / 1e6 for side in (0, 1))
        new_s[name] = median(new.cpu_s for _, new in pairs)
        listed = " ".join(f"{ratio:.2f}" for ratio in ratios)
        print(f"{name:14}{old_ms:10.2f}{new_ms:10.2f}{median(ratios):8.2f}{old_mb:10.0f}{new_mb:10.0f}   {listed}", flush=True)
    if {OPEN, "closed-1500"} <= new_s.keys():
        print(f"closed-1500 takes {new_s['closed-1500'] / new_s[OPEN]:.2f} times the CPU time of {OPEN}")
    if asked.tenfold:
        once = run(asked.new, [OPEN])
        count = once.requests // 2
        tenfold = run(asked.new, [OPEN, "--set", f"requests.count={10 * count}"])
        print(f"memory at ten times the requests: {tenfold.peak_bytes / once.peak_bytes:.2f} times")


if __name__ == "__main__":
    main()
