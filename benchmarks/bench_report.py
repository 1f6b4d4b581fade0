"""How long the report of a comparison takes and how large it is: four fabrics of 1,024 GPUs, five seeds.

    python benchmarks/bench_report.py [--requests 1500]

The runs come first and are not counted. Then the folder is written with all its tables, pictures and the page, and the page is
made once more from what was stored. Prints seconds of the clock and of the processor, and bytes of the page; the bound is for
the processor's, which is the clock's where nothing else runs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from zcube import __version__
from zcube.comparison import compare
from zcube.out_folder import out_folder
from zcube.report.folder import PAGE_FILE, write_folder
from zcube.report.rebuilt import rebuilt_page
from zcube.report.stored import read_results
from zcube.scenario import load_scenario

FABRICS = ("roft-1024", "zcube-1024", "rail-only-1024", "planes8-1024")
MOST_S, MOST_BYTES = 10.0, 3_000_000


def timed(work: Callable[[], Any]) -> tuple[Any, float, float]:
    """Return what work gives, and seconds of the clock and of the processor."""
    clock, processor = time.perf_counter(), time.process_time()
    done = work()
    return done, time.perf_counter() - clock, time.process_time() - processor


def main() -> None:
    """Run the benchmark; exit 1 where a bound is missed."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=1500)
    parser.add_argument("--fabrics", default=",".join(FABRICS))
    given = parser.parse_args()
    changes = {"fabrics": given.fabrics.split(","), "baseline": None, "seeds": 5, "requests.count": given.requests}
    scenario = load_scenario("glm51-pd-1024", changes)
    compared = compare(scenario)
    record = {
        "record_version": 1,
        "zcube_version": __version__,
        "call": ["compare"],
        "scenario": scenario.model_dump(mode="json"),
    }
    with TemporaryDirectory() as place:
        folder = Path(place) / "out"
        _, *written = timed(lambda: write_folder(compared, record, out_folder(folder)))
        size = (folder / PAGE_FILE).stat().st_size
        page, *again = timed(lambda: rebuilt_page({folder: read_results(folder)}))
        same = page == (folder / PAGE_FILE).read_text(encoding="utf-8")
    print(f"{len(compared.results)} fabrics, 5 seeds, {given.requests:,} requests")
    print(f"folder written:        {written[0]:6.2f} s clock, {written[1]:6.2f} s processor; page {size:,} bytes")
    print(
        f"page from the stored:  {again[0]:6.2f} s clock, {again[1]:6.2f} s processor; {'the same' if same else 'ANOTHER'} page"
    )
    if written[1] > MOST_S or size > MOST_BYTES or not same:
        raise SystemExit(f"missed: at most {MOST_S:g} s, {MOST_BYTES:,} bytes and the same page")


if __name__ == "__main__":
    main()
