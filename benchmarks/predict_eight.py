"""Predict NCCL's collectives and TileRT's exchanges among eight GPUs from runs among fewer, before any run among eight.

    python benchmarks/predict_eight.py                     # the predictions
    python benchmarks/predict_eight.py --against runs.json # and their errors against runs among eight

NCCL: the model over numbers of ranks (``zcube.calibrate.scaling``) of all kept runs of two and four H200 over NVLink; the
interval spans what each machine of four predicts by itself. Tiles: an all-reduce grows by its peers, beyond its bytes at
NVLink's rate in the data sheet; a put into seven peers takes the constant of a put into one and its bytes at the rate of a
stream (``docs/tilert.md``).
"""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np

from zcube.calibrate.checking import check
from zcube.calibrate.fitting import fit
from zcube.calibrate.readers import read_files
from zcube.calibrate.tile_figures import node_figures
from zcube.calibrate.tile_parts import fit_parts
from zcube.calibrate.tile_times import read_tile_times
from zcube.llm.decode_node.figures import load_node
from zcube.llm.devices import load_device

KEPT = Path(__file__).resolve().parent.parent / "calibrations"
MACHINES = ("4x-h200-nvlink", "4x-h200-nvlink-later", "4x-h200-nvlink-third", "4x-h200-nvlink-fourth")
TILES = ("2x-h200", "4x-h200", "4x-h200-other", "4x-h200-third")
OPERATIONS = ("all-to-all", "all-reduce", "all-gather", "reduce-scatter", "broadcast")
EIGHT, PEERS = 8, 7
SIZES = 2.0 ** np.arange(10, 31, 2)
LEAST_BYTES = 65_536
PUTS_BYTES = (8_192, 16_384)


def nccl():
    """Return the calibrations: of all machines, and of each."""
    machines = [read_files(KEPT / f"{name}.json") for name in MACHINES]
    return fit(read_files([KEPT / f"{name}.json" for name in MACHINES]), draws=0), [fit(one, draws=0) for one in machines]


def print_nccl(calibration, machines):
    """Print microseconds by size, with the least and the most of the machines."""
    print("NCCL over NVLink, eight H200, predicted microseconds (least and most of four machines' own)")
    print(f"{'bytes':>12}  " + "  ".join(f"{name:>24}" for name in OPERATIONS))
    columns = []
    for name in OPERATIONS:
        every = [one.predict_s(name, EIGHT, "nvlink", SIZES) * 1e6 for one in (calibration, *machines)]
        columns.append((every[0], np.min(every[1:], axis=0), np.max(every[1:], axis=0)))
    for row, size in enumerate(SIZES):
        cells = [f"{time[row]:.4g} ({low[row]:.4g}-{high[row]:.4g})" for time, low, high in columns]
        print(f"{int(size):>12}  " + "  ".join(f"{cell:>24}" for cell in cells))


def print_tiles():
    """Print microseconds of an all-reduce among eight and of a put into seven peers."""
    parts = fit_parts([read_tile_times(KEPT / f"tiles-{name}.json") for name in TILES])
    figures = {one.figure: one for one in node_figures(load_node("tilert-b200"), parts).taken}
    reduce, put = figures["all_reduce_us"], figures["signal_us"]
    wires, stream = load_device("h200").peak.nvlink_gbytes_per_s, parts.link_gbytes_per_s.value
    print("\nTiles, eight H200, predicted microseconds")
    for size in (12_288, 49_152):
        each = PEERS * size / wires * 1e-3
        print(f"all-reduce in one running kernel, {size} B: {reduce.value + each:.2f}"
              f" ({reduce.low + each:.2f}-{reduce.high + each:.2f})")  # fmt: skip
    for size in PUTS_BYTES:
        each = PEERS * size / stream * 1e-3
        print(f"put of {size} B into seven peers: {put.value + each:.2f} ({put.low + each:.2f}-{put.high + each:.2f})")


def print_errors(calibration, files):
    """Print how far the predictions are from runs among eight, by operation, from 64 KiB up and below."""
    measured = read_files([Path(file) for file in files])
    found = check(calibration, measured.where(measured.ranks == EIGHT))
    print(f"\nagainst {', '.join(files)}: median / P90 of |predicted / measured - 1|")
    large = found.measurements.size_bytes >= LEAST_BYTES
    for name in (*OPERATIONS, None):
        of = np.full(len(large), True) if name is None else found.measurements.operation == name
        if (of & large).any():
            above, below = found.total(of & large), found.total(of & ~large)
            parts = (f"{where} {one.median:6.1%} / {one.p90:6.1%}" for where, one in (("from 64 KiB", above), ("below", below)))
            print(f"{name or 'all':>16}: {', '.join(parts)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--against", nargs="*", default=[], help="measurements of runs among eight")
    options = parser.parse_args()
    joint, apart = nccl()
    print_nccl(joint, apart)
    print_tiles()
    if options.against:
        print_errors(joint, options.against)
