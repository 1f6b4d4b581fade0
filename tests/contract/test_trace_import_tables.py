"""KV transfer logs, the wrapper's log and the CSV table: bytes, ends, times, dependencies."""

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from recorded_formats import rows

from zcube.errors import InputError
from zcube.trace.importers import kv_logs
from zcube.trace.importers.catalog import import_trace


@pytest.mark.parametrize(("latent", "unit"), [(528, 1e6), (528, 1 << 20), (1024, 1e6)])
def test_tilert_lines_give_the_exact_bytes_of_the_plan(load, latent, unit):
    """237 descriptors: per layer 528 N (fp8) or 1024 N (bf16), 128 N, and 8448 for each 64 tokens, of 79 layers."""
    tokens = 32_771
    plan = sum(latent * tokens + 128 * tokens + 8448 * ((tokens + 63) // 64) for _ in range(79))
    text = f"2026-01-02 03:04:05,250 INFO sent cmpl-1: rank=0 seq={tokens} {plan / unit:.1f} MB in 50.0 ms\n"
    imported = load(text + "2026-01-02 03:04:05,400 INFO request cmpl-1: all ranks done in 60 ms\n")
    assert rows(imported) == [("kv-write", 0, 8, plan)]
    assert imported.trace.duration_s == pytest.approx([0.05])
    # The line is written at the end of the transfer.
    assert imported.trace.metadata["origin_us"] % 1_000_000 == 200_000
    assert imported.report.skipped == {"not a line about transfers": 1}


def test_ends_of_kv_transfers_are_named_parameters(load):
    text = (
        "sent a: rank=0 seq=1 2.0 MB in 1.0 ms\nsent b: rank=3 seq=1 2.0 MB in 1.0 ms\nsent c: rank=0 seq=1 4.0 MB in 1.0 ms\n"
    )
    imported = load(text, source_rank=2, target_rank=5, megabyte_bytes=1 << 20)
    assert rows(imported) == [("kv-write", 2, 5, 2 << 20), ("kv-write", 2, 5, 4 << 20)]
    assert imported.report.skipped == {"a sender other than rank 0": 1}
    # Without times each waits for the one before.
    assert imported.trace.dependency.tolist() == [0]
    with pytest.raises(InputError, match="another rank"):
        load(text, source_rank=5, target_rank=5)


def test_vllm_pools_are_split_into_their_transfers(load):
    text = (
        "INFO 01-02 03:04:05 [metrics.py:100] KV Transfer metrics: Num successful transfers=3, Avg xfer time (ms)=9.862, P90 "
        "xfer time (ms)=9.862, Avg post time (ms)=5.693, P90 post time (ms)=5.693, Avg MB per transfer=70.1, Throughput "
        "(MB/s)=7097.952, Avg number of descriptors=56.0\n"
    )
    imported = load(text)
    assert len(imported.trace) == 3
    assert imported.trace.size_bytes.sum() == round(3 * 70.1 * (1 << 20))
    assert imported.trace.duration_s == pytest.approx([9.862e-3] * 3)
    assert any("averages" in note for note in imported.report.notes)


def pooled(day, second, count, average_ms=10.0, megabytes=70.0):
    return (
        f"(APIServer pid=1) INFO {day} 13:28:{second:02d} [metrics.py:98] KV Transfer metrics: Num successful "
        f"transfers={count}, Avg xfer time (ms)={average_ms}, P90 xfer time (ms)=12.0, Avg post time (ms)=1.0, "
        f"P90 post time (ms)=1.0, Avg MB per transfer={megabytes}, Throughput (MB/s)=7000.0, Avg number of descriptors=56.0\n"
    )


@pytest.mark.parametrize("count", [40, 7])
@pytest.mark.parametrize("seconds", [10, 5])
def test_pooled_transfers_are_spread_over_the_interval_and_the_ranks(load, count, seconds):
    imported = load(pooled("09-22", 10, count) + pooled("09-22", 10 + seconds, count))
    trace = imported.trace
    assert len(trace) == 2 * count
    second = np.sort(trace.start_s)[count:]
    assert np.diff(second) == pytest.approx(seconds / count)
    assert trace.duration_s == pytest.approx(0.01)
    for rank in range(8):
        assert (trace.source == rank).sum() == (trace.target == 8 + rank).sum() == 2 * len(range(rank, count, 8))
    assert ((trace.target - trace.source) == 8).all()
    assert any("spread evenly" in note for note in imported.report.notes)
    # Both ends told to be in one node leave room for fewer pairs.
    told = load(pooled("09-22", 10, count), source_rank=0, target_rank=2).trace
    assert (int(told.source.max()), int(told.target.max())) == (1, 3)


def test_a_line_that_stands_for_very_many_transfers_becomes_few(load):
    trace = load(pooled("09-22", 10, 1 << 20, megabytes=1.0)).trace
    assert len(trace) == 1 << 12
    assert trace.size_bytes.sum() == 1 << 40
    assert trace.duration_s == pytest.approx(0.01 * 256)


@pytest.mark.parametrize(("last", "first"), [("12-31", "01-01"), ("12-30", "01-02")])
def test_times_without_a_year_go_on_over_new_year(load, last, first):
    days = 1 if last == "12-31" else 3
    trace = load(pooled(last, 10, 1) + pooled(first, 10, 1) + pooled(first, 20, 1)).trace
    assert np.sort(trace.start_s) == pytest.approx([0, 86400 * days, 86400 * days + 10])


def test_mooncake_lines_give_totals_only_and_say_so(load):
    line = "I{} 03:04:{:02d}.000000 7 x.cpp:6] [Metrics] Transfer Engine Stats (over last 5s): Throughput: {} MB/s | Latency\n"
    text = line.format("0102", 5, "1234.56") + line.format("20260102", 10, "0.50")
    text += (
        "I0102 03:04:15.000000 7 x.cpp:6] [Metrics] Transfer Engine Stats (over last 5s): | Latency Distribution (count=1): \n"
    )
    imported = load(text)
    assert imported.trace.size_bytes.tolist() == [round(1234.56 * 5 * (1 << 20)), round(0.5 * 5 * (1 << 20))]
    assert imported.trace.duration_s == pytest.approx([5, 5])
    assert imported.report.skipped == {"no throughput: latencies only": 1}
    assert any("peers" in note for note in imported.report.notes)


def test_wrapper_log_gives_ends_and_times(load):
    records = [
        {"t0": 100.25, "t1": 100.5, "session": "a", "n_desc": 237, "bytes": 1000, "gpu": 1, "peer": 9},
        {"t0": 100.0, "t1": 100.125, "session": "a", "n_desc": 237, "bytes": 500, "gpu": 3},
        {"t0": 100.0, "t1": 100.125, "session": "a", "n_desc": 237, "bytes": -5, "gpu": 3},
        {"t0": 100.0, "t1": 100.125, "session": "a", "bytes": 5, "gpu": 4, "peer": 4},
    ]
    imported = load("\n".join(map(json.dumps, records)), target_rank=12)
    assert rows(imported) == [("kv-write", 3, 12, 500), ("kv-write", 1, 9, 1000)]
    assert imported.trace.start_s == pytest.approx([0, 0.25])
    assert imported.trace.duration_s == pytest.approx([0.125, 0.25])
    assert imported.report.skipped == {"no bytes": 1, "a transfer to its own rank": 1}


CSV = """rank,op,peer,bytes,start_us,duration_us,deps,tag
0,calc,,,0,25,,
0,send,1,1000,,,1,a
1,recv,0,1000,,,,a
1,AllReduce,,64,,,3,
0,all-reduce,,64,,,2,
1,calc,,,,,,
1,send,x,5,,,,
"""


def test_table_gives_operations_and_dependencies(load):
    imported = load(CSV)
    trace = imported.trace
    assert rows(imported) == [("calc", 0, -1, 0), ("send-receive", 0, 1, 1000), ("all-reduce", -1, -1, 64)]
    assert [trace.waits_for(i).tolist() for i in range(3)] == [[], [0], [1]]
    assert trace.duration_s[0] == pytest.approx(25e-6)
    assert trace.groups == ((0, 1),)
    assert imported.report.skipped == {
        "the header": 1, "a calc without duration_us": 1, "bytes or peer that are no whole number in range": 1,
    }  # fmt: skip
    examples = imported.report.files[0].examples["a calc without duration_us"]
    assert examples[0].where.endswith("line 7") and examples[0].text == "1,calc,,,,,,"


def test_collectives_of_a_table_take_groups_and_tags(load):
    text = "tag,op,rank,group,bytes\n" + "".join(
        f"{tag},broadcast,{rank},{'4;6'},{8 * (1 + (tag == 'q'))}\n" for tag, rank in (("p", 4), ("q", 4), ("q", 6), ("p", 6))
    )
    imported = load(text)
    assert imported.trace.groups == ((4, 6),)
    assert sorted(imported.trace.size_bytes.tolist()) == [8, 16]


records = st.lists(
    st.tuples(
        st.integers(0, 5),
        st.integers(0, 5),
        st.integers(0, 10**12),
        st.floats(0, 1e9),
        st.lists(st.integers(1, 25), max_size=3),
    ),
    min_size=1,
    max_size=20,
)


@settings(max_examples=60)
@given(records, st.booleans())
def test_bytes_of_any_table_are_conserved(tmp_path_factory, records, chain):
    """Every send with bytes to another rank is a transfer once; deps, forward and circular ones too, never lose a row."""
    path = tmp_path_factory.mktemp("table") / "t.csv"
    lines = [f"{a},send,{b},{size},{start!r},,{';'.join(map(str, deps))},\n" for a, b, size, start, deps in records]
    path.write_text("rank,op,peer,bytes,start_us,duration_us,deps,tag\n" + "".join(lines))
    wanted = sorted((a, b, size) for a, b, size, _, _ in records if a != b and size)
    try:
        imported = import_trace([path], chain=chain)
    except InputError:
        assert not wanted
        return
    assert sorted((a, b, size) for _, a, b, size in rows(imported)) == wanted
    assert imported.report.used == len(wanted)
    imported.trace.check()


def test_an_import_that_memory_cannot_hold_stops_with_what_it_has(load, monkeypatch):
    from zcube.trace.importers import calls

    monkeypatch.setattr(calls, "_LOOK_EVERY", 4)
    monkeypatch.setattr(calls, "available_memory_bytes", lambda: 5000)
    imported = load("rank,op,peer,bytes\n" + 40 * "0,send,1,9\n")
    # Of 1200 bytes each, half is still to come when a call is read: 11 calls would need 6600.
    assert len(imported.trace) == 11
    assert "memory" in imported.broken.found
    assert imported.report.read == imported.report.used + sum(imported.report.skipped.values())


def test_a_small_log_does_not_become_millions_of_transfers(load, monkeypatch):
    monkeypatch.setattr(kv_logs, "MAX_POOLED_TRANSFERS", 10_000)
    imported = load(pooled("09-22", 10, 100_000) * 3)
    assert len(imported.trace) == 2 * kv_logs.MAX_LINE_TRANSFERS
    (broken,) = [file.broken for file in imported.report.files]
    assert broken.found == "more than 10000 transfers in all" and "line 3" in broken.where
