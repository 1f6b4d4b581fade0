"""``zcube sweep``: its file, its points, the table, a stopped sweep that goes on, failed runs, refusals."""

from __future__ import annotations

import html
import json
import math
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from tasks_that_end import end_at_three, square

import zcube as zc
from zcube.cli import main
from zcube.errors import InputError
from zcube.inputs import bundled_stems, resolve_declared
from zcube.report.sweep_labels import column_label
from zcube.report.sweep_text import sweep_text
from zcube.report.variations_plot import tornado
from zcube.sweep import sweep as room
from zcube.sweep.executor import Lost, Processes
from zcube.sweep.points import cases_of, points_of
from zcube.sweep.runs import run_task, runs_of
from zcube.sweep.settings import SweepSettings, load_sweep

HEAD = """
scenarios = ["nic-cap-32"]
fabrics = ["{fabrics}"]
seeds = {seeds}
plots = [{{ x = "load.concurrency", y = "ttft_s.p99" }}]
[set]
requests.count = {count}
network.fidelity = "flow"
"""
BOTH = 'roft-32", "zcube-32'
GRID = """
[grid]
load.concurrency = [2, 4, 8, 12, 16, 20]
network.nic_gbps = [50, 100, 200, 400]
"""


def declared(tmp_path, points=GRID, fabrics="roft-32", seeds=1, count=8):
    path = tmp_path / "study.toml"
    path.write_text(HEAD.format(fabrics=fabrics, seeds=seeds, count=count) + points)
    return path


@pytest.fixture
def counted(monkeypatch):
    """Return the list of runs that are done in this process."""
    names = []

    def counting(task, told):
        names.append(task.scenario.load.concurrency)
        return run_task(task, told)

    monkeypatch.setattr(room, "run_task", counting)
    return names


def same(one: Path, other: Path) -> bool:
    return all((one / name).read_bytes() == (other / name).read_bytes() for name in ("points.parquet", "sweep.json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Return a sweep of 24 points that was not broken: its file and its folder."""
    folder = tmp_path_factory.mktemp("whole")
    path = declared(folder)
    with pytest.raises(SystemExit) as ended:
        main(["sweep", str(path), "--out", str(folder / "o"), "--jobs", "1"])
    assert ended.value.code == 0
    return path, folder / "o"


def test_24_points_killed_half_way_go_on_and_give_the_same_bytes(run, tmp_path, whole, counted):
    path, unbroken = whole
    process = subprocess.Popen(
        [sys.executable, "-m", "zcube", "sweep", path, "--out", tmp_path / "o", "--jobs", "1"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    store = tmp_path / "o" / "runs.jsonl"
    while not store.exists() or store.read_bytes().count(b"\n") < 8:
        assert process.poll() is None, "it ended before it was killed"
        time.sleep(0.002)
    process.kill()
    process.wait()
    kept = store.read_bytes().count(b"\n")
    assert 8 <= kept < 24
    with store.open("ab") as file:
        file.write(b'{"key": "0123')  # What a kill in mid-write leaves.
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")
    assert status == 0, err
    assert len(counted) == 24 - kept
    assert same(tmp_path / "o", unbroken)
    counted.clear()
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")[0] == 0
    assert not counted and same(tmp_path / "o", unbroken)


def test_processes_give_the_table_that_one_gives(run, tmp_path, whole):
    path, unbroken = whole
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "2")[0] == 0
    assert same(tmp_path / "o", unbroken)


def test_the_table_has_a_row_a_run_in_the_order_of_the_declaration(whole):
    frame = pd.read_parquet(whole[1] / "points.parquet")
    assert list(frame.columns[:7]) == [
        "point", "scenario", "requests.count", "network.fidelity", "load.concurrency", "network.nic_gbps", "fabric",
    ]  # fmt: skip
    assert list(frame["point"]) == list(range(24)) and frame.columns[-1] == "hash"
    assert list(frame["network.nic_gbps"][:5]) == [50, 100, 200, 400, 50]
    assert list(frame["load.concurrency"][:5]) == [2, 2, 2, 2, 4]
    assert frame["hash"].is_unique and (frame["status"] == "done").all() and frame["error"].isna().all()
    # A capped NIC takes longer, which a table whose rows were mixed up would not say.
    by_cap = frame.groupby("network.nic_gbps")["kv_transfer_s.mean"].mean()
    assert by_cap.is_monotonic_decreasing and by_cap[50] > 6 * by_cap[400]


def test_too_few_seeds_to_tell_differences_are_told_in_the_table_and_on_the_page(whole):
    document = json.loads((whole[1] / "sweep.json").read_text())
    few = "With 1 seed no difference is told from noise; 5 are needed."
    assert few in sweep_text(document).splitlines()
    assert few in (whole[1] / "sweep.html").read_text()
    for point in document["points"]:
        point["seeds"] = 5
    assert "told from noise" not in sweep_text(document)


def test_what_is_run_is_what_compare_runs(run, whole):
    frame = pd.read_parquet(whole[1] / "points.parquet")
    status, out, _ = run(
        "compare", "nic-cap-32", "--fabric", "roft-32", "--seeds", "1", "--fidelity", "flow", "--set", "requests.count=8",
        "--set", "load.concurrency=12", "--set", "network.nic_gbps=200", "--jobs", "1", "--json",
    )  # fmt: skip
    assert status == 0
    fabric = json.loads(out)["fabrics"]["roft-32"]
    row = frame[(frame["load.concurrency"] == 12) & (frame["network.nic_gbps"] == 200)].iloc[0]
    for column, keys in (("ttft_s.p99", ("ttft_s", "p99")), ("bill.total_usd", ("bill", "total_usd"))):
        assert row[column] == fabric[keys[0]][keys[1]]


def test_an_interrupt_says_what_is_kept_and_the_same_command_goes_on(run, tmp_path, whole, monkeypatch, counted):
    path, unbroken = whole
    counting = room.run_task

    def stop(task, told):
        if len(counted) == 5:
            raise KeyboardInterrupt
        return counting(task, told)

    monkeypatch.setattr(room, "run_task", stop)
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")
    assert status == 130 and "5 of 24 runs" in err
    monkeypatch.setattr(room, "run_task", counting)
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")[0] == 0
    assert len(counted) == 24 and same(tmp_path / "o", unbroken)


def test_failed_runs_are_kept_with_their_error_the_rest_goes_on_and_they_are_tried_again(run, tmp_path, monkeypatch):
    path = declared(tmp_path, "[grid]\nload.concurrency = [2, 3]\nnetwork.nic_gbps = [50, 100]\n", fabrics=BOTH)

    def failing(task, told):
        if task.scenario.load.concurrency == 3 and task.scenario.fabrics == ("zcube-32",):
            return room.Done(None, "made to fail")
        return run_task(task, told)

    monkeypatch.setattr(room, "run_task", failing)
    status, out, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", "--json")
    assert status == 1 and err.count("failed:") == 2 and "point 2, zcube-32, seed 0: made to fail" in err
    document = json.loads(out)
    assert [one["point"] for one in document["failed"]] == [2, 3]
    frame = pd.read_parquet(tmp_path / "o" / "points.parquet")
    assert list(frame["status"]) == ["done"] * 5 + ["failed", "done", "failed"]
    assert frame["error"][5] == "made to fail" and pd.isna(frame["ttft_s.p99"][5]) and frame["ttft_s.p99"][4] > 0
    monkeypatch.setattr(room, "run_task", run_task)
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")[0] == 0


def test_a_point_that_cannot_be_is_a_failed_row_and_a_value_that_never_can_a_fault(run, tmp_path):
    # 1 and 3 nodes are all that 32 GPUs have.
    path = declared(tmp_path, "[grid]\nprefill.nodes = [1, 2]\ndecode.nodes = [2, 3]\nload.concurrency = [2]\n")
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")
    frame = pd.read_parquet(tmp_path / "o" / "points.parquet")
    assert status == 1 and list(frame["status"]) == ["done", "done", "done", "failed"] and "nodes" in frame["error"][3]
    path = declared(tmp_path, '[grid]\nload.concurrency = [2, 0]\nkv.dtype = ["fp8", "fp9"]\nload.nothing = [1]\n')
    status, _, err = run("sweep", path, "--out", tmp_path / "p", "--jobs", "1")
    assert status == 2 and "kv.dtype" in err and "load.nothing" in err and "fp9" in err and not (tmp_path / "p").exists()


@pytest.mark.parametrize(
    ("points", "told"),
    [
        ("[grid]\nload.concurrency = 3\n", "a list"),
        ("[grid]\nload.concurrency = [3, 3]\n", "each value once"),
        ("[grid]\nrequests.count = [3, 4]\n", "requests.count in set and in the points"),
        ("[grid]\nrequests = [3, 4]\n", "do not lie in each other"),
        ("[grid]\nseed = [1, 2]\n", "seed"),
        ("[grid]\nload.concurrency = [1]\n'load.\"concurrency\"' = [2]\n", "each key once, not as load.concurrency and as"),
        ("[grid]\n\"requests.count\" = [3, 4]\n", "requests.count in set and in the points"),
        ("[grid]\nnetwork.'a.toml'.routing = ['a']\n'network.\"a.toml\".routing' = ['b']\n", "each key once"),
        ("[grid]\nload.concurrency = [1]\n[[points]]\nload.concurrency = 2\n", "one of grid, points"),
        ("[latin_hypercube]\npoints = 4\nranges.kv.efficiency = { low = 2, high = 1 }\n", "low below high"),
        ("[latin_hypercube]\npoints = 4\nranges.kv.efficiency = { low = 0, high = 1, scale = 'log' }\n", "above 0"),
        ("[latin_hypercube]\npoints = 1000000\nranges.kv.efficiency = { low = 0, high = 1 }\n", "less than or equal"),
        ("[grid]\nload.concurrency = [" + ",".join(map(str, range(1, 1001))) + "]\nnetwork.nic_gbps = ["
         + ",".join(map(str, range(1, 1001))) + "]\n", "1,000,000"),
        ("[[points]]\nload.concurrency = 2\nwhat.ever = 1\n", "what"),
        ("[latin_hypercube]\npoints = 4\nranges.kv.dtype = { values = ['fp8', 1979-05-27, nan] }\n", "kv.dtype"),
        ("[nonsense]\n", "unknown key"),
    ],
)  # fmt: skip
def test_faults_of_a_sweep_are_told_with_the_file_and_the_key(run, tmp_path, points, told):
    status, _, err = run("sweep", declared(tmp_path, points), "--out", tmp_path / "o", "--jobs", "1")
    assert status == 2 and told in err and "study.toml" in err and not (tmp_path / "o").exists()


def test_all_faults_of_a_sweep_are_told_at_once(run, tmp_path):
    points = '[grid]\nkv.blocking = []\nnetwork.nic_gbs = [4]\nload.concurrency = [-8, "a"]\n'
    status, _, err = run("sweep", declared(tmp_path, points), "--dry-run")
    assert status == 2 and all(words in err for words in ("kv.blocking", "nic_gbs", "found -8", "found 'a'"))
    points = "[grid]\nnetwork.nic_gbs = [4]\n[[points]]\nload.concurrency = -8\n"
    path = declared(tmp_path, points)
    path.write_text(path.read_text().replace('["nic-cap-32"]', '["nic-cap-32", "no-such-one"]'))
    status, _, err = run("sweep", path, "--dry-run")
    assert status == 2 and all(words in err for words in ("one of grid, points", "nic_gbs", "found -8", "no-such-one"))


def test_what_no_hash_holds_is_no_value_of_a_points(run, tmp_path, counted):
    status, _, err = run("sweep", declared(tmp_path, "[grid]\nnetwork.memory_gb = [0.001, 4]\n"), "--out", tmp_path / "o")
    assert status == 2 and "study.toml: network.memory_gb" in err and not (tmp_path / "o").exists()
    frames = []
    for gpus in ("[64, 32]", "[32, 64]"):
        status, _, err = run(
            "sweep",
            declared(tmp_path, f"[grid]\nload.concurrency = [2]\ngpus = {gpus}\n"),
            "--out",
            tmp_path / "o",
            "--jobs",
            "1",
        )
        assert status == 1 and "as the scenario's gpus" in err and len(counted) == 1
        frames.append(pd.read_parquet(tmp_path / "o" / "points.parquet").set_index("set.gpus")["status"].to_dict())
    assert frames == [{64: "failed", 32: "done"}] * 2


@pytest.mark.parametrize("limits", [(0.001, 4), (4, 0.001)])
def test_of_equal_runs_the_one_with_the_most_room_is_done(tmp_path, limits):
    bundled = resolve_declared("nic-cap-32", "scenarios").read_text()
    for name, limit in zip("ab", limits, strict=True):
        (tmp_path / f"{name}.toml").write_text(bundled.replace("[network]\n", f"[network]\nmemory_gb = {limit}\n"))
    path = declared(tmp_path, "")
    path.write_text(path.read_text().replace('["nic-cap-32"]', '["a.toml", "b.toml"]'))
    asked, where = load_sweep(str(path))
    runs = list(runs_of(cases_of(asked, where)))
    (left,) = room.missing(runs, {})
    assert len(runs) == 2 and left.room_gb == 4


def test_a_point_without_a_steady_window_tells_why_it_has_no_output(run, tmp_path):
    status, out, _ = run(
        "sweep", declared(tmp_path, "[grid]\nload.concurrency = [2, 4]\n", fabrics=BOTH), "--out", tmp_path / "o"
    )
    document = json.loads((tmp_path / "o" / "sweep.json").read_text())
    causes = {one["no_rate"]["cause"] for one in document["points"]}
    assert status == 0 and document["points"][0]["no_rate"]["runs"] == 1 and document["points"][0]["output"]["mean"] is None
    for cause in causes:
        assert cause in out and cause in (tmp_path / "o" / "sweep.html").read_text()
    # The tornado has no panel for what has no change, and no axis that enlarges rounding.
    drawn = tornado(document["effects"], "Key by key", "", "all points")
    (axes,) = drawn.axes
    assert "P99" in axes.get_xlabel() and axes.get_xlim()[1] - axes.get_xlim()[0] >= 0.2
    assert "output throughput left out" in (tmp_path / "o" / "effects.svg").read_text()


def test_points_on_a_device_that_nobody_measured_say_so(run, tmp_path):
    path = declared(tmp_path, '[grid]\nload.concurrency = [2]\ncompute.device = ["h200", "mi300x"]\n')
    status, out, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")
    said = "Compute times are unmeasured: other devices' figures, scaled by data sheets: point 1, nic-cap-32, roft-32"
    page = html.unescape((tmp_path / "o" / "sweep.html").read_text())
    assert status == 0 and said in out and said in page, err
    assert page.index("To be careful with") < page.index(said) < page.index('id="main"') < page.index("<details")
    frame = pd.read_parquet(tmp_path / "o" / "points.parquet")
    assert [isinstance(one, str) for one in frame["unmeasured"]] == [False, True]
    assert [one["unmeasured"] for one in json.loads((tmp_path / "o" / "sweep.json").read_text())["points"]] == [
        None, "compute times",
    ]  # fmt: skip


def test_a_report_of_a_sweeps_folder_says_where_its_page_is(run, whole):
    status, _, err = run("report", whole[1])
    assert status == 2 and "1 fault" in err and "a folder of zcube sweep" in err and str(whole[1] / "sweep.html") in err


@pytest.mark.parametrize(
    ("column", "label"),
    [
        ("network.nic_gbps", "network.nic_gbps (Gb/s)"), ("ttft_s.p99", "TTFT P99 (s)"),
        ("kv_transfer_s.mean", "KV transfer mean (s)"),
        ("load.concurrency", "load.concurrency"), ("e2e_s.p10", "e2e_s.p10 (s)"),
        ("set.requests.mean_tokens", "requests.mean_tokens (tokens)"),
        ("throughput.output_tokens_per_s", "Output (tok/s)"),
    ],
)  # fmt: skip
def test_axes_name_columns_with_their_units(column, label):
    assert column_label(column) == label


def test_too_many_runs_are_refused_before_any_is_made(run, tmp_path):
    path = declared(tmp_path, "[latin_hypercube]\npoints = 10000\nranges.kv.efficiency = { low = 0.5, high = 1 }\n", seeds=1000)
    began_s = time.monotonic()
    status, _, err = run("sweep", path, "--out", tmp_path / "o")
    assert status == 2 and "10,000,000 runs" in err and time.monotonic() - began_s < 10


def test_a_latin_hypercube_has_one_point_in_every_part_of_every_range(tmp_path):
    ranges = {
        "kv": {"efficiency": {"low": 0.5, "high": 0.9}},
        "load.concurrency": {"low": 1, "high": 10, "whole": True},
        "network.nic_gbps": {"low": 10, "high": 1000, "scale": "log"},
        "kv.dtype": {"values": ["fp8", "bf16"]},
    }
    sweep = SweepSettings(scenarios=("nic-cap-32",), latin_hypercube={"points": 20, "ranges": ranges})
    points = [dict(point.overrides) for point in points_of(sweep)]
    assert points == [dict(point.overrides) for point in points_of(sweep)]
    assert sorted(int((one["kv.efficiency"] - 0.5) / 0.02) for one in points) == list(range(20))
    assert sorted(one["load.concurrency"] for one in points) == sorted([*range(1, 11)] * 2)
    # 10 to 1000 are two decades, in 20 equal parts.
    assert sorted(int(10 * math.log10(one["network.nic_gbps"] / 10)) for one in points) == list(range(20))
    assert [one["kv.dtype"] for one in points].count("bf16") == 10
    other = SweepSettings(scenarios=("nic-cap-32",), latin_hypercube={"points": 20, "seed": 1, "ranges": ranges})
    assert [dict(point.overrides) for point in points_of(other)] != points


def test_a_dry_run_lists_and_makes_nothing(run, tmp_path, whole, counted):
    path = declared(tmp_path, fabrics=BOTH, seeds=2)
    status, out, _ = run("sweep", path, "--dry-run", "--out", tmp_path / "o", "--json")
    document = json.loads(out)
    assert status == 0 and document["runs"] == document["to_run"] == 96 and len(document["points"]) == 24
    assert document["least_s"] > 0 and not counted and not (tmp_path / "o").exists()
    assert document["points"][23]["overrides"]["network.nic_gbps"] == 400
    status, out, _ = run("sweep", whole[0], "--dry-run", "--out", whole[1])
    assert status == 0 and "24 points, 24 runs: 0 to run" in out


def test_files_lie_beside_the_sweep_and_count_as_what_they_hold(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "far").mkdir()
    book = (Path(room.__file__).parents[1] / "pricing" / "books" / "mixnet-2025.toml").read_text()
    (tmp_path / "far" / "mine.toml").write_text(book)
    path = declared(tmp_path / "far", '[[points]]\ncost.price_book = "mine.toml"\n')

    def only():
        asked, where = load_sweep(str(path))
        (one,) = runs_of(cases_of(asked, where))
        return one

    before = only()
    assert run_task(before.task, lambda share: None).error is None
    assert only().key == before.key
    (tmp_path / "far" / "mine.toml").write_text(book + "\n# Another one.\n")
    assert only().key != before.key
    assert "as the sweep was begun with" in (run_task(before.task, lambda share: None).error or "")
    (tmp_path / "far").rename(tmp_path / "near")
    path = tmp_path / "near" / "study.toml"
    moved = only()
    (tmp_path / "near" / "mine.toml").write_text(book)
    assert only().key == before.key != moved.key


def test_two_sweeps_into_one_folder_are_refused_and_what_is_the_users_stays(run, tmp_path, monkeypatch):
    path = declared(tmp_path, "[[points]]\nload.concurrency = 2\n")
    inner = []

    def nested(task, told):
        inner.append(run("sweep", path, "--out", tmp_path / "o", "--jobs", "1"))
        return run_task(task, told)

    monkeypatch.setattr(room, "run_task", nested)
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")[0] == 0
    assert inner[0][0] == 2 and "under way" in inner[0][2]
    (tmp_path / "o" / "notes.txt").write_text("mine")
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")[0] == 2
    assert (tmp_path / "o" / "notes.txt").read_text() == "mine"


@pytest.mark.parametrize("plot", ["load.concurency,ttft_s.p99", "requests.count,kv.dtype", "load.concurrency,ttfs_s.p99"])
def test_a_plot_that_cannot_be_is_refused_before_anything_runs(run, tmp_path, counted, plot):
    path = declared(tmp_path, "[grid]\nload.concurrency = [2, 4]\nkv.dtype = ['fp8']\n")
    status, out, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", "--plot", plot)
    assert (status, out, counted) == (2, "", []) and "no column of numbers" in err and not (tmp_path / "o").exists()


def test_a_figure_that_no_run_has_is_told_after_the_first_and_runs_are_told_as_they_end(run, tmp_path, counted):
    path = declared(tmp_path, "[grid]\nload.concurrency = [2, 4, 8]\n")
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", "--plot", "load.concurrency,ttft_s.p98")
    assert status == 2 and counted == [2] and "ttft_s.p99" in err and "kept: 1 of 3 runs" in err
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--dry-run", "--plot", "load.concurrency,ttft_s.p98")
    assert status == 2 and "ttft_s.p99" in err
    status, out, _ = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1")
    assert [line.split(",")[0] for line in out.splitlines()[:2]] == ["1 of 2", "2 of 2"] and counted == [2, 4, 8]
    assert out.splitlines()[2] == "" and run("sweep", path, "--out", tmp_path / "o", "--json")[1].startswith("{")


def test_python_runs_a_sweep_of_a_file_or_of_keys(tmp_path):
    path = declared(tmp_path, "[grid]\nload.concurrency = [2, 4]\n", count=4)
    asked = load_sweep(str(path))[0].model_dump(exclude_unset=True)
    tables = [zc.sweep(study).table() for study in (path, asked)]
    pd.testing.assert_frame_equal(*tables)
    assert tables[0]["load.concurrency"].tolist() == [2, 4] and (tables[0]["status"] == "done").all()
    assert zc.sweep is not sys.modules["zcube.sweep"]
    with pytest.raises(InputError, match="sweep: scenarios"):
        zc.sweep({})


def test_any_two_columns_can_be_plotted_and_others_are_told_of(run, tmp_path, whole):
    path = declared(tmp_path, "[grid]\nload.concurrency = [2, 4]\n", fabrics=BOTH, seeds=2)
    plots = ("--plot", "load.concurrency,ttft_s.p50", "--plot", "kv_transfer_s.mean, e2e_s.mean")
    assert run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", *plots)[0] == 0
    text = (tmp_path / "o" / "plot-2.svg").read_text()
    assert "KV transfer mean (s)" in text and "End to end mean (s)" in text and not (tmp_path / "o" / "plot-3.svg").exists()
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", "--plot", "load.concurrency,nothing")
    assert status == 2 and "nothing" in err and "points.parquet" in err and len(err) < 400
    status, _, err = run("sweep", path, "--out", tmp_path / "o", "--jobs", "1", "--plot", "load.concurency,ttft_s.p9")
    assert status == 2 and "expected load.concurrency," in err and "expected ttft_s.p99," in err
    assert run("sweep", path, "--out", tmp_path / "o", "--plot", "load.concurrency")[0] == 2


@pytest.mark.parametrize("stem", bundled_stems("sweeps"))
def test_bundled_sweeps_are_sound(stem):
    asked, path = load_sweep(stem)
    cases = cases_of(asked, path)
    assert cases and all(case.error is None for case in cases)
    assert asked.description


def test_a_task_that_ends_its_processes_is_lost_and_no_other_is():
    with Processes(2, "zcube.errors") as two:
        done = dict(two.as_done(end_at_three, list(range(6)), lambda number, share: None))
        again = dict(two.as_done(square, [1, 2], lambda number, share: None))
    assert sorted(done) == list(range(6)) and again == {0: 1, 1: 4}
    assert isinstance(done.pop(3), Lost)
    assert done == {number: number * number for number in range(6) if number != 3}
