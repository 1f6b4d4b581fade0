"""Time ``zcube plan`` with every output: the build of another environment beside that of this one.

    python benchmarks/bench_plan.py [OLD_PYTHON] [--new PYTHON] [--only CASE]... [--repeats 3]

OLD_PYTHON is that of an environment in which the build to compare with is installed; without it this one's is timed alone.
Each case runs once to compile, then both builds in turn, so that other work on the machine meets both. CPU time (user and
system) and wall-clock time are of the process and those that it started, medians; the ratios are medians of the ratios of
turns, old over new. Peak memory is the largest of any single process. ``differ`` counts the values of plan.json that both
plans have and that are not the same. No time is asserted.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

CASES = {
    "1024": ["--gpus", "1024", "--switch", "25.6T"],
    "4096": ["--gpus", "4096", "--switch", "51.2T"],
    "4096-two-switches": ["--gpus", "4096", "--switch", "25.6T,51.2T"],
    "4096-growth": ["--gpus", "4096", "--switch", "51.2T", "--growth", "8192"],
    "16384": ["--gpus", "16384", "--switch", "51.2T"],
    "16384-growth": ["--gpus", "16384", "--switch", "51.2T", "--growth", "32768"],
}


class Taken(NamedTuple):
    """What a run took."""

    cpu_s: float
    wall_s: float
    peak_gb: float


def planned(python: str, demand: list[str], out: Path) -> Taken:
    """Run ``zcube plan`` and return what it took."""
    began_s = time.perf_counter()
    words = [python, "-m", "zcube", "plan", *demand, "--out", str(out)]
    process = subprocess.Popen(words, cwd=out.parent, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"{' '.join(words)} failed")
    return Taken(usage.ru_utime + usage.ru_stime, time.perf_counter() - began_s, usage.ru_maxrss * 1024 / 1e9)


def values(document: Any, place: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every single value of a document with its place."""
    if isinstance(document, (dict, list)):
        for key, value in document.items() if isinstance(document, dict) else enumerate(document):
            yield from values(value, f"{place}/{key}")
    else:
        yield place, document


def differing(one: Path, other: Path) -> str:
    """Return how many of the values that both plans have are not the same."""
    before, after = (dict(values(json.loads((folder / "plan.json").read_text()))) for folder in (one, other))
    both = before.keys() & after.keys()
    return f"{sum(before[place] != after[place] for place in both)} of {len(both)}"


def main() -> None:
    """Print a row per case."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", nargs="?")
    parser.add_argument("--new", default=sys.executable)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=3)
    asked = parser.parse_args()
    builds = {"old": asked.old, "new": asked.new} if asked.old else {"new": asked.new}
    columns = "".join(f"{f'{what} {build}':>11}" for what in ("CPU", "wall", "peak GB") for build in builds)
    print(f"{'case':20}{columns}" + (f"{'CPU':>8}{'wall':>8}  differ" if asked.old else ""))
    for name in asked.only or CASES:
        with tempfile.TemporaryDirectory(prefix="zcube-plan-") as place:
            outs = {build: Path(place) / build for build in builds}
            for build, python in builds.items():
                planned(python, CASES[name], outs[build])
            turns = [
                {build: planned(python, CASES[name], outs[build]) for build, python in builds.items()}
                for _ in range(asked.repeats)
            ]
            cells = "".join(f"{median(turn[build][field] for turn in turns):11.2f}" for field in range(3) for build in builds)
            if asked.old:
                ratios = (median(turn["old"][field] / turn["new"][field] for turn in turns) for field in range(2))
                cells += "".join(f"{ratio:8.2f}" for ratio in ratios) + f"  {differing(*outs.values())}"
        print(f"{name:20}{cells}", flush=True)


if __name__ == "__main__":
    main()
