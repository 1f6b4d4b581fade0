"""NCCL's log of a real job, replayed on one node, against the shortest kernels that the profiler saw of each operation.

Run ``python -m pytest verification/test_recorded_replay.py -m slow -s`` with ``ZCUBE_DATA`` set; it prints the table. The
duration of a kernel holds what its rank waited for the others, so the shortest over ranks and calls of equal operation, bytes
and number of ranks stands for it. The recording is of four H100; it is replayed without a calibration and with one of each file
of four GPUs over NVLink among ``calibrations/``. Uneven all-to-alls and sends are transfers of their own, whose kernels cannot
be told apart by size, and are left out. Of a broadcast and a reduce the shortest kernel is that of a rank that is done before
the others: it is printed, and no bound but that of the median holds for it.
"""

from __future__ import annotations

import gzip
import json
import os
from pathlib import Path

import pytest

import zcube as zc
from zcube.trace.comm_trace import Kind
from zcube.trace.importers.catalog import import_trace

pytestmark = pytest.mark.slow
PROJECT = Path(__file__).resolve().parents[1]
DATA = Path(os.environ.get("ZCUBE_DATA", PROJECT.parent / "shared" / "data")) / "h100x4-recorded"
MEASURED = sorted(PROJECT.glob("calibrations/4x-*-nvlink*.json"))
#: The profiler's names of even collectives, and its types' bytes.
NAMES = {
    "all_to_allv": "all-to-all",
    "_allgather_base": "all-gather",
    "all_gather": "all-gather",
    "_reduce_scatter_base": "reduce-scatter",
    "allreduce": "all-reduce",
    "broadcast": "broadcast",
    "reduce": "reduce",
}
ROOTED = ("broadcast", "reduce")
TYPE_BYTES = {"BFloat16": 2, "Float": 4, "Long": 8, "Byte": 1}
LARGE_BYTES, WITHIN = 1_000_000, 0.25


def shortest_kernels():
    """Return the shortest kernel of each (operation, ranks, bytes that a rank puts in), seconds, read apart from zcube."""
    found = {}
    for path in sorted(DATA.glob("kineto_rank*.json.gz")):
        for event in json.loads(gzip.decompress(path.read_bytes()))["traceEvents"]:
            told = event.get("args", {})
            name = NAMES.get(told.get("Collective name"))
            if event.get("cat") != "kernel" or name is None or told.get("In split size", "[]") != "[]":
                continue
            size = told["In msg nelems"] * TYPE_BYTES[told["dtype"]]
            key = name, len(json.loads(told["Process Group Ranks"])), size
            found[key] = min(found.get(key, 1e9), event["dur"] * 1e-6)
    return found


@pytest.fixture(scope="module")
def recorded():
    if not DATA.is_dir():
        pytest.skip(f"no recording at {DATA}; set ZCUBE_DATA")
    log = import_trace(sorted(DATA.glob("nccl.*.log.gz"))).trace
    profile = import_trace(sorted(DATA.glob("kineto_rank*.json.gz"))).trace
    return log, profile, shortest_kernels()


def errors(recorded, calibration):
    """Return simulated / recorded - 1 by operation, and print it."""
    log, profile, kernels = recorded
    done = zc.replay("roft-256", log, zc.Network(calibration=calibration), against=profile)
    rows = {(row.operation, row.ranks, row.size_bytes): row for row in done.recorded}
    assert set(kernels) <= set(rows)
    print(f"\n{calibration or 'no calibration'}")
    found = {}
    for key in sorted(kernels, key=lambda key: key[2]):
        found[key] = rows[key].simulated_s / kernels[key] - 1
        times = f"{kernels[key] * 1e6:7.1f} us recorded, {rows[key].simulated_s * 1e6:7.1f} us simulated"
        print(f"  {key[0]:15} {key[1]} ranks {key[2]:>10,} B  {times}, {found[key]:+.1%}")
    large = [key for key in found if key[2] > LARGE_BYTES]
    print(f"  messages above 1 MB: {len(large)}")
    return found


def test_recorded_durations_are_those_of_the_shortest_kernels(recorded):
    """What an import takes for an operation's time, last come to last done, is no less than its shortest kernel, and near."""
    _, profile, kernels = recorded
    for (name, ranks, size), kernel_s in kernels.items():
        rows = [
            row
            for row in profile.rows(Kind.COLLECTIVE)
            if (profile.names[profile.name[row]], len(profile.groups[profile.group[row]])) == (name, ranks)
            and profile.size_bytes[row] == size
        ]
        least_s = min(profile.duration_s[rows])
        assert least_s > kernel_s - 1e-7
        assert name in ROOTED or least_s == pytest.approx(kernel_s, abs=2.5e-6)


@pytest.mark.parametrize("path", MEASURED, ids=lambda path: path.stem)
def test_a_calibrated_replay_is_near_the_kernels(recorded, path, tmp_path):
    fitted = tmp_path / f"{path.stem}.calibration.json"
    zc.calibrate.write_calibration(zc.calibrate.fit(zc.calibrate.read(path), draws=0), fitted)
    found = errors(recorded, str(fitted))
    assert all(abs(error) <= WITHIN for key, error in found.items() if key[2] > LARGE_BYTES)
    far = sorted(abs(error) for error in found.values())
    assert far[len(far) // 2] <= WITHIN
    assert max(abs(error) for key, error in found.items() if key[0] not in ROOTED) <= 0.5


def test_without_a_calibration_starts_are_missing(recorded):
    """NVLink at its data sheet's rate and no start: small messages take far too little, which is stated and not hidden."""
    found = errors(recorded, None)
    assert max(error for key, error in found.items() if key[2] < LARGE_BYTES) < -0.5
