"""``zcube compare --microscope``: what it writes and shows, fabric by fabric, and what it refuses before anything runs."""

from __future__ import annotations

import json

import numpy as np
import pandas as pd
import pytest

import zcube as zc
from zcube.report.terminal import document_table

#: One decode node, no congestion control: what meets there contends, and switches pause.
CHANGES = {
    "fabrics": ["roft-256", "zcube-256"],
    "baseline": "roft-256",
    "requests.count": 24,
    "prefill.nodes": 8,
    "decode.nodes": 1,
    "load.concurrency": 12,
    "network.packet.congestion_control": "none",
}
OPTIONS = [
    "glm51-pd-256", "--fabric", "roft-256", "--fabric", "zcube-256", "--set", "requests.count=24", "--set", "prefill.nodes=8",
    "--set", "decode.nodes=1", "--set", "load.concurrency=12", "--set", "network.packet.congestion_control=none",
]  # fmt: skip
ASKED = {"windows": 2, "packet_hops": 1e6}


@pytest.fixture(scope="module")
def comparison():
    return zc.compare("glm51-pd-256", CHANGES, microscope=ASKED)


@pytest.fixture(scope="module")
def seen(comparison):
    return comparison.document()["microscope"]


def test_the_run_is_the_one_without_it(comparison):
    plain = zc.compare("glm51-pd-256", CHANGES).document()
    assert plain["microscope"] is None
    assert {**comparison.document(), "microscope": None} == plain


def test_windows_are_the_worst_of_each_fabric_by_itself(seen):
    alone = zc.compare("glm51-pd-256", {**CHANGES, "fabrics": ["zcube-256"], "baseline": None}, microscope=ASKED)
    assert alone.document()["microscope"]["fabrics"]["zcube-256"] == seen["fabrics"]["zcube-256"]
    assert seen["fabrics"]["zcube-256"]["windows"] != seen["fabrics"]["roft-256"]["windows"]
    for found in seen["fabrics"].values():
        excess = [window["excess_s"] for window in found["windows"]]
        assert 0 < len(excess) <= 2 and excess == sorted(excess, reverse=True)


def test_transfers_of_the_windows_are_written_with_what_each_model_makes_of_them(comparison, seen):
    for name, table in comparison.rebuilt.items():
        flows = comparison.results[name].run.flows
        for number, window in enumerate(seen["fabrics"][name]["windows"]):
            rows = table[table.window == number]
            inside = (rows.start_s >= window["start_s"]) & (rows.start_s < window["end_s"])
            assert (inside.sum(), (~inside).sum()) == (window["starting"], window["under_way"])
            assert rows.bytes[inside].sum() == window["starting_bytes"]
            assert (rows.bytes[~inside] <= flows.size_bytes[rows.transfer[~inside]]).all()
            np.testing.assert_allclose(rows.ratio, rows.packet_s / rows.flow_s)
            assert rows.ratio.max() == pytest.approx(window["ratio"]["max"])
            assert window["packet_hops"] == pytest.approx(window["packet_hops_expected"], rel=1e-3)
            # Packets carry headers, and nothing may be faster than the fluid by more than a cell.
            assert rows.ratio.median() > 1.0


def test_bands_have_the_runs_own_figure_and_the_one_that_packets_make_of_it(comparison, seen):
    for name, found in seen["fabrics"].items():
        run = comparison.results[name].run
        sending_s = run.completions.sending_s(run.flows.start_s)
        held = run.window.holds(run.flows.start_s)
        table = comparison.rebuilt[name]
        ratio = table.packet_s.quantile(0.99) / table.flow_s.quantile(0.99)
        assert found["tail_ratio"] == {"flow": 1.0, "packet": pytest.approx(ratio)}
        own_s = np.quantile(sending_s[held], 0.99)
        assert found["transfer_p99_s"] == pytest.approx({"flow": own_s, "packet": own_s * ratio})
        ttft = found["ttft_p99_s"]
        assert ttft["flow"] == pytest.approx(comparison.document()["fabrics"][name]["ttft_s"]["p99"])
        assert ttft["flow"] < ttft["packet"] <= ttft["flow"] * ratio


def test_a_slow_down_that_short_victims_have_moves_its_band(comparison, seen):
    for name, found in seen["fabrics"].items():
        table, result = comparison.rebuilt[name], comparison.results[name]
        ratios = np.quantile(table.packet_s / table.flow_s, (np.arange(200) + 0.5) / 200)
        bits, held = result.run.flows.size_bytes * 8, result.run.window.holds(result.run.flows.start_s)
        # One transfer alone is bound by its NIC on both fabrics.
        slow_down = (result.run.completions.sending_s(result.run.flows.start_s) / (bits / 400e9))[held]
        expected = {"flow": np.quantile(slow_down, 0.99), "packet": np.quantile(np.outer(slow_down, ratios), 0.99)}
        assert found["slow_down_p99"] == pytest.approx(expected, rel=1e-3)
        assert found["slow_down_p99"]["packet"] > expected["flow"]


def test_windows_of_every_seed_are_those_of_its_own_run():
    both = zc.compare("glm51-pd-256", {**CHANGES, "seeds": 2}, microscope={**ASKED, "seeds": 2})
    alone = [zc.compare("glm51-pd-256", {**CHANGES, "seed": seed}, microscope=ASKED).document() for seed in (0, 1)]
    for name, found in both.document()["microscope"]["fabrics"].items():
        singles = [one["microscope"]["fabrics"][name] for one in alone]
        assert found["windows"] == [window for one in singles for window in one["windows"]]
        assert {window["seed"] for window in found["windows"]} == {0, 1}
        for key in ("transfer_p99_s", "ttft_p99_s", "slow_down_p99"):
            assert found[key]["flow"] == pytest.approx(np.mean([one[key]["flow"] for one in singles]))
        table = both.rebuilt[name]
        assert table.groupby("seed").window.unique().map(list).tolist() == [[0, 1], [2, 3]]
        tails = [table[f"{model}_s"].quantile(0.99) for model in ("packet", "flow")]
        assert found["tail_ratio"]["packet"] == pytest.approx(tails[0] / tails[1])


def test_asked_for_more_windows_than_there_are_it_shows_those_there_are():
    many = {"windows": 500, "window_s": 1.0, "packet_hops": 2e5}
    found = zc.compare("glm51-pd-256", CHANGES, microscope=many).document()["microscope"]
    assert found["windows"] == 500
    for fabric in found["fabrics"].values():
        starts = [window["start_s"] for window in fabric["windows"]]
        assert 0 < len(starts) == len(set(starts)) < 100


def test_where_nothing_contends_there_is_no_window_and_the_band_is_the_runs_own(run):
    options = [*OPTIONS, "--set", "requests.count=1", "--set", "load.concurrency=1"]
    status, out, err = run("compare", *options, "--microscope", "3", "--json")
    assert status == 0, err
    for found in json.loads(out)["microscope"]["fabrics"].values():
        assert found["windows"] == [] and found["why_none"] == "no transfer took longer than it would have alone"
        assert found["tail_ratio"] == {"flow": 1.0}
    status, out, err = run("compare", *options, "--microscope", "3", "--out", "")
    assert status == 2


@pytest.mark.slow
def test_it_repeats_byte_for_byte_and_is_in_the_folder(run, tmp_path):
    def once(name):
        status, out, err = run(
            "compare", *OPTIONS, "--microscope", "2", "--microscope-hops", "2e5", "--out", tmp_path / name
        )  # fmt: skip
        assert status == 0, err
        return out

    assert once("one") == once("two")
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "two" / "summary.json").read_bytes()
    for label in ("roft-256", "zcube-256"):
        first, second = (pd.read_parquet(tmp_path / name / f"microscope-{label}.parquet") for name in ("one", "two"))
        pd.testing.assert_frame_equal(first, second)
        assert len(first)
    page = (tmp_path / "one" / "report.html").read_text(encoding="utf-8")
    assert "Worst windows, packet by packet" in page and "P99 of times to first token:" in page


def test_the_terminal_has_a_row_per_window_and_the_bands(comparison, seen):
    text = document_table(comparison.document())
    for name, found in seen["fabrics"].items():
        assert f"Worst windows of {name}, 100 ms each, packet by packet" in text
        for window in found["windows"]:
            row = next(line for line in text.splitlines() if line.startswith(f"{window['start_s']:.6g} s"))
            assert f"{window['pauses']:,}" in row and f"{window['ratio']['p99']:.3f}" in row
    assert text.count("P99 of transfers: ") == 2


@pytest.mark.parametrize(
    "options, told",
    [
        (["--microscope", "0"], ["--microscope: found 0"]),
        (
            ["--microscope", "2", "--microscope-window-s", "0", "--microscope-hops", "nan"],
            ["--microscope-window-s", "--microscope-hops"],
        ),
        (["--microscope", "2", "--microscope-seeds", "2"], ["--microscope-seeds: found 2; expected at most the scenario's"]),
        (["--microscope-hops", "5"], ["--microscope-hops: found no --microscope"]),
        (["--microscope-window-s", "1"], ["--microscope-window-s: found no --microscope"]),
        (["--microscope", "2", "--fidelity", "packet"], ["fabric roft-256: network.fidelity: found packet", "zcube-256"]),
        (["--microscope", "2", "--fidelity", "ideal"], ["expected flow or lossless with --microscope"]),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_before_anything_runs(run, options, told):
    status, out, err = run("compare", *OPTIONS, *options, "--json")
    assert (status, out) == (2, "")
    for text in told:
        assert text in err


@pytest.mark.usefixtures("one_picture")
def test_an_interrupt_while_windows_are_rebuilt_leaves_the_old_folder(run, tmp_path, monkeypatch):
    status, _, err = run("compare", *OPTIONS, "--out", tmp_path / "out")
    assert status == 0, err
    before = {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()}

    def interrupted(*_, **__):
        raise KeyboardInterrupt

    monkeypatch.setattr("zcube.microscope.rebuild.replay", interrupted)
    status, out, _ = run("compare", *OPTIONS, "--microscope", "1", "--out", tmp_path / "out")
    # A line for each run that has ended, and nothing of what all say together.
    assert status == 130 and [line.split(",")[0] for line in out.splitlines()] == ["roft-256", "zcube-256"]
    assert {path.name: path.read_bytes() for path in (tmp_path / "out").iterdir()} == before


def test_a_window_that_does_not_fit_in_memory_is_told_of_and_the_rest_is_there():
    document = zc.compare("glm51-pd-256", {**CHANGES, "network.memory_gb": 0.36}, microscope={"windows": 1}).document()
    for found in document["microscope"]["fabrics"].values():
        (window,) = found["windows"]
        assert "packet by packet" in window["why_not"] and "--memory-gb" in window["why_not"]
        assert found["tail_ratio"] == {"flow": 1.0}
    assert "Not rebuilt at " in document_table(document)
