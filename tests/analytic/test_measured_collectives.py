"""Collectives inside a node under a calibration, and replays held against recorded durations: all by hand."""

import json

import numpy as np
import pytest
from synthetic_runs import SIZES, runs

import zcube as zc
from zcube.calibrate import fit, write_calibration
from zcube.calibrate.measurements import Measurements, Metadata, Row
from zcube.calibrate.operations import wire_factor
from zcube.trace.builder import TraceBuilder
from zcube.trace.collectives import expanded
from zcube.trace.comm_trace import Kind
from zcube.trace.files import write_trace

RANKS = 4
#: Start in seconds and rate in bytes per second on the wire, by operation; the all-to-all's is the rate of the links.
MEASURED = {
    "all-to-all": (6e-6, 300e9),
    "all-reduce": (10e-6, 280e9),
    "all-gather": (7e-6, 250e9),
    "reduce-scatter": (8e-6, 290e9),
    "broadcast": (5e-6, 200e9),
    "reduce": (5.5e-6, 210e9),
    "send-receive": (4e-6, 150e9),
}
#: Two NVLink hops of 25 ns, which no start holds.
DELAY_S = 60e-9


def taken_s(operation, size_bytes, figures=MEASURED):
    start_s, bytes_per_s = figures[operation]
    return start_s + size_bytes * wire_factor(operation, RANKS) / bytes_per_s


def calibration(tmp_path, figures=MEASURED):
    times = {(name, RANKS, "nvlink"): (SIZES, taken_s(name, SIZES, figures)) for name in figures}
    path = tmp_path / "calibration.json"
    write_calibration(fit(runs(times), draws=0), path)
    return str(path)


def one_collective(operation, size_bytes, group=range(RANKS), ranks=RANKS):
    put_in = size_bytes // len(group) if operation == "all-gather" else size_bytes
    builder = TraceBuilder(ranks)
    builder.collective(operation, group, put_in)
    return builder.build({})


def replayed(trace, path, **options):
    return zc.replay("roft-256", trace, zc.Network(calibration=path), **options)


@pytest.mark.parametrize("size_bytes", [1 << 12, 1 << 20, 1 << 25])
@pytest.mark.parametrize("operation", MEASURED)
def test_a_collective_alone_takes_what_was_measured(tmp_path, operation, size_bytes):
    done = replayed(one_collective(operation, size_bytes), calibration(tmp_path)).document()["trace"]
    assert done["completion_s"] == pytest.approx(taken_s(operation, size_bytes), rel=1e-3, abs=DELAY_S)
    (said,) = done["as_measured"]
    assert (said["operation"], said["ranks"], said["collectives"]) == (operation, RANKS, 1)
    assert said["least_part_of_bytes"] == pytest.approx(1.0)
    assert said["warnings"] == []


def test_two_collectives_at_once_share_the_links(tmp_path):
    """One starts after 6 us, the other after what its curve leaves beside its bytes; each then has half of the rate."""
    builder, size_bytes = TraceBuilder(RANKS), 1 << 26
    for _ in range(2):
        builder.collective("all-to-all", range(RANKS), size_bytes)
    done = replayed(builder.build({}), calibration(tmp_path)).document()["trace"]
    assert done["completion_s"] == pytest.approx(6e-6 + 2 * 0.75 * size_bytes / 300e9, rel=1e-3)


def test_an_all_reduce_ends_only_when_the_last_rank_has_come(tmp_path):
    builder, size_bytes = TraceBuilder(RANKS), 1 << 24
    late = builder.compute("work", 3, 1e-3)
    builder.collective("all-reduce", range(RANKS), size_bytes, after=[int(late[0])])
    done = replayed(builder.build({}), calibration(tmp_path))
    ends = done.times.finish_s[np.array(done.trace.names)[done.trace.name] == "collective-end"]
    assert len(ends) == RANKS
    assert ends.min() >= 1e-3 + size_bytes * 1.5 / 300e9


def test_switches_that_reduce_send_fewer_bytes_than_a_ring(tmp_path):
    """Twice the links' rate by the ring's formula: half of the ring's bytes go, and the time is as measured."""
    figures = MEASURED | {"all-reduce": (0.0, 600e9)}
    done = replayed(one_collective("all-reduce", 1 << 26), calibration(tmp_path, figures)).document()
    assert done["trace"]["completion_s"] == pytest.approx(taken_s("all-reduce", 1 << 26, figures), rel=1e-3, abs=DELAY_S)
    assert done["trace"]["as_measured"][0]["least_part_of_bytes"] == pytest.approx(0.5, rel=1e-3)
    assert done["bytes"]["payload"] == pytest.approx(RANKS * 0.75 * (1 << 26), rel=1e-3)


def test_an_algorithm_that_was_asked_for_is_kept(tmp_path):
    done = replayed(one_collective("all-reduce", 1 << 25), calibration(tmp_path), collectives={"all-reduce": "ring"})
    assert done.document()["trace"]["as_measured"] == []
    assert done.trace.metadata["collective_algorithms"] == {"all-reduce": ["ring"]}


OVER_NODES = ("all-to-all", "all-reduce", "all-gather", "reduce-scatter", "broadcast", "reduce")


@pytest.mark.parametrize("ranks_per_node", [1, 2])
@pytest.mark.parametrize("operation", OVER_NODES)
def test_a_collective_over_nodes_takes_what_was_measured(tmp_path, operation, ranks_per_node):
    """Four ranks, one or two to a node, 60 us and 300 Gb/s of 400 a NIC; the fabric's delays are the measurement's too."""
    hosts, put_in = RANKS // ranks_per_node, 1 << 24
    per_byte = wire_factor(operation, RANKS, hosts) / 37.5e9
    rows = [Row(operation, RANKS, "across", int(size), 60e-6 + size * per_byte, hosts=hosts) for size in SIZES]
    path = tmp_path / "calibration.json"
    write_calibration(fit(Measurements.of(rows, Metadata(nic_line_rate_gbps=400.0)), draws=0), path)
    builder = TraceBuilder(RANKS, ranks_per_node)
    builder.collective(operation, range(RANKS), put_in)
    done = replayed(builder.build({}), str(path)).document()["trace"]
    size = put_in * (RANKS if operation == "all-gather" else 1)
    (said,) = done["as_measured"]
    assert (said["nodes"], said["least_part_of_bytes"]) == (hosts, pytest.approx(1.0))
    assert done["completion_s"] == pytest.approx(60e-6 + size * per_byte, rel=0.002, abs=5e-6)


@pytest.mark.parametrize("root", range(8))
@pytest.mark.parametrize("operation", ["broadcast", "reduce"])
def test_a_rooted_collective_over_nodes_goes_through_all_nics_whoever_the_root_is(operation, root):
    """Two nodes of four ranks: a quarter of the bytes by each rail, none by a rail twice, and every rank has all of it."""
    builder = TraceBuilder(8, 4)
    builder.collective(operation, range(8), 4 << 20, root=root)
    done = expanded(builder.build({}), measured=lambda name, ranks, nodes: True).trace
    sent = done.rows(Kind.TRANSFER)
    source, target, size = done.source[sent], done.target[sent], done.size_bytes[sent]
    away = source // 4 != target // 4
    by_nic = np.bincount(source[away], size[away], minlength=8)
    assert by_nic.max() == 1 << 20
    outward = root // 4 if operation == "broadcast" else 1 - root // 4
    assert by_nic[4 * outward : 4 * outward + 4].tolist() == [1 << 20] * 4
    ends = target if operation == "broadcast" else source
    assert np.bincount(ends, size, minlength=8).tolist() == [0 if rank == root else 4 << 20 for rank in range(8)]


def test_groups_over_nodes_and_other_numbers_of_ranks_are_not_taken_as_measured(tmp_path):
    path = calibration(tmp_path)
    over = replayed(one_collective("all-reduce", 1 << 20, group=(0, 1, 8, 9), ranks=16), path)
    three = replayed(one_collective("all-reduce", 1 << 20, group=(0, 1, 2)), path)
    assert over.document()["trace"]["as_measured"] == three.document()["trace"]["as_measured"] == []


def test_sizes_that_were_not_measured_are_warned_of(tmp_path, run):
    trace = tmp_path / "trace.jsonl"
    write_trace(one_collective("all-gather", 1 << 33), trace)
    status, out, err = run("replay", trace, "--fabric", "roft-256", "--calibration", calibration(tmp_path))
    assert status == 0, err
    assert "all-gather of 8.59e+09 bytes over nvlink was not measured (only 512 to 5.369e+08 bytes)" in out


def recording():
    """One all-gather twice, the first with 100 us of waiting; a large all-reduce; a transfer; and one without a time."""
    builder = TraceBuilder(RANKS)
    builder.collective("all-gather", range(RANKS), 1000, duration_s=110e-6)
    builder.collective("all-gather", range(RANKS), 1000, duration_s=10e-6)
    builder.collective("all-reduce", range(RANKS), 8_000_000, duration_s=50e-6)
    builder.transfer("send-receive", 0, 1, 2000, duration_s=8e-6)
    builder.collective("broadcast", range(RANKS), 1000)
    return builder.build({})


def test_replayed_durations_are_held_against_the_shortest_recorded(tmp_path):
    path = calibration(tmp_path)
    document = replayed(recording(), path).document()["trace"]["against_recording"]
    rows = {(row["operation"], row["ranks"], row["bytes"]): row for row in document["shortest"]}
    assert set(rows) == {("all-gather", 4, 1000), ("all-reduce", 4, 8_000_000), ("send-receive", 2, 2000)}
    gather = rows["all-gather", 4, 1000]
    assert (gather["recorded"], gather["simulated"], gather["recorded_s"]) == (2, 2, 10e-6)
    large = document["errors_above_1_mb"]
    assert large["operations"] == 1
    assert large["largest"] == abs(rows["all-reduce", 4, 8_000_000]["error"])
    assert [row["from_bytes"] for row in document["by_size_decade"]] == [1000, 1_000_000]
    for row in rows.values():
        assert row["error"] == pytest.approx(row["simulated_s"] / row["recorded_s"] - 1)


def test_another_recording_of_the_job_has_the_durations(tmp_path, run):
    """A log without durations beside a profile that has them, as NCCL's log beside PyTorch's profiler."""
    log, profile, path = tmp_path / "log.jsonl", tmp_path / "profile.jsonl", calibration(tmp_path)
    write_trace(one_collective("all-reduce", 2_000_000), log)
    builder = TraceBuilder(RANKS)
    builder.collective("all-reduce", range(RANKS), 2_000_000, duration_s=taken_s("all-reduce", 2e6))
    write_trace(builder.build({}), profile)
    common = ("replay", log, "--fabric", "roft-256", "--calibration", path)
    status, out, err = run(*common, "--against", profile, "--json")
    assert status == 0, err
    document = json.loads(out)["trace"]["against_recording"]
    assert document["errors_above_1_mb"]["largest"] < 0.005
    status, out, err = run(*common)
    assert status == 0, err
    assert "recorded durations" not in out


def test_against_means_nothing_for_a_list_of_transfers(tmp_path, run):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,1,1000,0\n")
    status, _, err = run("replay", flows, "--fabric", "roft-256", "--against", flows)
    assert status == 2
    assert "--against" in err
    assert "a trace" in err


def test_pipelined_sends_the_bytes_of_a_ring():
    from zcube.trace.collectives import expand

    for operation in ("all-reduce", "broadcast", "reduce"):
        trace = one_collective(operation, 1_000_003)
        sent = []
        for algorithm in ("ring", "pipelined"):
            done = expand(trace, {operation: algorithm})
            rows = done.rows(Kind.TRANSFER)
            sent.append(np.bincount(done.source[rows], done.size_bytes[rows], RANKS).tolist())
        assert sent[0] == sent[1]
