"""Time starts of two installed builds side by side: on an empty folder of compiled kernels, and on a full one.

    python benchmarks/bench_start.py OLD_PYTHON [NEW_PYTHON] [--only replay-packet]... [--repeats 5]

Each argument is the Python of an environment in which a build of zcube is installed; NEW_PYTHON is this one by default. The
builds take turns, so that other work on the machine meets both. ``wall`` and ``CPU`` (user and system, of the process and of
those that it started) are medians of the repeats, the ratio is the median of the ratios of the turns, and ``peak`` is the
largest resident memory of one process. No time is asserted: this is read, not tested.
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
from typing import NamedTuple

#: Three transfers: as small as an example's; as large as what runs without compiled kernels; larger; a second long.
MEGABYTES = {"": (1, 1, 2), "-40": (10, 10, 19.9), "-60": (20, 20, 20), "-600": (200, 200, 200)}


def _flows(megabytes: tuple[float, ...]) -> str:
    rows = (f"{number},{number + 100},{size * 1e6:.0f},{number // 2 * 1e-5}\n" for number, size in enumerate(megabytes))
    return "src,dst,bytes,start_s\n" + "".join(rows)


def _replay(megabytes: str, fidelity: str) -> tuple[list[str], bool]:
    return ["replay", f"flows{megabytes}.csv", "--fabric", "roft-256", "--fidelity", fidelity], True


#: Arguments of ``zcube``, and whether a run without compiled kernels is of interest beside one with them. What is compared by
#: default is another scenario in another build; the bundled one here has as many requests in each.
CASES = {
    "help": (["--help"], False),
    "compare": (["compare", "glm51-pd-1024", "--set", "requests.count=3000", "--out", "out"], True),
    "compare-default": (["compare", "--out", "out"], True),
    **{f"replay-packet{name}": _replay(name, "packet") for name in MEGABYTES},
    "replay-flow": _replay("", "flow"),
    "show-n64": (["fabric", "show", "zcube-n64"], True),
}


class Taken(NamedTuple):
    """What one run took."""

    wall_s: float
    cpu_s: float
    peak_bytes: float


def taken(python: str, arguments: list[str], folder: Path, kernels: Path) -> Taken:
    """Run ``zcube`` of an environment."""
    # With its bytecode kept, as that of an installed package is.
    left_out = {"PYTHONDONTWRITEBYTECODE", *(() if python == sys.executable else ("PYTHONPATH",))}
    kept = {name: value for name, value in os.environ.items() if name not in left_out}
    began_s = time.perf_counter()
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        [python, "-m", "zcube", *arguments],
        cwd=folder,
        env={**kept, "NUMBA_CACHE_DIR": str(kernels)},
        stdout=quiet,
        stderr=quiet,
    )
    _, status, usage = os.wait4(process.pid, 0)
    wall_s = time.perf_counter() - began_s
    if status:
        raise SystemExit(f"{python} -m zcube {' '.join(arguments)} failed")
    return Taken(wall_s, usage.ru_utime + usage.ru_stime, usage.ru_maxrss * (1 if sys.platform == "darwin" else 1024))


def row(name: str, turns: list[tuple[Taken, Taken]]) -> str:
    """Return the line of a case."""
    cells = f"{name:22}"
    for column in ("wall_s", "cpu_s"):
        old, new = ([getattr(turn[build], column) for turn in turns] for build in (0, 1))
        ratio = median(one / other for one, other in zip(old, new, strict=True))
        cells += f"{median(old):10.2f}{median(new):10.2f}{ratio:8.2f}"
    old_peak, new_peak = (max(turn[build].peak_bytes for turn in turns) / 1e6 for build in (0, 1))
    return f"{cells}{old_peak:9.0f}{new_peak:9.0f}"


def main() -> None:
    """Print one row per case and state of the folder."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("old", help="Python of the environment of the build to compare with")
    parser.add_argument("new", nargs="?", default=sys.executable)
    parser.add_argument("--only", action="append", choices=CASES)
    parser.add_argument("--repeats", type=int, default=5)
    arguments = parser.parse_args()
    titles = ("old wall", "new wall", "ratio", "old CPU", "new CPU", "ratio", "old MB", "new MB")
    print(" " * 22 + "".join(f"{title:>{width}}" for title, width in zip(titles, (10, 10, 8, 10, 10, 8, 9, 9), strict=True)))
    builds = (arguments.old, arguments.new)
    for name in arguments.only or CASES:
        words, is_cold_too = CASES[name]
        with tempfile.TemporaryDirectory(prefix="zcube-start-") as place:
            # A build does not replace what another one wrote.
            folders = [Path(place) / build for build in ("old", "new")]
            for folder in folders:
                folder.mkdir()
                for megabytes, sizes in MEGABYTES.items():
                    (folder / f"flows{megabytes}.csv").write_text(_flows(sizes))
            cold, full = [], []
            for turn in range(arguments.repeats):
                kernels = [folder / f"kernels-{turn if is_cold_too else 0}" for folder in folders]
                first, again = (
                    tuple(taken(build, words, *where) for build, *where in zip(builds, folders, kernels, strict=True))
                    for _ in range(2)
                )
                cold += [first] if is_cold_too else []
                full.append(again)
        if cold:
            print(row(f"{name}, nothing kept", cold), flush=True)
        print(row(name, full), flush=True)


if __name__ == "__main__":
    main()
