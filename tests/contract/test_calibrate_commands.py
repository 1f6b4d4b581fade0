"""``zcube calibrate`` and ``--calibration``: from measured files to a result that names them."""

import json
import re
from pathlib import Path

import pytest

CALIBRATIONS = Path(__file__).resolve().parents[2] / "calibrations"
KEPT = sorted(CALIBRATIONS.glob("[0-9]x-h200-*.json"))


def table(shared_data):
    return shared_data / "aiconfigurator-glm5" / "h200_sxm_nccl_2.29.2.csv"


@pytest.mark.parametrize("name", ["2x-h200-nvlink", "2x-h200-shared-memory", "2x-h200-socket", "4x-h200-nvlink"])
def test_all_to_all_left_out_of_the_fit_is_predicted(run, name):
    status, out, err = run("calibrate", "check", CALIBRATIONS / f"{name}.json", "--json")
    assert status == 0, err
    found = next(row for row in json.loads(out)["by_operation"] if row["operation"] == "all-to-all")
    assert found["points"] >= 8
    assert found["median"] <= 0.06
    assert found["p90"] <= 0.15


def test_two_gpus_of_another_machine_are_predicted(run, tmp_path):
    fitted = tmp_path / "calibration.json"
    status, _, err = run("calibrate", "fit", CALIBRATIONS / "2x-h200-nvlink.json", "--out", fitted)
    assert status == 0, err
    status, out, err = run("calibrate", "check", CALIBRATIONS / "4x-h200-nvlink.json", "--calibration", fitted, "--json")
    assert status == 0, err
    total = json.loads(out)["total"]
    assert total["points"] > 100
    assert total["median"] <= 0.06
    assert total["p90"] <= 0.15


@pytest.mark.parametrize("path", KEPT, ids=lambda path: path.stem)
def test_kept_measurements_are_whole_and_received_right(path):
    from zcube.calibrate.measurements import read_measurements

    measured = read_measurements(path)
    assert len(measured) > 30
    assert all(row.correct for row in measured.rows())
    count, device, way = path.stem.split("-", 2)
    assert measured.metadata.hardware == f"{count} NVIDIA {device.upper()}"
    wanted = next(name for name in ("nvlink", "shared-memory", "socket") if way.startswith(name))
    assert wanted in set(measured.path)


def test_a_calibration_holds_on_a_machine_started_another_day(run, tmp_path):
    fitted = tmp_path / "calibration.json"
    earlier, later = CALIBRATIONS / "4x-h200-nvlink.json", CALIBRATIONS / "4x-h200-nvlink-later.json"
    status, _, err = run("calibrate", "fit", earlier, "--draws", "0", "--out", fitted)
    assert status == 0, err
    status, out, err = run("calibrate", "check", later, "--calibration", fitted, "--json")
    assert status == 0, err
    total = json.loads(out)["total"]
    assert total["points"] == 294
    assert total["median"] <= 0.02
    assert total["p90"] <= 0.05


def test_published_tables_are_read_fitted_and_checked(run, shared_data, tmp_path):
    measured, fitted, picture = tmp_path / "m.json", tmp_path / "c.json", tmp_path / "c.png"
    status, out, err = run("calibrate", "read", table(shared_data), "--out", measured)
    assert status == 0, err
    assert "all-to-all" in out
    status, out, err = run("calibrate", "fit", measured, "--out", fitted, "--picture", picture, "--draws", "50", "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads(fitted.read_text())
    assert picture.read_bytes().startswith(b"\x89PNG")
    status, out, err = run("calibrate", "check", measured, "--without-ranks", "8", "--json")
    assert status == 0, err
    assert {row["ranks"] for row in json.loads(out)["by_ranks"]} == {8}


def test_a_failed_fit_leaves_the_calibration_before_it(run, tmp_path):
    fitted, broken = tmp_path / "calibration.json", tmp_path / "broken.json"
    status, _, err = run("calibrate", "fit", CALIBRATIONS / "2x-h200-nvlink.json", "--out", fitted, "--draws", "0")
    assert status == 0, err
    before = fitted.read_bytes()
    measured = json.loads((CALIBRATIONS / "2x-h200-nvlink.json").read_text())
    measured["rows"][3]["time_s"] = 0
    broken.write_text(json.dumps(measured))
    status, _, err = run("calibrate", "fit", broken, "--out", fitted)
    assert status == 2
    assert "time_s" in err
    assert fitted.read_bytes() == before


def test_a_machine_without_gpus_is_told_what_is_missing(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    status, out, err = run("calibrate", "run", "--out", tmp_path / "m.json", "--sizes", "1K,4K")
    assert status == 2
    assert not out
    assert "GPU" in err
    assert not (tmp_path / "m.json").exists()


@pytest.fixture
def asked(monkeypatch):
    """Settings that ``calibrate run`` was asked to measure with; nothing is measured."""
    from zcube.calibrate.measurements import Measurements

    found = []

    def measure(settings, out, progress):
        found.append(settings)
        return Measurements.of([])

    monkeypatch.setattr("zcube.calibrate.measure.run.measure", measure)
    return found


def test_commands_of_the_readme_are_understood(run, asked, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "calibrations").symlink_to(CALIBRATIONS)
    lines = [
        line.split()[1:]
        for line in (CALIBRATIONS / "README.md").read_text().splitlines()
        if line.startswith("zcube calibrate") and "--out calibrations/" not in line
    ]
    lines += [["calibrate", "run", "--out", "m.json", *["--ranks", "2,4", "--budget-s", "0.1", "--set", "ranks_per_host_id=2"]]]
    for line in lines:
        status, _, err = run(*line)
        assert status == 0, (line, err)
    assert {line[1] for line in lines} == {"run", "fit", "check"}
    torch, mpi, last = asked
    assert (torch.nodes, torch.node_rank, torch.master, torch.ranks) == (2, 0, "node0:29500", (16,))
    assert (mpi.nodes, mpi.hosts) == (2, "node0:8,node1:8")
    assert (last.ranks, last.budget_s, last.ranks_per_host_id) == ((2, 4), 0.1, 2)


def test_settings_are_not_undone_by_defaults_of_options(run, asked, tmp_path):
    status, _, err = run("calibrate", "run", "--out", tmp_path / "m.json", "--set", "path=socket", "--set", "driver=torch")
    assert status == 0, err
    assert (asked[0].path, asked[0].driver) == ("socket", "torch")


def test_options_that_errors_name_are_there(run, tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    _, _, err = run("calibrate", "run", "--out", tmp_path / "m.json")
    _, said, _ = run("calibrate", "run", "--help")
    named = set(re.findall(r"--[a-z][a-z-]+", err))
    assert {"--python", "--nccl-tests"} <= named
    assert all(option in said for option in named)


@pytest.fixture(scope="module")
def nvlink(tmp_path_factory):
    from zcube.calibrate.fitting import fit_file
    from zcube.calibrate.measurements import read_measurements

    path = tmp_path_factory.mktemp("calibrations") / "nvlink.json"
    fit_file(read_measurements(CALIBRATIONS / "2x-h200-nvlink.json"), path, draws=0)
    return path


def test_a_replay_takes_rate_and_latency_of_nvlink_from_the_calibration(run, nvlink, tmp_path):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,1,1000000000,0\n8,16,1000000000,0\n")
    _, plain, _ = run("replay", flows, "--fabric", "roft-256", "--out", tmp_path / "plain.csv", "--json")
    status, out, err = run(
        "replay", flows, "--fabric", "roft-256", "--calibration", nvlink, "--out", tmp_path / "new.csv", "--json"
    )
    assert status == 0, err
    assert "calibration" not in json.loads(plain)
    said = json.loads(out)["calibration"]
    applied = said["applied"]
    assert applied["nic_efficiency"] is None
    before, after = (
        [float(line.split(",")[6]) for line in (tmp_path / name).read_text().splitlines()[1:]]
        for name in ("plain.csv", "new.csv")
    )
    link_delay_s = before[0] - 8e9 / 3600e9
    started_s = applied["nvlink_start"]["start_s"][-1]
    assert max(applied["nvlink_start"]["start_s"]) > applied["nvlink_latency_s"]
    assert after[0] == pytest.approx(8e9 / (applied["nvlink_gbps"] * 1e9) + started_s + link_delay_s)
    assert after[1] == pytest.approx(before[1])
    assert said["error_median"] <= 0.06
    # What is applied gives back the runs that its rate is from.
    assert said["applied_errors"][0]["operation"] == "all-to-all"
    assert said["applied_errors"][0]["p90"] < 0.03
    assert not said["warnings"]


@pytest.fixture(scope="module")
def network(tmp_path_factory):
    """All-to-all at 360 of 400 Gb/s among sixteen after 12 us, single messages after 9 us, NVLink at 3,000 Gb/s after 6 us."""
    from zcube.calibrate.fitting import fit_file
    from zcube.calibrate.measurements import Measurements, Metadata, Row

    rows = []
    for size in (1 << power for power in range(10, 31)):
        rows += [
            Row("all-to-all", 16, "across", size, 12e-6 + size * 15 / 16 / 45e9),
            Row("send-receive", 2, "across", size, 9e-6 + size / 46e9),
            Row("all-to-all", 8, "nvlink", size, 6e-6 + size * 7 / 8 / 375e9),
        ]
    path = tmp_path_factory.mktemp("calibrations") / "network.json"
    fit_file(Measurements.of(rows, Metadata(hardware="16x NVIDIA H200", nic_line_rate_gbps=400.0)), path, draws=0)
    return path


@pytest.mark.parametrize("fidelity", ["ideal", "flow", "lossless", "packet"])
def test_nics_take_efficiency_and_start_from_the_calibration(run, network, tmp_path, fidelity):
    """Two messages of 1 MB, one over NVLink and one through NICs: start, link delay and bytes over the calibrated rate."""
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,1,1000000,0\n8,16,1000000,0\n")
    ends = {}
    for name, options in (("plain", ()), ("new", ("--calibration", network))):
        out = tmp_path / f"{name}.csv"
        status, said, err = run(
            "replay", flows, "--fabric", "roft-256", "--fidelity", fidelity, *options, "--out", out, "--json"
        )
        assert status == 0, err
        ends[name] = [float(line.split(",")[6]) for line in out.read_text().splitlines()[1:]]
    applied = json.loads(said)["calibration"]["applied"]
    assert applied["nic_efficiency"] == pytest.approx(0.9, rel=1e-4)
    rates = ((3600e9, 3000e9, 6e-6), (400e9, 360e9, 12e-6))
    # Frames carry headers, which the packets of 1 MB pay with 2.4 % of their time at most.
    exact = {"abs": 1e-9} if fidelity != "packet" else {"abs": 1e-9, "rel": 0.03}
    for number, (line_rate, rate, start_s) in enumerate(rates):
        delay_s = ends["plain"][number] - 8e6 / line_rate
        assert ends["new"][number] == pytest.approx(start_s + delay_s + 8e6 / rate, **exact)


def test_more_gpus_than_were_measured_are_warned_of(run, nvlink, tmp_path):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,1,2000,0\n2,3,2000,0\n")
    status, out, err = run("replay", flows, "--fabric", "roft-256", "--calibration", nvlink)
    assert status == 0, err
    assert "warning: 4 ranks over nvlink: the calibration holds for 2" in out


def test_transfers_outside_the_measured_range_are_warned_of(run, nvlink, tmp_path):
    flows = tmp_path / "flows.csv"
    flows.write_text("src,dst,bytes,start_s\n0,1,200,0\n")
    status, out, err = run("replay", flows, "--fabric", "roft-256", "--calibration", nvlink)
    assert status == 0, err
    assert "warning: messages of 200 bytes over nvlink" in out


@pytest.mark.usefixtures("one_picture")
def test_a_comparison_names_its_calibration(run, nvlink, tmp_path):
    folder = tmp_path / "out"
    status, out, err = run(
        "compare",
        "glm51-pd-256",
        "--set",
        "requests.count=30",
        "--fabric",
        "zcube-256",
        "--calibration",
        nvlink,
        "--out",
        folder,
    )
    assert status == 0, err
    assert "2x NVIDIA H200" in out
    assert "NVLink rate" in (folder / "report.html").read_text()
    record = json.loads((folder / "run.json").read_text())
    assert record["calibration"]["applied"]["nvlink_gbps"] > 0
    assert record["scenario"]["network"]["calibration"] == str(nvlink)


def test_a_file_that_is_no_calibration_is_refused(run, tmp_path):
    flows, wrong = tmp_path / "flows.csv", tmp_path / "wrong.json"
    flows.write_text("src,dst,bytes,start_s\n0,1,200,0\n")
    wrong.write_text('{"schema_version": 1, "curves": []}')
    status, _, err = run("replay", flows, "--fabric", "roft-256", "--calibration", wrong)
    assert status == 2
    assert "wrong.json" in err


@pytest.mark.parametrize("command", ["check", "fit"])
def test_a_calibration_given_as_measurements_is_called_one(run, nvlink, tmp_path, command):
    out = ["--out", tmp_path / "c.json"] if command == "fit" else []
    status, _, err = run("calibrate", command, nvlink, *out)
    assert status == 2
    assert "a calibration, which zcube calibrate fit wrote" in err
    assert "--calibration" in err
