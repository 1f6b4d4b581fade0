"""Trace files: what hand-written ones may leave out, what is refused and how it is named, and what Perfetto needs."""

import gzip
import json
from collections import defaultdict
from itertools import pairwise

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.report.picture import save
from zcube.report.trace_table import trace_text
from zcube.report.trace_timeline import plot_timeline, timeline_grid
from zcube.trace.builder import TraceBuilder
from zcube.trace.chrome import write_chrome
from zcube.trace.collectives import expand
from zcube.trace.comm_trace import Kind
from zcube.trace.files import is_trace, read_trace, write_trace
from zcube.trace.totals import totals
from zcube.trace.unloaded import recorded_times, unloaded_times

HEAD = {"zcube_trace": True, "schema_version": 1, "ranks": 16, "groups": [[0, 1, 2]]}
GOOD = {"kind": "transfer", "name": "send", "source": 0, "target": 8, "size_bytes": 100}


def lines(tmp_path, *rows, head=HEAD):
    path = tmp_path / "trace.jsonl"
    texts = [row if isinstance(row, str) else json.dumps(row) for row in (head, *rows)]
    path.write_text("\n".join(texts) + "\n")
    return path


def sample():
    builder = TraceBuilder(16)
    work = builder.compute("attention", np.arange(16), 1e-3, phase="prefill", layer=4)
    shared = builder.collective("all-to-all", range(16), 16_000, phase="prefill", layer=4, after=work.tolist())
    builder.compute("experts", np.arange(16), 2e-3, phase="prefill", layer=4, after=(shared,))
    builder.transfer("kv-write", np.arange(8), np.arange(8, 16), 5000, phase="kv", after=(work[:8],))
    return builder.build({"engine": "by hand"})


def test_a_hand_written_trace_needs_little(tmp_path):
    path = lines(
        tmp_path,
        {"kind": "compute", "name": "attention", "source": 3, "duration_s": 1},
        "",
        {**GOOD, "depends_on": [0], "start_s": 2},
        {"kind": "collective", "name": "all-gather", "group": 0, "size_bytes": 7},
    )
    assert is_trace(path)
    trace = read_trace(path)
    assert trace.names == ("attention", "send", "all-gather")
    assert trace.kind.tolist() == list(Kind)
    assert trace.ranks_per_node == 8
    assert trace.waits_for(1).tolist() == [0]
    assert trace.start_s.tolist() == [0.0, 2.0, 0.0]
    assert trace.source.tolist() == [3, 0, -1]
    assert np.isnan(trace.duration_s[1:]).all()


def test_pandas_and_pyarrow_can_read_and_write_it(tmp_path):
    import pandas as pd

    path = tmp_path / "trace.parquet"
    write_trace(sample(), path)
    frame = pd.read_parquet(path)
    sends = frame[frame["kind"] == "transfer"]
    assert sends["size_bytes"].sum() == 8 * 5000
    assert set(sends["name"]) == {"kv-write"} and set(sends["phase"]) == {"kv"}
    assert frame["depends_on"][16].tolist() == list(range(16))
    # Another program's writer: plain text columns, no dictionaries, several row groups.
    table = pq.read_table(path)
    plain = table.cast(
        pa.schema([field.with_type(as_text(field.type)) for field in table.schema], metadata=table.schema.metadata)
    )
    other = tmp_path / "other.parquet"
    pq.write_table(plain, other, row_group_size=5)
    again = tmp_path / "again.parquet"
    write_trace(read_trace(other), again)
    assert again.read_bytes() == path.read_bytes()


def as_text(kind):
    return kind.value_type if pa.types.is_dictionary(kind) else kind


@pytest.mark.parametrize(
    ("row", "key", "found"),
    [
        ({**GOOD, "kind": "send"}, "kind", '"send"'),
        ({**GOOD, "name": 5}, "name", "5"),
        ({key: value for key, value in GOOD.items() if key != "name"}, "name", "missing"),
        ({**GOOD, "phase": []}, "phase", "a JSON list"),
        ({**GOOD, "source": 16}, "source", "16"),
        ({**GOOD, "source": -1}, "source", "-1"),
        ({**GOOD, "source": True}, "source", "true"),
        ({**GOOD, "source": None}, "source", "missing"),
        ({**GOOD, "target": 0}, "target", "0"),
        ({**GOOD, "target": 8.5}, "target", "8.5"),
        ({**GOOD, "layer": -3}, "layer", "-3"),
        ({**GOOD, "group": 0}, "group", "0"),
        ({**GOOD, "kind": "collective", "target": None, "group": 1}, "group", "1"),
        ({**GOOD, "kind": "collective", "group": 0}, "target", "8"),
        ({**GOOD, "size_bytes": 0}, "size_bytes", "0"),
        ({**GOOD, "size_bytes": -4}, "size_bytes", "-4"),
        ({**GOOD, "size_bytes": 10**40}, "size_bytes", "1000"),
        ({**GOOD, "start_s": -1}, "start_s", "-1"),
        ({**GOOD, "start_s": "soon"}, "start_s", '"soon"'),
        ({**GOOD, "duration_s": -1e-9}, "duration_s", "-1e-09"),
        ({**GOOD, "duration_s": 1e11}, "duration_s", "1e+11"),
        ({"kind": "compute", "name": "x", "source": 1}, "duration_s", "missing"),
        ({**GOOD, "depends_on": [2]}, "depends_on", "[2]"),
        ({**GOOD, "depends_on": [0, "1"]}, "depends_on", '"1"'),
        ({**GOOD, "depends_on": 0}, "depends_on", "null"),
        ({**GOOD, "dependson": [0]}, "dependson", "unknown key"),
        ("[1, 2]", "", "a JSON list"),
        ('{"kind": ', "", "no JSON"),
        ('{"kind": "compute", "name": "x", "source": 1, "duration_s": NaN}', "", "NaN"),
        ("[" * 100_000, "", "JSON"),
    ],
)
def test_faults_of_rows_are_named_by_line_and_key(tmp_path, row, key, found):
    path = lines(tmp_path, GOOD, GOOD, row, GOOD)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    fault = caught.value.faults[0]
    assert fault.where == f"{path}: line 4"
    assert key in str(fault) and found in fault.found
    assert len(caught.value.faults) == 1


@pytest.mark.parametrize(
    ("text", "found"),
    [
        (b'{"kind":"transfer","name":"x","source":0,"target":8,"size_bytes":1,"size_bytes":2}', "the key 'size_bytes' twice"),
        (b'{"kind":"transfer","name":"\\ud800","source":0,"target":8,"size_bytes":1}', "half a surrogate pair"),
        (b'{"kind":"transfer","name":"\xff","source":0,"target":8,"size_bytes":1}', "a byte that is not UTF-8"),
    ],
)
def test_lines_that_mean_two_things_or_cannot_be_written_are_refused(tmp_path, text, found):
    path = tmp_path / "trace.jsonl"
    path.write_bytes(json.dumps(HEAD).encode() + b"\n" + text + b"\n")
    with pytest.raises(InputError, match=f"{path}: line 2: found {found}"):
        read_trace(path)


def test_a_whole_surrogate_pair_is_a_text(tmp_path):
    path = lines(tmp_path, {**GOOD, "name": "\N{GRINNING FACE}"})
    assert "\\ud83d" in path.read_text()
    assert read_trace(path).names == ("\N{GRINNING FACE}",)


def test_a_byte_order_mark_hides_no_trace(tmp_path):
    path = lines(tmp_path, GOOD)
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes())
    assert is_trace(path)
    assert len(read_trace(path)) == 1


def test_a_column_twice_is_refused(tmp_path):
    names = [*GOOD, "duration_s", "source"]
    cells = [pa.array([value]) for value in (*GOOD.values(), 1.0, 3)]
    table = pa.table(cells, names=names).replace_schema_metadata({"zcube_trace": json.dumps(HEAD)})
    pq.write_table(table, tmp_path / "trace.parquet")
    with pytest.raises(InputError, match="2 columns source; expected one"):
        read_trace(tmp_path / "trace.parquet")


def test_packed_and_empty_files_are_named_as_such(tmp_path):
    path = lines(tmp_path, GOOD)
    path.write_bytes(gzip.compress(path.read_bytes()))
    with pytest.raises(InputError, match="found gzip data"):
        read_trace(path)
    path.write_bytes(b"")
    with pytest.raises(InputError, match="line 1: found nothing"):
        read_trace(path)


def test_twenty_faults_are_listed_and_the_rest_counted(tmp_path):
    path = lines(tmp_path, *[{**GOOD, "target": 99}] * 50, "no json")
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert len(caught.value.faults) == 21
    assert "31 more" in caught.value.faults[-1].found
    assert [fault.where for fault in caught.value.faults[:20]] == [f"{path}: line {number}" for number in range(2, 22)]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"schema_version": 2}, "schema_version 1"),
        ({"schema_version": None}, "schema_version 1"),
        ({"ranks": 0}, "ranks"),
        ({"ranks": 1 << 40}, "ranks"),
        ({"ranks_per_node": 1 << 20}, "ranks_per_node"),
        ({"groups": [[0, 0]]}, "groups.0"),
        ({"groups": [[0, 16]]}, "groups.0"),
        ({"groups": 5}, "groups"),
        ({"names": ["a", "a"]}, "names"),
        ({"operations": 2}, "2 that the header"),
        ({"rank": 8}, "rank"),
    ],
)
@pytest.mark.parametrize("ending", ["jsonl", "parquet"])
def test_faults_of_the_header(tmp_path, change, expected, ending):
    head = {**HEAD, **change}
    path = lines(tmp_path, GOOD, head=head)
    if ending == "parquet":
        columns = {name: [value] for name, value in {**GOOD, "duration_s": None}.items()}
        table = pa.table(columns).replace_schema_metadata({"zcube_trace": json.dumps(head)})
        table = table.set_column(5, "duration_s", pa.array([None], pa.float64()))
        path = tmp_path / "trace.parquet"
        pq.write_table(table, path)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert expected in str(caught.value)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("kind", pa.array(["compute", "transfer", "sleep"]), "row 3: found kind 'sleep'"),
        ("source", pa.array([0, 1, 99]), "row 3: found source 99"),
        ("source", pa.array([0, 1, -5]), "row 3: found source -5"),
        ("source", pa.array([0.0, 1.0, 1.5]), "row 3: found source 1.5"),
        ("source", pa.array([0.0, 1.0, None]), "row 3: found source missing"),
        ("source", pa.array(["0", "1", "2"]), "column source: found string"),
        ("size_bytes", pa.array([0, 1, 2**64 - 1], pa.uint64()), "row 3: found size_bytes 18446744073709551615"),
        ("duration_s", pa.array([1.0, float("inf"), None]), "row 2: found duration_s inf"),
        ("start_s", pa.array([1.0, float("nan"), None]), "row 2: found start_s nan"),
        ("depends_on", pa.array([None, [0], [2]]), "row 3: found depends_on [2]"),
        ("depends_on", pa.array([None, [None], []], pa.list_(pa.int32())), "row 2: found depends_on [None]"),
        ("depends_on", pa.array(["a", "b", "c"]), "column depends_on: found string"),
    ],
)
def test_faults_of_parquet_rows(tmp_path, column, values, expected):
    columns = {
        "kind": pa.array(["compute", "transfer", "transfer"]),
        "name": pa.array(["a", "b", "c"]),
        "source": pa.array([0, 1, 2]),
        "target": pa.array([None, 2, 3]),
        "size_bytes": pa.array([None, 4, 5]),
        "duration_s": pa.array([1.0, None, None]),
    }
    path = tmp_path / "trace.parquet"
    pq.write_table(pa.table(columns).replace_schema_metadata({"zcube_trace": json.dumps(HEAD)}), path)
    assert len(read_trace(path)) == 3
    pq.write_table(pa.table({**columns, column: values}).replace_schema_metadata({"zcube_trace": json.dumps(HEAD)}), path)
    with pytest.raises(InputError) as caught:
        read_trace(path)
    assert expected in str(caught.value)
    assert len(caught.value.faults) == 1


def test_other_files_are_no_traces(tmp_path):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,8,100,0\n")
    table = tmp_path / "flows.parquet"
    pq.write_table(pa.table({"src": [0], "dst": [8], "bytes": [1], "start_s": [0.0]}), table)
    empty, other = tmp_path / "empty", tmp_path / "other.jsonl"
    empty.write_text("")
    other.write_text('{"timestamp": 0, "input_length": 5}\n')
    for path in (flows, table, empty, other, tmp_path, tmp_path / "missing"):
        assert not is_trace(path)
        with pytest.raises(InputError):
            read_trace(path)
    with pytest.raises(InputError, match="ending"):
        write_trace(sample(), tmp_path / "trace.csv")


@pytest.mark.parametrize("ending", ["parquet", "jsonl"])
@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(place=st.floats(0, 1), byte=st.integers(0, 255), cut=st.booleans())
def test_broken_files_are_refused_or_read(ending, tmp_path, place, byte, cut):
    path = tmp_path / f"trace.{ending}"
    write_trace(sample(), path)
    raw = bytearray(path.read_bytes())
    at = min(int(place * len(raw)), len(raw) - 1)
    if cut:
        del raw[at:]
    else:
        raw[at] = byte
    path.write_bytes(bytes(raw))
    is_trace(path)
    try:
        trace = read_trace(path)
    except InputError as error:
        assert str(path) in str(error)
    else:
        # Of a cut only the last line end may be missing.
        assert not cut or len(trace) == len(sample())
        trace.check()


def events_of(tmp_path, trace, start_s, finish_s):
    path = tmp_path / "trace.json"
    write_chrome(trace, start_s, finish_s, path)
    return json.loads(path.read_text())["traceEvents"]


def test_chrome_events_are_what_perfetto_takes(tmp_path):
    trace = expand(sample(), {"all-to-all": "direct"})
    start_s, finish_s = unloaded_times(trace, 400.0, latency_s=3e-6)
    events = events_of(tmp_path, trace, start_s, finish_s)
    named = {(event["pid"], event["tid"]) for event in events if event["name"] == "thread_name"}
    processes = {event["pid"] for event in events if event["name"] == "process_name"}
    slices = [event for event in events if event["ph"] == "X"]
    assert {(event["pid"], event["tid"]) for event in slices} == named
    assert processes == {0, 1}
    assert all(event["dur"] >= 0 and event["ts"] >= 0 for event in slices)
    # Slices of one thread do not overlap.
    threads = defaultdict(list)
    for event in slices:
        threads[event["tid"]].append((event["ts"], event["ts"] + event["dur"]))
    for spans in threads.values():
        spans.sort()
        assert all(after[0] >= before[1] - 1e-6 for before, after in pairwise(spans))
    # Computations appear once, transfers at both ends, joined by an arrow that starts and ends on their slices.
    sends = trace.rows(Kind.TRANSFER)
    assert sum(event["dur"] for event in slices if event["cat"] == "computes") == pytest.approx(16 * 3000)
    for kind, category, end in (("s", "sends", "source"), ("f", "receives", "target")):
        mine = {event["args"]["operation"]: event for event in slices if event["cat"] == category}
        arrows = {event["id"]: event for event in events if event["ph"] == kind}
        assert sorted(mine) == sorted(arrows) == sends.tolist()
        for row, event in mine.items():
            assert event["pid"] == getattr(trace, end)[row] // 8
            assert event["args"]["bytes"] == trace.size_bytes[row]
            assert (arrows[row]["ts"], arrows[row]["tid"]) == (event["ts"], event["tid"])


def test_recorded_collectives_are_drawn_on_every_rank(tmp_path):
    builder = TraceBuilder(8)
    builder.collective("all-reduce", [0, 2, 5], 100, start_s=1.0, duration_s=0.5)
    trace = builder.build({})
    events = events_of(tmp_path, trace, *recorded_times(trace))
    slices = [event for event in events if event["ph"] == "X"]
    assert [(event["ts"], event["dur"]) for event in slices] == [(1e6, 5e5)] * 3
    with pytest.raises(ValueError, match="ends before"):
        write_chrome(trace, np.array([1.0]), np.array([0.5]), tmp_path / "x.json")


def test_the_timeline_shows_what_runs_when(tmp_path):
    builder = TraceBuilder(8)
    work = builder.compute("attention", np.arange(8), 1.0)
    builder.compute("experts", np.arange(4), 1.0, after=(work[:4],))
    builder.transfer("kv-write", 7, 0, 10**9, after=(work[7],))
    trace = builder.build({})
    start_s, finish_s = unloaded_times(trace, 400.0, nvlink_gbps=8.0)
    grid = timeline_grid(trace, start_s, finish_s, columns=100)
    assert (grid.begin_s, grid.end_s) == (0.0, 2.0)
    label = {name: number for number, name in enumerate(grid.labels)}
    assert (grid.colour[:, 0, :, :50] == label["attention"]).all()
    assert (grid.colour[:4, 0, :, 50:] == label["experts"]).all()
    assert (grid.colour[4:, 0, :, 50:] == -1).all()
    assert (grid.colour[7, 1, :, 50:] == label["kv-write"]).all()
    assert (grid.colour[:7, 1] == -1).all() and (grid.colour[7, 1, :, :50] == -1).all()
    save(plot_timeline(trace, start_s, finish_s, "by hand"), tmp_path / "a.png")
    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")


def test_overlapping_operations_share_the_height():
    builder = TraceBuilder(8)
    builder.transfer("one", 0, 1, 10**9)
    builder.transfer("two", 0, 2, 10**9)
    trace = builder.build({})
    grid = timeline_grid(trace, *unloaded_times(trace, 400.0), columns=10)
    assert grid.colour[0, 1, :, 4].tolist() == [0, 0, 1]


def test_an_empty_trace_has_a_picture(tmp_path):
    trace = TraceBuilder(8).build({})
    save(plot_timeline(trace, np.zeros(0), np.zeros(0)), tmp_path / "a.png")
    assert events_of(tmp_path, trace, np.zeros(0), np.zeros(0)) == []


def test_the_table_names_sums_and_hides_control_characters():
    builder = TraceBuilder(16)
    builder.transfer("send\x1b[31m", [0, 1], [8, 10], 1500)
    builder.compute("attention", 3, 0.25, phase="prefill")
    text = trace_text(totals(builder.build({"engine": "by\nhand"})).document())
    assert "\x1b" not in text and "engine: by?hand" in text
    rows = [line.split() for line in text.splitlines()]
    assert ["send?[31m", "-", "2", "3", "kB", "-", "-"] in rows
    assert ["attention", "prefill", "-", "-", "1", "250", "ms"] in rows
    assert ["from", "1", "-", "1.5", "kB"] in rows
    assert ["on", "one", "rail", "1.5", "kB", "(50.0%)"] in rows
    assert text.isascii()
