"""What holds for every fit, and for every file whatever is in it."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.calibrate.readers import ReadOptions, read_measured
from zcube.calibrate.readers.catalog import READERS
from zcube.calibrate.regimes import SIZES_PER_REGIME, evaluate, fit_pieces
from zcube.errors import InputError

points = st.lists(
    st.tuples(st.integers(1, 1 << 34), st.floats(1e-6, 10.0)), min_size=4, max_size=40, unique_by=lambda point: point[0]
)


@settings(max_examples=60)
@given(points)
def test_regimes_cover_all_sizes_and_take_time(rows):
    sizes, times = np.array(sorted(rows)).T
    pieces = fit_pieces(sizes, times)
    assert (pieces[0].from_bytes, pieces[-1].to_bytes) == (sizes[0], sizes[-1])
    for piece in pieces:
        assert min(piece.latency_s, piece.s_per_byte) >= 0
        assert ((sizes >= piece.from_bytes) & (sizes <= piece.to_bytes)).sum() >= SIZES_PER_REGIME
    predicted = evaluate(pieces, np.geomspace(sizes[0], 10 * sizes[-1], 50))
    assert np.isfinite(predicted).all()
    assert (predicted > 0).all()


@settings(max_examples=40)
@given(points, st.sampled_from([0.001, 0.5, 1000.0]), st.sampled_from([0.5, 4.0, 1024.0]))
def test_units_do_not_matter(rows, time_unit, size_unit):
    sizes, times = np.array(sorted(rows)).T
    here, there = fit_pieces(sizes, times), fit_pieces(sizes * size_unit, times * time_unit)
    assert [piece.from_bytes * size_unit for piece in here] == [piece.from_bytes for piece in there]
    for one, other in zip(here, there, strict=True):
        at = np.array([one.from_bytes, one.to_bytes])
        assert evaluate([other], at * size_unit) == pytest.approx(time_unit * evaluate([one], at), rel=1e-6)


FRAGMENTS = """\
# nThread 1 nGpus 1 minBytes 8
#  Rank  0 Group  0 Pid 1 on a device  0 [0x1] X
# size count type redop root time algbw busbw #wrong time algbw busbw #wrong
8 2 float sum -1 9 0 0 0 9 0 0 0
99999999999999999999999999999999 2 float sum -1 9 1 0 0 9 1 0 0
8 2 float sum -1 1e400 1 0 nan inf 1 0 0
# Collective test starting: all_reduce_perf
# Out of bounds values : 0 OK
device,op_name,nccl_dtype,num_gpus,message_size,latency
x,alltoall,half,2,9,1
x,alltoall,half,2,9e9,1e400
{"header":{"id":1,"n_ranks":2,"rank":0},"coll_perf":{"coll":"AllReduce","coll_msg_size_bytes":8,"coll_exec_time_us":1e999}}
"zcube_measurements":true
"rows":[
"nccl_version":22805
"args":["all_reduce_perf"]
"config":{"nthreads":1,"ngpus":2,"devices":[{}]}
"results":[
{"size":8,"out_of_place":{"time":5}}
"""
pieces_of_text = st.lists(
    st.sampled_from([*FRAGMENTS.splitlines(), *"{}[],:\n", "NaN", "\x00", "é"]) | st.text(max_size=20), max_size=30
)


@settings(max_examples=250)
@given(pieces_of_text, st.booleans(), st.sampled_from(["", "\n", ","]))
def test_any_text_is_read_or_refused_by_name(tmp_path_factory, parts, lenient, glue):
    path = tmp_path_factory.getbasetemp() / "any.txt"
    content = glue.join(parts)
    path.write_text(content, encoding="utf-8", errors="replace")
    options = ReadOptions(lenient=lenient, operation="all_reduce")
    for read in (
        lambda: read_measured(path, options),
        *(lambda one=one: one(content, "any", options) for _, _, one in READERS),
    ):
        try:
            found = read()
        except InputError as error:
            assert error.faults
        else:
            assert len(found) > 0
            assert (found.time_s > 0).all()
