"""Lists of transfers: what is read, and which fault is named at which line."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from pyarrow import parquet

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.replays.gpus import gpu_numbers, known_gpus
from zcube.workload.flow_lists import FlowList, read_flows

FABRIC = load_fabric("roft-256")
HEADER = "src,dst,bytes,start_s\n"


def read(path: Path, text: str | bytes | None = None, **options) -> FlowList:
    if text is not None:
        path.write_bytes(text.encode() if isinstance(text, str) else text)
    return read_flows(path, lambda names: gpu_numbers(FABRIC, names), known_gpus=known_gpus(FABRIC), **options)


def faults(path: Path, text: str | bytes | None = None, **options) -> list[str]:
    with pytest.raises(InputError) as caught:
        read(path, text, **options)
    return [str(fault) for fault in caught.value.faults]


@pytest.fixture
def path(tmp_path) -> Path:
    return tmp_path / "flows.csv"


def test_names_and_numbers_are_the_same_gpus(path):
    flows = read(path, HEADER + "0,255,1,0\ns0g0,s31g7,1e3,0.5\n 8 , s1g1 ,+2, 7\n")
    np.testing.assert_array_equal(flows.source, [0, 0, 8])
    np.testing.assert_array_equal(flows.target, [255, 255, 9])
    np.testing.assert_array_equal(flows.size_bytes, [1, 1000, 2])
    np.testing.assert_array_equal(flows.start_s, [0, 0.5, 7])
    np.testing.assert_array_equal(flows.flow_id, [0, 1, 2])
    assert flows.cap_bps is None and flows.weight is None and flows.coflow is None


def test_optional_columns_in_any_order_with_empty_cells_and_others_beside(path):
    text = "note,coflow,weight,cap_gbps,start_s,bytes,dst,src,id\n"
    flows = read(
        path, text + 'x,b,2,10,0,5,1,0,first\n"a, b",,,,0,5,2,0,"se,cond"\ny,a,0.5,inf,0,5,3,0,3\n\nz,b,1,1,0,5,4,0,4\n'
    )
    assert flows.flow_id.tolist() == ["first", "se,cond", "3", "4"]
    assert flows.cap_bps.tolist() == [10e9, np.inf, np.inf, 1e9]
    assert flows.weight.tolist() == [2.0, 1.0, 0.5, 1.0]
    assert [flows.coflow_names[group] if group >= 0 else None for group in flows.coflow] == ["b", None, "a", "b"]
    assert flows.where([2, 3]) == [f"{path}: line 4", f"{path}: line 6"]


def test_whole_numbers_as_ids_stay_numbers_and_others_stay_text(path):
    assert read(path, "id," + HEADER + "7,0,1,1,0\n70,0,1,1,0\n").flow_id.tolist() == [7, 70]
    assert read(path, "id," + HEADER + "7,0,1,1,0\n07,0,1,1,0\n").flow_id.tolist() == ["7", "07"]


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ("0,1,0,0", ["bytes '0'", "more than 0"]),
        ("0,1,-5,0", ["bytes '-5'"]),
        ("0,1,nan,0", ["bytes 'nan'"]),
        ("0,1,NaN,0", ["bytes 'NaN'"]),
        ("0,1,inf,0", ["bytes 'inf'"]),
        ("0,1,1e400,0", ["bytes '1e400'"]),
        ("0,1,1e19,0", ["bytes '1e19'", "1e18"]),
        ("0,1,,0", ["bytes ''"]),
        ("0,1,12kB,0", ["bytes '12kB'"]),
        ("0,1,0x10,0", ["bytes '0x10'"]),
        ("0,1,5,-1e-9", ["start_s '-1e-9'"]),
        ("0,1,5,nan", ["start_s 'nan'"]),
        ("0,1,5,", ["start_s ''"]),
        ("256,1,5,0", ["src '256'", "0 to 255", "s0g0 to s31g7"]),
        ("0,s32g0,5,0", ["dst 's32g0'"]),
        ("0,s0g8,5,0", ["dst 's0g8'"]),
        ("0,-1,5,0", ["dst '-1'"]),
        (",1,5,0", ["src ''"]),
        ("3,s0g3,5,0", ["dst 's0g3'", "another GPU"]),
        ("0,1,5", ["3 cells", "4"]),
        ("0,1,5,0,9", ["5 cells", "4"]),
    ],
)
def test_every_broken_cell_is_named_with_its_line(path, row, words):
    # An empty line before it must not shift the count; neither must a line of too few cells.
    found = faults(path, HEADER + "0,1,5,0\n\n0,1\n0,2,5,0\n" + row + "\n0,3,5,0\n")
    assert len(found) == 2
    assert "line 4: found 2 cells" in found[0]
    assert "line 6:" in found[1]
    for word in words:
        assert word in found[1]


@pytest.mark.parametrize(
    ("cells", "word"),
    [("a,,1,", "id 'a'"), (",,1,", "id ''"), ("b,0,1,", "cap_gbps '0'"), ("b,nan,1,", "cap_gbps 'nan'"),
     ("b,-1,1,", "cap_gbps '-1'"),
     ("b,,0,", "weight '0'"), ("b,,inf,", "weight 'inf'"), ("b,,heavy,", "weight 'heavy'")],
)  # fmt: skip
def test_faults_in_optional_columns(path, cells, word):
    found = faults(path, "src,dst,bytes,start_s,id,cap_gbps,weight,coflow\n0,1,5,0,a,,,\n0,1,5,0," + cells + "\n")
    assert len(found) == 1
    assert "line 3" in found[0] and word in found[0]


def test_several_faults_of_one_line_are_all_named(path):
    found = faults(path, HEADER + "999,nowhere,-1,nan\n")
    assert len(found) == 4
    assert all("line 2" in fault for fault in found)


def test_the_list_of_faults_is_cut_and_the_rest_counted(path):
    found = faults(path, HEADER + "0,1,5,0\n" + "0,1,-5,0\n" * 500)
    assert len(found) == 21
    assert "line 3" in found[0] and "line 22" in found[19]
    assert "and 480 more faults" in found[20]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("src,dst,bytes\n0,1,5\n", "no start_s"),
        ("0,1,5,0\n", "none of the columns"),
        ("src,src,dst,bytes,start_s\n0,0,1,5,0\n", "2 columns src"),
        ("", "empty"),
        ("\n \n\n", "blank"),
        (HEADER, "no flows"),
        (b"\x1f\x8b\x08\x00", "gzip"),
        (b"src,dst\0", "binary"),
        (b"PAR1 and nothing else", "Parquet"),
        (HEADER.encode() + b"0,1,5,0\n0,1,5,0\xff\n", "line 3: found a byte that is not UTF-8"),
        (HEADER + "0,1,5,0\n0,1,5," + "0" * 70_000 + "x\n", "line 3: found a longer line"),
    ],
)
def test_a_file_that_is_no_list_is_refused(path, text, word):
    found = faults(path, text)
    assert any(word in fault for fault in found), found


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    assert "No such file" in faults(tmp_path / "none.csv")[0]
    assert "not a file" in faults(tmp_path)[0]


def test_too_many_rows_are_refused(path):
    assert len(read(path, HEADER + "0,1,5,0\n" * 3, max_flows=3)) == 3
    assert "at most 3" in faults(path, HEADER + "0,1,5,0\n" * 4, max_flows=3)[0]


def test_parquet_holds_the_same_and_names_rows(path, tmp_path):
    frame = pd.DataFrame({"src": ["s0g0", "3"], "dst": [1, 2], "bytes": [5, 6], "start_s": [0.0, 1.0], "id": ["x", "y"]})
    frame["cap_gbps"] = [np.nan, 4.0]
    file = tmp_path / "flows.parquet"
    frame.to_parquet(file)
    flows = read(file)
    assert flows.source.tolist() == [0, 3] and flows.target.tolist() == [1, 2]
    assert flows.size_bytes.tolist() == [5, 6] and flows.cap_bps.tolist() == [np.inf, 4e9]
    frame.assign(bytes=[5, -6], dst=[1, 999], id="x").to_parquet(file)
    found = faults(file)
    assert len(found) == 3
    assert all("row 2" in fault for fault in found)
    frame.assign(bytes=["many", "5"]).to_parquet(file)
    assert "bytes 'many'" in faults(file)[0]


def test_a_parquet_column_of_nulls_alone_is_no_column(tmp_path):
    """Arrow gives it a type of its own; as a column that is needed it is missing."""
    file, rows = tmp_path / "flows.parquet", {"src": [0, 1], "dst": [1, 2], "bytes": [5, 6], "start_s": [0.0, 1.0]}
    nothing = pa.array([None, None], pa.null())
    parquet.write_table(pa.table({**rows, "coflow": nothing, "cap_gbps": nothing, "id": nothing}), file)
    flows = read(file)
    assert flows.coflow is None and flows.cap_bps is None and flows.flow_id.tolist() == [0, 1]
    parquet.write_table(pa.table({**rows, "bytes": nothing}), file)
    assert "no bytes" in faults(file)[0]


def test_parquet_of_other_kinds_is_refused(tmp_path):
    file = tmp_path / "flows.parquet"
    pd.DataFrame({"src": [[0]], "dst": [1], "bytes": [5], "start_s": [0.0]}).to_parquet(file)
    assert "column src" in faults(file)[0]
    file.write_bytes(file.read_bytes()[:-40])
    assert "whole Parquet" in faults(file)[0]


def test_a_quarter_million_rows_are_read_in_half_a_second(path):
    """A million in 2 s is the aim."""
    source, target = np.divmod(np.arange(256 * 1024), 1024)
    rows = pd.DataFrame({"src": source, "dst": target % 256, "bytes": 65536, "start_s": 0.0})
    rows[rows.src != rows.dst].to_csv(path, index=False)
    read(path)
    started = time.perf_counter()
    flows = read(path)
    taken = time.perf_counter() - started
    assert len(flows) > 260_000
    # Twice the aim, for a loaded machine.
    assert taken < 1.0
