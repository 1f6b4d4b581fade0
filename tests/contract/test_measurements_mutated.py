"""Copies of measured files and of what is fitted to them, cut, shuffled or overwritten: refused by name, or of use."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from measured_outputs import document, inspector, table
from test_recordings_mutated import mutated

from zcube.calibrate.apply import apply_calibration
from zcube.calibrate.calibration import read_calibration
from zcube.calibrate.fitting import fit
from zcube.calibrate.measurements import Measurements, Metadata, Row
from zcube.calibrate.readers import ReadOptions, read_measured
from zcube.calibrate.tile_figures import node_figures
from zcube.calibrate.tile_parts import fit_parts, read_tile_parts
from zcube.calibrate.tile_times import TileRow, TileTimes, read_tile_times
from zcube.errors import InputError
from zcube.llm.decode_node.figures import load_node
from zcube.outputs import to_json

SIZES = (1 << 10, 1 << 14, 1 << 18, 1 << 22, 1 << 26)


def measured():
    rows = [
        Row(name, ranks, "nvlink", size, 6e-6 + size / 3e11, pattern=pattern)
        for name, pattern in (("all-to-all", ""), ("send-receive", ""), ("send-receive", "one-way-pairs"))
        for ranks in (2, 4)
        for size in SIZES
    ]
    return Measurements.of(rows, Metadata(hardware="4x X", nvlink_line_rate_gbps=3600.0))


def tiles():
    def row(item, variant, us, size=4, blocks=1, gpus=2, **more):
        times = {"median_us": us, "p10_us": us, "p90_us": us, "min_us": us}
        fixed = {"item": item, "variant": variant, "gpus": gpus, "size_bytes": size, "blocks": blocks}
        return TileRow(**fixed, **times, samples=9, correct=True, **more)

    rows = [row("signal", f"push {how}", 0.7) for how in ("relaxed", "release")]
    rows.append(row("barrier", "one counter", 1.0, gpus=1))
    for size in SIZES[:3]:
        rows += [row("push", f"flag a {what}", 1.0 + size / 3e5, size, 8) for what in ("word", "block")]
        stages = ("persistent", "persistent, weights early", "graph", "graph, dependent launch", "stream")
        rows += [row("stage", name, 3.0 + size / 4e5, size, 9, 1) for name in stages]
        rows += [row("selection", f"{name}", 13.0 + size / 4e4, size, 9, 1) for name in ("1 query", "4 queries")]
    rows.append(row("stream", "stores of 16 B", 100.0, 36_000_000, 8))
    more = {"computing": "multiply-add", "work": 9, "tiles": 16}
    rows += [row("overlap", name, us, 9, 8, **more)
             for name, us in (("computation alone", 9.0), ("flag a word", 10.0), ("one fence at the end", 12.0))]  # fmt: skip
    rows += [row("all-reduce", "persistent, sentinel", 1.0 + gpus / 9, 12288, 8, gpus) for gpus in (2, 4)]
    return TileTimes(hardware="2x NVIDIA H200", rows=tuple(rows))


def read_times(path):
    assert fit_parts([read_tile_times(path)], draws=5).hardware


def read_parts(path):
    figures = node_figures(load_node("tilert-b200"), read_tile_parts(path))
    assert all(np.isfinite(one.value) and one.low <= one.value <= one.high for one in figures.taken)


def read_fitted(path):
    applied = apply_calibration(read_calibration(path))
    assert applied.nvlink_gbps is None or 0 < applied.nvlink_gbps < 1e9


def read_runs(path):
    fitted = fit(read_measured(path, ReadOptions(path="across") if path.suffix == ".csv" else None), draws=0)
    assert all(np.isfinite(curve.predict_s(np.array([1.0, 1e6, 1e12]))).all() for curve in fitted.curves)


FILES = {
    "calibration.json": (to_json(fit(measured(), draws=0).model_dump(mode="json")), read_fitted),
    "measurements.json": (to_json(measured().document()), read_runs),
    "tiles.json": (to_json(tiles().model_dump(mode="json")), read_times),
    "parts.json": (to_json(fit_parts([tiles()], draws=5).model_dump(mode="json")), read_parts),
    "nccl-tests.json": (json.dumps(document()), read_runs),
    "inspector.log": (inspector(), read_runs),
    "table.csv": (table([("all_gather", "half", 4, size, 0.02 + size / 3e7) for size in SIZES]), read_runs),
}


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=100)
@given(data=st.data())
def test_a_mutated_file_is_refused_by_name_or_used(tmp_path_factory, name, data):
    content, use = FILES[name]
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_bytes(data.draw(mutated(content)))
    try:
        use(path)
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)


@pytest.mark.parametrize("name", FILES)
@settings(max_examples=100)
@given(data=st.data())
def test_any_number_in_a_file_may_be_any_other(tmp_path_factory, name, data):
    """Numbers by hand: of another unit, negative, huge, not a number; where bytes at random would only break the form."""
    content, use = FILES[name]
    places = [place for place, one in enumerate(content) if one.isdigit() and not content[place - 1].isalnum()]
    first = data.draw(st.sampled_from(places))
    last = first
    while last < len(content) and (content[last].isdigit() or content[last] in ".e-+"):
        last += 1
    number = data.draw(st.sampled_from(["0", "-1", "1e-300", "1e300", "9" * 30, "NaN", "1e400", "0.5", "true", "null"]))
    path = tmp_path_factory.mktemp("mutated") / name
    path.write_text(content[:first] + number + content[last:])
    try:
        use(path)
    except InputError as error:
        assert error.faults and all(fault.where and fault.found and fault.expected for fault in error.faults)
