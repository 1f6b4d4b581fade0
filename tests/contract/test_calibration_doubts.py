"""Measurements that can be fitted and yet are doubtful: other units, contradictions, other machines, other sizes."""

import json

import pytest

SIZES = [1 << power for power in range(10, 28)]


def measured(folder, time_s, name="measured.json", sizes=SIZES, operation="all-to-all", path="nvlink", ranks=4, **metadata):
    rows = [
        {"operation": operation, "ranks": ranks, "path": path, "size_bytes": size, "time_s": taken}
        for size in sizes
        for taken in time_s(size)
    ]
    target = folder / name
    target.write_text(json.dumps({"schema_version": 1, "zcube_measurements": True, "metadata": metadata, "rows": rows}))
    return target


def at(bytes_per_s, start_s=8e-6, times=(1.0,)):
    return lambda size: [(start_s + size / bytes_per_s) * factor for factor in times]


@pytest.fixture
def fitted(run, tmp_path):
    def fit(source):
        target = tmp_path / "calibration.json"
        status, out, err = run("calibrate", "fit", source, "--out", target, "--draws", "20")
        assert status == 0, err
        return target, out

    return fit


@pytest.fixture
def replayed(run, tmp_path):
    def replay(calibration):
        flows = tmp_path / "flows.csv"
        flows.write_text("src,dst,bytes,start_s\n0,1,1000000,0\n")
        return run("replay", flows, "--fabric", "roft-256", "--calibration", calibration)

    return replay


def test_an_nvlink_faster_than_its_line_rate_is_refused(fitted, replayed, tmp_path):
    """24,000 Gb/s over an NVLink of 3,600: the times were milliseconds divided by ten thousand, or the sizes bits."""
    calibration, _ = fitted(measured(tmp_path, at(4e12), nvlink_line_rate_gbps=3600.0))
    status, _, err = replayed(calibration)
    assert status == 2
    assert "NVLink line rate: found 3600 Gb/s; expected at least the 2.4e+04 Gb/s that were measured" in err


def test_switches_that_reduce_may_be_faster_than_the_line_rate(fitted, replayed, tmp_path):
    source = measured(tmp_path, at(400e9), operation="all-reduce", nvlink_line_rate_gbps=3600.0)
    status, out, err = replayed(fitted(source)[0])
    assert status == 0, err
    assert "NVLink rate: 4800 Gb/s" in out


def test_rates_far_below_the_line_rate_are_doubted(fitted, replayed, tmp_path):
    """Milliseconds taken for seconds: 2.4 Gb/s over an NVLink of 3,600."""
    calibration, _ = fitted(measured(tmp_path, at(4e8, 8e-3), nvlink_line_rate_gbps=3600.0))
    status, out, err = replayed(calibration)
    assert status == 0, err
    assert "0.07% of the line rate, 3600 Gb/s; are times and sizes in one unit?" in out
    status, out, _ = replayed(fitted(measured(tmp_path, at(400e9), nvlink_line_rate_gbps=3600.0))[0])
    assert status == 0
    assert "one unit" not in out


def test_times_of_one_size_that_contradict_each_other_are_told(fitted, tmp_path):
    _, out = fitted(measured(tmp_path, at(400e9, times=(1.0, 20.0))))
    assert "times of 18 of 18 sizes differ by more than 2 times" in out
    assert "by 20 times; two machines or settings in one curve?" in out
    _, out = fitted(measured(tmp_path, at(400e9, times=(1.0, 1.3))))
    assert "differ by more than" not in out


def test_a_check_tells_other_machines_and_sizes_that_were_not_fitted(run, fitted, tmp_path):
    calibration, _ = fitted(measured(tmp_path, at(400e9), hardware="4x NVIDIA H200"))
    other = measured(tmp_path, at(400e9), "other.json", [*SIZES[-2:], 1 << 28, 1 << 29], hardware="2x NVIDIA H100")
    status, out, err = run("calibrate", "check", other, "--calibration", calibration)
    assert status == 0, err
    assert "measured on NVIDIA H100, predicted by a calibration of NVIDIA H200" in out
    assert "2 of 4 points of all-to-all among 4 ranks over nvlink lie outside the 1024 to 1.342e+08 bytes" in out
    same = measured(tmp_path, at(400e9), "same.json", hardware="2x NVIDIA H200")
    status, out, err = run("calibrate", "check", same, "--calibration", calibration)
    assert status == 0, err
    assert "lie outside" not in out
    assert "measured on" not in out


def test_a_calibration_of_another_gpu_than_the_compute_times_is_told(run, fitted, tmp_path):
    source = measured(tmp_path, at(400e9), operation="all-gather", ranks=8, hardware="8x NVIDIA H100")
    calibration, _ = fitted(source)
    common = ("compare", "glm51-pd-256", "--fabric", "roft-256", "--set", "requests.count=20", "--json")
    status, out, err = run(*common, "--calibration", calibration, "--calibration-draws", "0")
    assert status == 0, err
    warnings = json.loads(out)["calibration"]["warnings"]
    assert any(text.startswith("compute times are of h200, the calibration is of 8x NVIDIA H100") for text in warnings)
