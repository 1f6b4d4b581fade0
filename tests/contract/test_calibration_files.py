"""Files of measured runs: what each format says is what is read, and what is wrong with one is named."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from measured_outputs import HEADER, OLD, SIZES, document, inspector, line, microseconds, table, text

from zcube.calibrate.calibration import read_calibration
from zcube.calibrate.fitting import fit, fit_file
from zcube.calibrate.measurements import Matrix, Measurements, Metadata, Row, read_measurements, write_measurements
from zcube.calibrate.readers import ReadOptions, read_files, read_measured
from zcube.errors import InputError
from zcube.report.calibration_plot import plot_calibration
from zcube.report.calibration_table import calibration_text, check_text, measurements_text
from zcube.report.picture import save


@pytest.fixture
def file(tmp_path: Path):
    def write(content: str, name: str = "run.txt") -> Path:
        path = tmp_path / name
        path.write_text(content, encoding="utf-8")
        return path

    return write


def expect_times(measurements: Measurements, in_place: bool = False) -> None:
    rows = measurements.in_place == in_place
    assert measurements.size_bytes[rows].tolist() == list(SIZES)
    expected = np.array([microseconds(size) for size in SIZES]) + in_place
    assert measurements.time_s[rows] * 1e6 == pytest.approx(expected, abs=0.011)


# --- formats


@pytest.mark.parametrize(
    "prefix",
    [
        "",
        "[1,0]<stdout>:",
        "[1,0]<stdout>: ",
        "[prterun-node-a-17@1,0]<stdout>: ",
        " 0: ",
        "0: ",
        "[default0]:",
        "(Worker pid=615, ip=10.0.0.6) ",
        "[pod/job-0/main] ",
        "2025-06-01T10:00:00.123456789Z ",
        "bench-1  | ",
    ],
)
def test_nccl_tests_text(file, prefix):
    noisy = "node-a:6899:6899 [0] NCCL INFO Bootstrap : Using eth0\n" + text()
    found = read_measured(file("".join(prefix + one + "\n" for one in noisy.splitlines())), ReadOptions(path="across"))
    expect_times(found)
    expect_times(found, in_place=True)
    assert set(found.operation) == {"all-to-all"}
    assert set(found.ranks) == {4}
    assert set(found.path) == {"across"}
    assert set(found.repetitions) == {20}
    assert found.correct[~found.in_place].tolist() == [1] * 5
    assert found.correct[found.in_place].tolist() == [-1] * 5
    assert (found.metadata.hardware, found.metadata.nccl_version) == ("4x NVIDIA H200", "2.28.5")
    assert found.metadata.details == {"hosts": 2}


def test_old_nccl_tests_text_needs_the_operation(file):
    found = read_measured(file(OLD), ReadOptions(operation="all_gather"))
    assert found.size_bytes[~found.in_place].tolist() == [1024, 32768, 1048576]
    assert found.time_s[~found.in_place] == pytest.approx([11.18e-6, 14.37e-6, 45.6e-6])
    assert set(found.ranks) == {2}
    assert read_measured(file(OLD, "all_gather_perf.txt")).operation[0] == "all-gather"
    with pytest.raises(InputError, match="does not name the operation"):
        read_measured(file(OLD))


def test_several_runs_in_one_file(file):
    found = read_measured(file(text("alltoall_perf") + text("all_gather_perf")))
    assert sorted(set(found.operation)) == ["all-gather", "all-to-all"]
    assert len(found) == 20


def test_pages_of_log_before_the_table_do_not_hide_it(file):
    assert len(read_measured(file("node-a:6899:6899 [0] NCCL INFO Channel 00/32\n" * 5000 + text()))) == 10


def test_ranks_of_a_split_run_are_those_of_a_group(file):
    """NCCL_TESTS_SPLIT: ranks of unlike Group do not communicate, in text and JSON alike."""
    split = text()
    for rank in (2, 3):
        split = split.replace(f"Rank  {rank} Group  0", f"Rank  {rank} Group  1")
    found = read_measured(file(split))
    assert set(found.ranks) == {2}
    assert any("several groups" in note for note in found.notes)
    changed = document()
    for device in changed["config"]["devices"]:
        device["group"] = device["rank"] % 2
    assert set(read_measured(file(json.dumps(changed))).ranks) == {2}


def test_what_nccl_said_at_the_end_is_noted(file):
    """Without an error nccl-tests writes an empty text."""
    assert not read_measured(file(json.dumps(document(errors=[""])))).notes
    found = read_measured(file(json.dumps(document(errors=["unhandled system error"]))))
    assert found.notes == ("NCCL's last error: unhandled system error",)


def test_keys_in_any_order_are_a_file_of_measurements(file, tmp_path):
    rows = [Row("all-to-all", 2, "nvlink", size, 1e-5) for size in range(1, 3000)]
    path = tmp_path / "sorted.json"
    write_measurements(Measurements.of(rows), path)
    path.write_text(json.dumps(json.loads(path.read_text()), sort_keys=True))
    assert len(read_measured(path)) == len(rows)


def test_more_lines_than_are_read_are_one_fault(file, monkeypatch):
    for module in ("nccl_tests_text", "nccl_table"):
        monkeypatch.setattr(f"zcube.calibrate.readers.{module}.MAX_ROWS", 3)
    many = table([("alltoall", "half", 8, 1 << size, -0.01) for size in range(10, 30)])
    for content, lines in ((text(), 1), (many, 4)):
        with pytest.raises(InputError, match="more lines; expected at most 3") as raised:
            read_measured(file(content))
        assert len(raised.value.faults) == lines


def test_sizes_of_zero_bytes_are_left_out_and_said(file):
    found = read_measured(
        file(
            text().replace(
                line(8192, microseconds(8192)), line(8192, microseconds(8192)).replace("        8192", "           0")
            )
        )
    )
    assert 0 not in found.size_bytes
    assert "sizes of 0 bytes are left out" in found.notes


def test_nccl_tests_json(file):
    found = read_measured(file(json.dumps(document())))
    expect_times(found)
    expect_times(found, in_place=True)
    assert set(found.ranks) == {4}
    assert found.correct[~found.in_place].tolist() == [1] * 5
    assert found.metadata.environment == {"NCCL_DEBUG": "INFO"}
    assert found.metadata.how == "nccl-tests: alltoall_perf -J out.json"


def test_nccl_tests_json_of_one_process_lists_one_device(file):
    """Without MPI the program writes its first device only and drives nthreads x ngpus ranks."""
    changed = document()
    changed["config"] = changed["config"] | {"ngpus": 8, "devices": changed["config"]["devices"][:1]}
    assert set(read_measured(file(json.dumps(changed))).ranks) == {8}


def test_nccl_tests_json_takes_the_median_of_repetitions(file):
    changed = document()
    for record in changed["results"]:
        record["out_of_place_per_iter"] = {"times_us": [30.0, 10.0, 20.0, 15.0, 900.0]}
    found = read_measured(file(json.dumps(changed)))
    rows = ~found.in_place
    assert found.time_s[rows] == pytest.approx(20e-6)
    assert found.min_s[rows] == pytest.approx(10e-6)


def test_inspector_times_are_those_of_the_slowest_rank(file):
    found = read_measured(file(inspector()))
    assert found.size_bytes.tolist() == list(SIZES)
    assert set(found.ranks) == {4}
    assert found.repetitions.tolist() == [3] * 5
    assert found.time_s * 1e6 == pytest.approx([microseconds(size) + 1 for size in SIZES])


def test_inspector_records_in_an_array_and_of_sends(file):
    record = {
        "header": {"id": "0x1", "rank": 0, "n_ranks": 8},
        "p2p_perf": {"p2p": "Send", "p2p_sn": 1, "p2p_peer": 3, "p2p_msg_size_bytes": 4096, "p2p_exec_time_us": 12},
    }
    found = read_measured(file(json.dumps([record, {"header": {}, "dump_stats": {}}])))
    assert (found.operation[0], found.ranks[0], found.size_bytes[0]) == ("send-receive", 2, 4096)
    assert found.time_s[0] == pytest.approx(12e-6)


def test_table_of_elements_and_milliseconds(file):
    rows = [
        ("alltoall", "half", 8, 1024, 0.0101),
        ("alltoall", "int8", 8, 4096, 0.0102),
        ("alltoall", "float", 8, 4096, 0.0103),
    ]
    found = read_measured(file(table(rows), "h200_nccl_2.29.2.csv"))
    assert found.size_bytes.tolist() == [2048, 4096, 16384]
    assert found.time_s == pytest.approx([10.1e-6, 10.2e-6, 10.3e-6])
    assert found.metadata.hardware == "8x NVIDIA H200"
    assert found.metadata.nccl_version == "2.29.2"
    assert set(found.path) == {"nvlink"}


def test_measurements_survive_their_file(tmp_path):
    rows = [
        Row(
            "all-to-all",
            2,
            "nvlink",
            1024,
            1e-5,
            dtype="bfloat16",
            p10_s=9e-6,
            p90_s=2e-5,
            min_s=8e-6,
            repetitions=30,
            correct=True,
        ),
        Row("send-receive", 2, "socket", 1 << 30, 0.7, pattern="incast", in_place=True),
    ]
    matrix = Matrix("pairs", 1 << 20, np.array([[np.nan, 2900.5], [2899.0, np.nan]]))
    metadata = Metadata(hardware="2x NVIDIA H200", environment={"NCCL_P2P_DISABLE": "1"}, details={"nvlink": [18, 18]})
    path = tmp_path / "kept.json"
    write_measurements(Measurements.of(rows, metadata, [matrix]), path)
    for found in (read_measurements(path), read_measured(path)):
        assert list(found.rows()) == rows
        assert np.array_equal(found.matrices[0].gbps, matrix.gbps, equal_nan=True)
        assert found.metadata.environment == {"NCCL_P2P_DISABLE": "1"}
    assert set(read_measured(path, ReadOptions(path="across")).path) == {"across"}


def test_the_calibration_survives_its_file_and_says_what_it_holds_for(file, tmp_path):
    points = read_files([file(text(), "a.txt"), file(text("all_gather_perf"), "b.txt")], ReadOptions(path="across"))
    path = tmp_path / "calibration.json"
    calibration = fit_file(points, path, seed=3, draws=50)
    assert read_calibration(path) == calibration
    assert calibration.provenance.points == 10
    curve = calibration.curve("all-to-all", 4, "across")
    assert curve is not None
    assert curve.regimes[0].latency_s == pytest.approx(20e-6, rel=1e-3)
    assert curve.bus_bandwidth_bytes_per_s == pytest.approx(0.5 * 40e9, rel=1e-3)
    stored = json.loads(path.read_text())
    assert stored["schema_version"] == 1
    assert stored["provenance"]["data_sha256"] == fit(points, draws=0).provenance.data_sha256


def test_the_same_points_in_another_order_have_the_same_hash_and_fit(file):
    points = read_measured(file(text()), ReadOptions(path="across"))
    backwards = Measurements.of(list(points.rows())[::-1], points.metadata)
    assert backwards.digest() == points.digest()
    assert fit(backwards, draws=20).curves == fit(points, draws=20).curves


# --- bad data


def broken_texts() -> dict[str, tuple[str, str]]:
    good = text()
    second, third = (line(size, microseconds(size)) for size in SIZES[1:3])
    negative = second.replace(f"{microseconds(SIZES[1]):.2f}", "-21.64")
    zero = second.replace(f"{microseconds(SIZES[1]):.2f}", "0.00")
    mixed = line(SIZES[2], microseconds(SIZES[2]) * 1000)
    algbw = SIZES[2] / microseconds(SIZES[2]) / 1e3
    off = third.replace(f"{microseconds(SIZES[2]):7.2f}", f"{microseconds(SIZES[2]) / 1000:7.5f}", 1)
    assert f"{algbw:.2f}" in off
    one_size = HEADER.format(program="alltoall_perf") + line(8192, 20.2) + "\n# Out of bounds values : 0 OK\n"
    return {
        "a killed run": (text(footer=False), "no footer"),
        "a line cut short": (good[: good.index(third) + 40], "columns"),
        "a negative time": (good.replace(second, negative), r"time_s: found -2\.16.*above zero"),
        "a zero time": (good.replace(second, zero), "time_s: found 0; expected a time above zero"),
        "times in another unit": (good.replace(third, mixed), "jump by a factor"),
        "a time that contradicts its bandwidth": (good.replace(third, off), "off by a factor of 1"),
        "a header in milliseconds": (good.replace("(us)", "(ms)"), r"sizes in \(B\) and times in \(us\)"),
        "wrong data": (good.replace(third, line(SIZES[2], microseconds(SIZES[2]), wrong="7")), "wrong data were received"),
        "wrong data in the footer": (good.replace("values : 0 OK", "values : 7 FAILED"), "wrong data received"),
        "one size": (one_size, "one size only"),
        "a negative size": (good.replace(f"{SIZES[1]:12}", f"{-SIZES[1]:12}"), "line 15: size_bytes: found -65536"),
        "a run killed before its table": (good + HEADER[:700].format(program="all_gather_perf"), "a header and no table"),
        "wrong data in the end of a JSON": (
            json.dumps(document(out_of_bounds={"count": 3, "okay": "false"})),
            "out_of_bounds: found 3 wrong elements",
        ),
        "two JSON in one file": (json.dumps(document()) + "\n" + json.dumps(document()), "Extra data: line 2"),
        "a truncated JSON": (json.dumps(document())[:-900], "no whole JSON.*line 1 column"),
        "a JSON without end": (json.dumps({key: value for key, value in document().items() if key != "end_time"}), "end_time"),
        "a truncated inspector dump": (inspector()[:-100], "was the job killed"),
        "a table cut short": (table([("alltoall", "half", 8, 1024, 0.01)]) + "NVIDIA H200,alltoall,half,8", "fewer columns"),
        "an unknown type": (table([("alltoall", "quad", 8, 1024, 0.01)]), "nccl_dtype: found 'quad'"),
        "a latency that is none": (table([("alltoall", "half", 8, 1024, "nan")]), "time_s"),
        "an unknown operation": (table([("halo", "half", 8, 1024, 0.01)]), "op_name: found 'halo'"),
        "times a thousand times too short": (
            table([("alltoall", "half", 8, 1 << k, 1e-10 * (1 << k)) for k in range(18, 24)]),
            "bytes/s of one rank",
        ),
        "no format": ("hello\n", "unknown or empty format"),
        "nothing": ("", "unknown or empty format"),
    }


@pytest.mark.parametrize("case", broken_texts())
def test_bad_data_are_named_and_leave_the_calibration(file, tmp_path, case):
    content, message = broken_texts()[case]
    kept = tmp_path / "calibration.json"
    fit_file(read_measured(file(text(), "good.txt")), kept, draws=10)
    before = kept.read_bytes()
    with pytest.raises(InputError, match=message):
        fit_file(read_measured(file(content, "bad.txt")), kept, draws=10)
    assert kept.read_bytes() == before
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.txt", "calibration.json", "good.txt"]


def test_every_fault_is_listed_at_once(file):
    rows = [("alltoall", "half", 8, 1024, -1), ("alltoall", "half", 0, 1024, 0.01), ("halo", "quad", 8, 1024, 0.01)]
    with pytest.raises(InputError) as raised:
        read_measured(file(table(rows)))
    assert [fault.where.split(": ", 1)[1] for fault in raised.value.faults] == [
        "line 2: time_s", "line 3: ranks", "line 4: op_name", "line 4: nccl_dtype"
    ]  # fmt: skip


def test_lenient_reads_what_is_whole(file):
    cut = text()[: text().index(line(SIZES[3], microseconds(SIZES[3]))) + 30]
    found = read_measured(file(cut), ReadOptions(lenient=True))
    assert sorted(set(found.size_bytes)) == list(SIZES[:3])
    assert any("no footer" in note for note in found.notes)
    whole = json.dumps(document())
    found = read_measured(file(whole[: whole.index(f'"size": {SIZES[3]}') + 30]), ReadOptions(lenient=True))
    assert sorted(set(found.size_bytes)) == list(SIZES[:3])


def test_lenient_fits_the_groups_that_are_sound(file):
    good = read_measured(file(text()))
    rows = [*good.rows(), Row("broadcast", 4, "unspecified", 1024, 1e-5)]
    points = Measurements.of(rows)
    with pytest.raises(InputError, match="broadcast among 4 ranks over unspecified: found one size only"):
        fit(points, draws=0)
    calibration = fit(points, draws=0, lenient=True)
    assert [curve.operation for curve in calibration.curves] == ["all-to-all"]
    assert any("broadcast" in note for note in calibration.notes)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"schema_version": 2}, "schema_version 2"),
        ({"rows": {}}, "no list"),
        ({"rows": [{"operation": "alltoall"}]}, "ranks: found nothing"),
        (
            {"rows": [{"operation": "alltoall", "ranks": True, "path": "nvlink", "size_bytes": 1, "time_s": 1}]},
            "a whole number",
        ),
        ({"rows": [{"operation": "x", "ranks": 2, "path": "y", "size_bytes": 0, "time_s": 0}]}, "operation: found 'x'"),
        ({"rows": [{"operation": "alltoall", "ranks": 2, "path": "nvlink", "size_bytes": 1, "time_s": 1, "why": 1}]}, "'why'"),
        ({"matrices": [{"pattern": "pairs", "size_bytes": 8, "gbps": [[1, 2]]}]}, "n x n"),
        ({"metadata": {"gpus": 2}}, "metadata: gpus"),
    ],
)
def test_faults_of_a_measurements_file(file, change, message):
    base = {"schema_version": 1, "zcube_measurements": True, "metadata": {}, "rows": [], "matrices": []}
    with pytest.raises(InputError, match=message):
        read_measurements(file(json.dumps(base | change)))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"curves": []}, "curves"),
        ({"schema_version": 9}, "schema_version"),
        ({"extra": 1}, "an unknown key"),
        ({"zcube_calibration": False}, "without zcube_calibration"),
    ],
)
def test_faults_of_a_calibration_file(file, tmp_path, change, message):
    path = tmp_path / "calibration.json"
    fit_file(read_measured(file(text())), path, draws=0)
    path.write_text(json.dumps(json.loads(path.read_text()) | change))
    with pytest.raises(InputError, match=message):
        read_calibration(path)


# --- reports


def test_tables_name_hardware_error_and_range(file, tmp_path):
    from zcube.calibrate.apply import apply_calibration
    from zcube.calibrate.checking import check

    points = read_measured(file(text()), ReadOptions(path="across"))
    calibration = fit_file(points, tmp_path / "calibration.json", draws=20)
    assert "4x NVIDIA H200, nccl 2.28.5" in measurements_text(points)
    assert "20 GB/s" in calibration_text(calibration)
    assert "5 of 5 points are among those that were fitted" in check_text(check(calibration, points))
    applied = apply_calibration(calibration, nic_line_rate_gbps=400)
    told = "\n".join(applied.notes)
    assert "160 Gb/s, all-to-all among 4 ranks on 2 hosts over across" in told
    assert "NVLink rate: not measured" in told
    assert [(one.from_bytes, one.to_bytes) for one in applied.range] == [(8192, 32 << 20)]


def test_the_plot_is_a_picture(file, tmp_path):
    from matplotlib.image import imread

    calibration = fit(read_measured(file(text() + text("all_gather_perf"))), draws=0)
    path = tmp_path / "calibration.png"
    save(plot_calibration(calibration), path)
    picture = imread(path)
    assert picture.shape[1] > picture.shape[0] > 500
    assert picture[..., :3].std() > 0.05


# --- hosts


def hosted(program: str, hosts: int, ranks_per_host: int, time_us, sizes=None) -> str:
    """An nccl-tests run over several hosts, of times that follow from sizes."""
    ranks = hosts * ranks_per_host
    devices = [
        f"#  Rank {rank:2} Group  0 Pid {1000 + rank:6} on      node{rank // ranks_per_host} device {rank % ranks_per_host:2}"
        " [0000:19:00] NVIDIA H200"
        for rank in range(ranks)
    ]
    head = HEADER.format(program=program).splitlines()
    first = next(place for place, one in enumerate(head) if one.startswith("#  Rank"))
    head[first : first + 4] = devices
    sizes = sizes or [1 << power for power in range(12, 33)]
    return "\n".join([*head, *(line(size, time_us(size), ranks) for size in sizes), "# Out of bounds values : 0 OK", ""])


@pytest.mark.parametrize(("hosts", "ranks_per_host"), [(2, 8), (3, 4), (4, 2), (5, 1)])
@pytest.mark.parametrize(
    ("program", "leaves"),
    [
        # Of an all-to-all, what is for other hosts; of a ring per NIC, a part of nccl-tests' bus bytes.
        ("alltoall_perf", lambda n, g: (n - g) / n),
        ("gather_perf", lambda n, g: (n - g) / n),
        ("all_gather_perf", lambda n, g: (n - 1) / n / g),
        ("reduce_scatter_perf", lambda n, g: (n - 1) / n / g),
        ("all_reduce_perf", lambda n, g: 2 * (n - 1) / n / g),
        ("broadcast_perf", lambda n, g: 1 / g),
        ("sendrecv_perf", lambda n, g: 1.0),
    ],
)
def test_a_nic_carries_what_leaves_its_host(file, program, leaves, hosts, ranks_per_host):
    """10 us and 45 GB/s of each NIC give 360 Gb/s, whichever operation and hosts."""
    from zcube.calibrate.apply import apply_calibration

    ranks = hosts * ranks_per_host
    content = hosted(program, hosts, ranks_per_host, lambda size: 10 + size * leaves(ranks, ranks_per_host) / 45e3)
    calibration = fit(read_measured(file(content)), draws=0)
    assert calibration.curves[0].bus_bandwidth_bytes_per_s == pytest.approx(45e9, rel=2e-3)
    if program == "alltoall_perf":
        assert apply_calibration(calibration, nic_line_rate_gbps=400).nic_efficiency == pytest.approx(0.9, rel=2e-3)


def test_a_path_that_contradicts_the_hosts_is_refused(file):
    over = file(hosted("alltoall_perf", 2, 4, lambda size: 10 + size / 90e3))
    assert set(read_measured(over).path) == {"across"}
    with pytest.raises(InputError, match="nvlink for 8 ranks on 2 hosts"):
        read_measured(over, ReadOptions(path="nvlink"))
    inside = file(hosted("alltoall_perf", 1, 4, lambda size: 10 + size / 90e3), "inside.txt")
    with pytest.raises(InputError, match="across for 4 ranks on one host"):
        read_measured(inside, ReadOptions(path="across"))
    kept = Measurements.of([Row("all-to-all", 8, "across", 1 << 20, 1e-3, hosts=2)], Metadata())
    path = file("{}", "kept.json")
    write_measurements(kept, path)
    assert read_measurements(path).hosts.tolist() == [2]
    with pytest.raises(InputError, match="nvlink for 8 ranks on 2 hosts"):
        read_measured(path, ReadOptions(path="nvlink"))


def test_hosts_with_different_numbers_of_ranks_are_refused(file):
    content = hosted("alltoall_perf", 2, 3, lambda size: 10 + size / 90e3).replace(
        "on      node1 device  0", "on      node0 device  7"
    )
    with pytest.raises(InputError, match="different numbers of ranks"):
        read_measured(file(content))


def on_nodes(nodes: int, ranks: int, gigabytes_per_s: float, key: str) -> list[dict]:
    return [
        {
            "header": {"id": key, "rank": rank, "n_ranks": ranks, "nnodes": nodes},
            "coll_perf": {
                "coll": "AllReduce",
                "coll_sn": number,
                "coll_msg_size_bytes": 1 << power,
                "coll_exec_time_us": 20 + (1 << power) / gigabytes_per_s / 1e3,
            },
        }
        for number, power in enumerate(range(14, 30))
        for rank in range(ranks)
    ]


@pytest.mark.parametrize(("ranks", "inside", "over"), [(8, 300.0, 40.0), (4, 200.0, 25.0)])
def test_inspector_runs_inside_a_node_and_over_nodes_are_apart(file, ranks, inside, over):
    records = on_nodes(1, ranks, inside, "0x1") + on_nodes(ranks, ranks, over, "0x2")
    path = file("\n".join(map(json.dumps, records)))
    fitted = fit(read_measured(path), draws=0)
    assert {(curve.path, curve.hosts) for curve in fitted.curves} == {("nvlink", 1), ("across", ranks)}
    for name, rate in (("nvlink", inside), ("across", over)):
        bandwidth = fitted.curve("all-reduce", ranks, name).regimes[-1].bandwidth_bytes_per_s
        assert bandwidth == pytest.approx(rate * 1e9, rel=1e-3)
    with pytest.raises(InputError, match=f"nvlink for {ranks} ranks on {ranks} hosts"):
        read_measured(path, ReadOptions(path="nvlink"))


@pytest.mark.parametrize("runs", [1, 4])
def test_runs_of_one_rank_say_what_they_are_and_what_to_build(file, runs):
    alone = hosted("alltoall_perf", 1, 1, lambda size: 3.0, sizes=[1024, 2048, 4096, 8192])
    with pytest.raises(InputError, match=r"runs of one rank each.*nothing crosses a link.*MPI=1"):
        read_measured(file(alone * runs))
    devices = document()["config"]["devices"][:1]
    single = document(config={"nthreads": 1, "ngpus": 1, "iterations": 20, "devices": devices})
    with pytest.raises(InputError, match=r"runs of one rank each.*MPI=1"):
        read_measured(file(json.dumps(single), "one.json"))
    # Beside runs of several ranks they are left out.
    found = read_measured(file(alone + text(), "both.txt"))
    assert set(found.ranks) == {4}
    assert any("one rank" in note for note in found.notes)


# --- calibrations written by hand


def spoiled(path, change):
    """Write a copy of a calibration in which something was changed by hand."""
    found = json.loads(path.read_text())
    change(found)
    copy = path.with_name("hand.json")
    copy.write_text(json.dumps(found))
    return copy


SPOILT = {
    "rate in bits": (lambda found: found["provenance"].update(nic_line_rate_gbps=400e9), "nic_line_rate_gbps"),
    "rate below zero": (lambda found: found["provenance"].update(nvlink_line_rate_gbps=-1), "nvlink_line_rate_gbps"),
    "size of zero": (lambda found: found["curves"][0]["sizes_bytes"].__setitem__(0, 0), "sizes_bytes"),
    "size below zero": (lambda found: found["curves"][0]["sizes_bytes"].__setitem__(1, -8), "sizes_bytes"),
    "time of zero": (lambda found: found["curves"][0]["times_s"].__setitem__(0, 0.0), "times_s"),
    "time below zero": (lambda found: found["curves"][0]["times_s"].__setitem__(2, -1e-6), "times_s"),
    "times in microseconds": (
        lambda found: found["curves"][0].update(times_s=[t * 1e6 for t in found["curves"][0]["times_s"]]),
        "agree",
    ),
    "curves that contradict": (lambda found: found["curves"].append(found["curves"][0]), "one of each kind"),
    "bytes per second": (lambda found: found["curves"][0]["regimes"][-1].update(s_per_byte=4e10), "s_per_byte"),
    "seconds per kilobyte": (lambda found: found["curves"][0]["regimes"][-1].update(s_per_byte=1e-3), "s_per_byte"),
    "rate twice as fast": (
        lambda found: found["curves"][0]["regimes"][-1].update(s_per_byte=found["curves"][0]["regimes"][-1]["s_per_byte"] / 2),
        "agree",
    ),
    "latency in microseconds": (lambda found: found["curves"][0]["regimes"][0].update(latency_s=2e4), "latency_s"),
    "interval turned": (lambda found: found["curves"][0]["regimes"][0].update(latency_interval_s=[2e-6, 1e-6]), "interval"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_a_calibration_that_cannot_be_true_is_refused(file, tmp_path, kind):
    path = tmp_path / "calibration.json"
    fit_file(read_measured(file(text())), path, draws=0)
    assert read_calibration(path)
    change, said = SPOILT[kind]
    with pytest.raises(InputError, match=said):
        read_calibration(spoiled(path, change))


def test_rates_of_a_matrix_in_bits_are_refused(file):
    content = {"zcube_measurements": True, "schema_version": 1, "rows": [], "matrices": []}
    content["matrices"] = [{"pattern": "pairs", "size_bytes": 8, "gbps": [[None, 3.6e12], [3.6e12, None]]}]
    with pytest.raises(InputError, match="rates of 0 to"):
        read_measured(file(json.dumps(content)))


@pytest.mark.parametrize(
    ("name", "noted"), [("h200_nccl_2.29.2.csv", True), ("h200_nccl_2.27.5.csv", False), ("table.csv", False)]
)
def test_the_version_of_a_table_is_that_of_its_column(file, name, noted):
    head = "device,op_name,nccl_dtype,num_gpus,message_size,latency,version"
    found = read_measured(file(table([("alltoall", "half", 8, 1024, 0.0101, "2.27.5")], head), name))
    assert found.metadata.nccl_version == "2.27.5"
    assert any("2.29.2" in note for note in found.notes) == noted
