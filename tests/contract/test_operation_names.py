"""Operations have one name each, in calibrations and traces; readers take everybody's spellings, those of older files too."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from zcube.calibrate import operations
from zcube.calibrate.calibration import read_calibration, write_calibration
from zcube.calibrate.fitting import fit
from zcube.calibrate.measure.drivers import PROGRAMS
from zcube.calibrate.measure.settings import MeasureSettings
from zcube.calibrate.measurements import read_measurements, write_measurements
from zcube.trace import operation_names
from zcube.trace.collective_steps import ALGORITHMS

KEPT = Path(__file__).resolve().parents[2] / "calibrations"
SPELLINGS = {
    "all-to-all": ["alltoall", "all_to_all", "AlltoAll", "all_to_all_single"],
    "all-gather": ["all_gather", "allgather", "AllGather", "all_gather_into_tensor", "_allgather_base"],
    "reduce-scatter": ["reduce_scatter", "ReduceScatter", "reduce_scatter_tensor"],
    "all-reduce": ["all_reduce", "allreduce", "AllReduce", "all reduce"],
    "broadcast": ["broadcast", "Broadcast", "bcast"],
    "reduce": ["reduce", "Reduce"],
    "gather": ["gather", "Gather"],
    "scatter": ["scatter", "Scatter"],
}


@pytest.mark.parametrize("name", SPELLINGS)
def test_every_spelling_has_one_name_in_traces_and_calibrations(name):
    for spelling in [name, *SPELLINGS[name]]:
        assert operation_names.canonical(spelling) == operations.canonical(spelling) == name
    for spelling in (f"{name.replace('-', '_')}_perf", f"nccl{name.replace('-', '').title()}"):
        assert operations.canonical(spelling) == name


@pytest.mark.parametrize("name", ["send-receive", "send_recv", "sendrecv_perf", "ncclSend", "recv", "P2P"])
def test_a_send_or_a_receive_is_measured_as_a_pair(name):
    assert operations.canonical(name) == "send-receive"


@pytest.mark.parametrize("name", ["", "halo", "barrier", "wait", "all"])
def test_what_is_not_measured_has_no_name(name):
    assert operations.canonical(name) is None


def test_what_is_measured_is_among_what_traces_have():
    assert operations.OPERATIONS.keys() <= ALGORITHMS.keys()
    assert PROGRAMS.keys() == set(MeasureSettings().operations) <= operations.OPERATIONS.keys()
    assert {operations.canonical(program) for program in PROGRAMS.values()} == PROGRAMS.keys()
    assert MeasureSettings(operations=("alltoall", "send_recv")).operations == ("all-to-all", "send-receive")


def test_files_in_other_spellings_are_read_and_written_in_these(tmp_path):
    kept, path = KEPT / "2x-h200-nvlink.json", tmp_path / "again.json"
    assert "alltoall" in {row["operation"] for row in json.loads(kept.read_text())["rows"]}
    found = read_measurements(kept)
    assert set(found.operation) <= operations.OPERATIONS.keys()
    write_measurements(found, path)
    assert {row["operation"] for row in json.loads(path.read_text())["rows"]} == set(found.operation)
    assert read_measurements(path).digest() == found.digest()


def test_a_calibration_in_other_spellings_says_the_same(tmp_path):
    kept, path = KEPT / "2x-h200.calibration.json", tmp_path / "again.json"
    assert {"alltoall", "send_recv"} <= {curve["operation"] for curve in json.loads(kept.read_text())["curves"]}
    calibration = read_calibration(kept)
    assert {curve.operation for curve in calibration.curves} <= operations.OPERATIONS.keys()
    assert calibration.held_out is not None
    assert calibration.held_out.by_operation.keys() <= operations.OPERATIONS.keys()
    write_calibration(calibration, path)
    assert read_calibration(path) == calibration
    fresh = fit(read_measurements(KEPT / "2x-h200-nvlink.json"), draws=0)
    assert {curve.operation for curve in fresh.curves} <= {curve.operation for curve in calibration.curves}
