"""Time verbs that do several runs with ``--jobs 1`` against more of them, side by side.

    python benchmarks/bench_jobs.py [PYTHON] [--jobs 2] [--only CASE]... [--repeats 5]

PYTHON is that of an environment in which zcube is installed, this one by default. Each case runs once to compile, then both
ways in turn, so that other work on the machine meets both. Wall-clock and CPU time (user and system, of the process and those
that it started) are medians, the ratios medians of the ratios of turns, one run at a time over several: wall above 1 is what
further processors save, CPU below 1 is what starting processes costs. Outputs are compared to the byte. No time is asserted.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

CASES = {
    "compare": ["compare", "glm51-pd-1024", "--json"],
    "compare-seeds": ["compare", "glm51-pd-1024", "--json", "--seeds", "4", "--set", "requests.count=3000"],
    "capacity": ["compare", "glm51-pd-256", "--json", "--set", "slo.ttft_s=2", "--find-capacity"],
    "knee": ["compare", "glm51-pd-256", "--json", "--find-knee"],
    "degrade": ["fabric", "degrade", "roft-4096@switch:leaf0", "zcube-4096@switch:A0", "--json"],
    "plan": ["plan", "--gpus", "1024", "--nic", "400", "--switch", "25.6T", "--json"],
}


def taken(python: str, arguments: list[str], out: Path) -> tuple[float, float]:
    """Run ``zcube``; return wall-clock and CPU seconds."""
    began_s = time.perf_counter()
    with out.open("wb") as file:
        words = [python, "-m", "zcube", *arguments]
        process = subprocess.Popen(words, cwd=out.parent, stdout=file, stderr=subprocess.DEVNULL)
        _, status, usage = os.wait4(process.pid, 0)
    if process.returncode is None:
        process.returncode = os.waitstatus_to_exitcode(status)
    if status:
        raise SystemExit(f"{' '.join(words)} failed")
    return time.perf_counter() - began_s, usage.ru_utime + usage.ru_stime


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("python", nargs="?", default=sys.executable)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=5)
    asked = parser.parse_args()
    print(f"{'case':16}{'wall 1':>9}{f'wall {asked.jobs}':>9}{'ratio':>7}{'CPU 1':>9}{f'CPU {asked.jobs}':>9}{'ratio':>7}")
    for name in asked.only or CASES:
        with tempfile.TemporaryDirectory(prefix="zcube-jobs-") as place:
            outs = [Path(place) / "one", Path(place) / "several"]
            words = [[*CASES[name], "--jobs", str(jobs)] for jobs in (1, asked.jobs)]
            taken(asked.python, words[0], outs[0])
            turns = [[taken(asked.python, *way) for way in zip(words, outs, strict=True)] for _ in range(asked.repeats)]
            if outs[0].read_bytes() != outs[1].read_bytes():
                raise SystemExit(f"{name}: the outputs differ")
        cells = f"{name:16}"
        for column in (0, 1):
            one, several = ([turn[way][column] for turn in turns] for way in (0, 1))
            ratio = median(first / second for first, second in zip(one, several, strict=True))
            cells += f"{median(one):9.2f}{median(several):9.2f}{ratio:7.2f}"
        print(cells, flush=True)


if __name__ == "__main__":
    main()
