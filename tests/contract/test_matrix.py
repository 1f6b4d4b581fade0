"""``zcube matrix``: documents, the store that a stopped run goes on from, failures, refusals, pictures."""

from __future__ import annotations

import importlib
import json
import re
import signal

import pytest

from zcube.matrix import cells, conditions
from zcube.matrix.loads import carried_load
from zcube.matrix.settings import MatrixSettings
from zcube.network.transports import load_transport

# By its path: `zcube.matrix` is also the verb that the package offers.
MATRIX = importlib.import_module("zcube.matrix.matrix")
SMALL = ("--pattern-set", "transfers=12", "--pattern-set", "mean_bytes=1e6", "--jobs", "1")
FABRICS, TRANSPORTS = "roft-32,zcube-32", "ecmp+dcqcn,adaptive+pfc-only"


@pytest.fixture
def counted(monkeypatch):
    """Return the list of cells that are run."""
    names = []
    before = cells.run_cell

    def run_cell(task, told):
        names.append(task.name)
        return before(task, told)

    monkeypatch.setattr(MATRIX, "run_cell", run_cell)
    return names


def matrix(run, out, *more, source="kv-funnel", transports=TRANSPORTS, fabrics=FABRICS):
    return run("matrix", source, "--fabrics", fabrics, "--transports", transports, *SMALL, "--out", out, *more)


def test_the_document_has_every_cell_and_a_second_run_runs_none(run, tmp_path, counted):
    status, out, _ = matrix(run, tmp_path / "m", "--seeds", "2", "--json")
    assert status == 0
    document = json.loads(out)
    assert list(document["cells"]) == ["roft-32", "zcube-32"]
    assert set(document["cells"]["roft-32"]) == set(TRANSPORTS.split(","))
    cell = document["cells"]["zcube-32"]["adaptive+pfc-only"]
    assert cell["against"].keys() == {"baseline", "fabric", "transport"} and len(cell["by_seed"]) == 2
    low, high = cell["intervals"]["over_ideal.p99"]
    assert low < cell["figures"]["over_ideal"]["p99"] < high
    assert cell["figures"]["over_ideal"]["p99"] > 0 and cell["figures"]["packet"]["drops"] == 0
    assert document["fabrics"]["roft-32"]["bill"]["total_usd"] > document["fabrics"]["zcube-32"]["bill"]["total_usd"]
    # The ideal core of two fabrics with equal NICs is run once a seed.
    assert len(counted) == 2 * (2 * 2 + 1)
    again = matrix(run, tmp_path / "m", "--seeds", "2", "--json")
    assert again[1] == out and len(counted) == 10
    assert (tmp_path / "m" / "matrix.json").read_text() == out


def test_a_stopped_run_goes_on_and_gives_the_same_bytes(run, tmp_path, monkeypatch, counted):
    whole = matrix(run, tmp_path / "whole", "--seeds", "2", "--json")[1]
    before, ran = cells.run_cell, []

    def stop(task, told):
        if len(ran) == 4:
            raise KeyboardInterrupt
        ran.append(task.name)
        return before(task, told)

    monkeypatch.setattr(MATRIX, "run_cell", stop)
    assert matrix(run, tmp_path / "m", "--seeds", "2", "--json")[0] == 130
    assert len((tmp_path / "m" / "cells.jsonl").read_text().splitlines()) == 4
    counted.clear()
    monkeypatch.setattr(MATRIX, "run_cell", lambda task, told: (counted.append(task.name), before(task, told))[1])
    status, out, _ = matrix(run, tmp_path / "m", "--seeds", "2", "--json")
    assert status == 0 and out == whole and len(counted) == 6


def test_sigterm_leaves_what_an_interrupt_leaves(run, tmp_path, monkeypatch, counted):
    before = cells.run_cell

    def stop(task, told):
        if len(counted) == 2:
            signal.raise_signal(signal.SIGTERM)
        return before(task, told)

    monkeypatch.setattr(MATRIX, "run_cell", lambda task, told: (stop(task, told), counted.append(task.name))[0])
    status, _, err = matrix(run, tmp_path / "m", "--seeds", "1")
    assert status == 143 and "terminated" in err
    assert len((tmp_path / "m" / "cells.jsonl").read_text().splitlines()) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["m"]


def test_a_failed_cell_is_kept_with_its_error_and_the_rest_goes_on(run, tmp_path, monkeypatch):
    before = cells.CarriedTask.figures

    def figures(task, told):
        if task.name.startswith("zcube-32 with ecmp"):
            raise ZeroDivisionError("made to fail")
        return before(task, told)

    monkeypatch.setattr(cells.CarriedTask, "figures", figures)
    status, out, err = matrix(run, tmp_path / "m", "--seeds", "1", "--json")
    document = json.loads(out)
    assert status == 1 and "made to fail" in err
    failed = document["cells"]["zcube-32"]["ecmp+dcqcn"]
    assert failed["figures"] is None and "made to fail" in failed["errors"]["0"]
    assert document["cells"]["zcube-32"]["adaptive+pfc-only"]["figures"] is not None
    assert "failed" in (tmp_path / "m" / "matrix.html").read_text()
    monkeypatch.setattr(cells.CarriedTask, "figures", before)
    assert matrix(run, tmp_path / "m", "--seeds", "1")[0] == 0


def test_faults_of_rows_columns_and_pattern_are_told_before_anything_runs(run, tmp_path, counted):
    status, _, err = run(
        "matrix", "kv-funnel", "--fabrics", "roft-32,zcube-256,nowhere", "--pattern-set", "load=-1", "--out", tmp_path / "m"
    )
    assert status == 2 and "zcube-256" in err and "nowhere" in err and "load" in err
    assert run("matrix", "kv-funnel", "--transports", "ecmp+what", "--out", tmp_path / "m")[0] == 2
    assert run("matrix", "kv-funnel", "--seeds", "0", "--out", tmp_path / "m")[0] == 2
    assert run("matrix", tmp_path / "none.csv", "--out", tmp_path / "m")[0] == 2
    assert not counted and not (tmp_path / "m").exists()


def test_a_store_that_was_changed_is_refused(run, tmp_path):
    assert matrix(run, tmp_path / "m", "--seeds", "1", transports="ecmp+dcqcn")[0] == 0
    store = tmp_path / "m" / "cells.jsonl"
    store.write_text(store.read_text() + "{}\n")
    status, _, err = matrix(run, tmp_path / "m", "--seeds", "1")
    assert status == 2 and "cells.jsonl" in err


def test_other_inputs_are_other_cells_and_a_fluid_knows_no_control(run, tmp_path, counted):
    two = "ecmp+dcqcn,ecmp+pfc-only"
    assert matrix(run, tmp_path / "m", "--seeds", "1", "--fidelity", "flow", transports=two)[0] == 0
    assert len(counted) == 3
    assert matrix(run, tmp_path / "m", "--seeds", "1", "--fidelity", "flow", "--slow-nics", "1", transports=two)[0] == 0
    assert len(counted) == 6
    assert matrix(run, tmp_path / "m", "--seeds", "1", "--fidelity", "flow", "--set", "nic_gbps=100", transports=two)[0] == 0
    assert len(counted) == 9


def test_listed_transfers_and_conditions(run, tmp_path):
    path = tmp_path / "flows.csv"
    path.write_text("src,dst,bytes,start_s\n0,8,1e6,0\n1,18,1e6,0\n")
    status, out, _ = run(
        "matrix", path, "--fabrics", FABRICS, "--transports", TRANSPORTS, "--seeds", "1", "--failed-links", "1",
        "--slow-nics", "1", "--slow-nic-share", "0.5", "--jobs", "1", "--out", tmp_path / "m", "--json",
    )  # fmt: skip
    document = json.loads(out)
    assert status == 0 and document["conditions"] == {"failed_links": 1, "slow_nics": 1, "slow_nic_share": 0.5}
    # One of the two transfers has a NIC at half its rate, on the ideal core too.
    assert document["ideal_core"]["roft-32"]["duration_s"]["max"] == pytest.approx(1e6 * 8 / 200e9, rel=0.2)


def test_the_page_shows_every_cell_and_the_picture_is_drawn(run, tmp_path):
    assert matrix(run, tmp_path / "m", "--seeds", "5", "--fidelity", "flow")[0] == 0
    page = (tmp_path / "m" / "matrix.html").read_text()
    document = json.loads((tmp_path / "m" / "matrix.json").read_text())
    assert len(re.findall(r'class="number shade-[0-9a-f]{6}-[0-9a-f]{6}', page)) == 3 * 4
    assert all(re.sub(r"[<>&]", "", sentence)[:20] in page for sentence in document["words"])
    assert (tmp_path / "m" / "matrix.svg").read_text().count("adaptive") >= 3
    assert (tmp_path / "m" / "matrix.png").read_bytes()[:4] == b"\x89PNG"


def test_a_scenario_is_served_under_every_transport(run, tmp_path):
    status, out, err = run(
        "matrix", "glm51-pd-256", "--fabrics", "roft-256,zcube-256", "--transports", "ecmp,spray", "--seeds", "1",
        "--fidelity", "flow", "--set", "requests.count=60", "--jobs", "1", "--out", tmp_path / "m", "--json",
    )  # fmt: skip
    assert status == 0, err
    document = json.loads(out)
    assert document["figure"]["key"] == "ttft_s.p99"
    for row in document["cells"].values():
        assert all(cell["figures"]["ttft_s"]["p99"] > 0 for cell in row.values())


def test_one_seed_fails_the_same_links_under_every_transport(monkeypatch):
    told, failed = conditions._without, []

    def without(fabric, cables):
        failed.append(tuple(cables.tolist()))
        return told(fabric, cables)

    monkeypatch.setattr(conditions, "_without", without)
    names = ("ecmp+pfc-only", "spray+nscc")
    asked = MatrixSettings(fabrics=("roft-32",), transports=names, seeds=1, failed_links=2)
    columns = {name: load_transport(name) for name in names}
    load = carried_load("permutation", asked, columns, pattern={"mean_bytes": 4096})
    for seed in range(4):
        for name in names:
            load.task("roft-32", name, seed).figures(lambda share: None)
    assert failed[::2] == failed[1::2] and len(set(failed)) > 1


@pytest.mark.parametrize(
    ("options", "place"),
    [
        (["--failed-links", "100000"], "--failed-links"),
        (["--slow-nics", "33"], "--slow-nics"),
        (["--set", "packet.pfc=false"], "--set packet.pfc"),
        (["--set", "packet.pause_quanta=0"], "error: 1 fault in the input\n  --set packet.pause_quanta: found 0;"),
    ],
)
def test_what_no_cell_can_have_is_refused_before_any_runs(run, tmp_path, options, place):
    out = tmp_path / "out"
    status, _, said = run(
        "matrix", "permutation", "--fabrics", "roft-32", "--transports", "roce-2023", "--out", str(out), *options
    )
    assert status == 2 and place in said and not out.exists()


def test_a_source_that_nobody_knows_is_told_with_the_patterns(run, tmp_path):
    status, _, err = run("matrix", "kv-funnl", "--out", tmp_path / "m")
    assert status == 2 and "kv-funnl" in err and all(name in err for name in ("kv-funnel", "all-to-all", "permutation"))


def test_too_little_memory_is_bad_input_also_where_only_nics_limit(run, tmp_path):
    status, _, err = matrix(run, tmp_path / "m", "--seeds", "1", "--memory-gb", "0.1")
    assert status == 2 and "allowed by memory_gb (--memory-gb)" in err and "ideal core" in err
    assert matrix(run, tmp_path / "m", "--seeds", "1", "--memory-gb", "8", transports="ecmp+dcqcn")[0] == 0


def test_a_part_alone_is_told_with_what_holds_beside_it(run, tmp_path):
    columns = "ecmp,pfc-only,roce-2023"
    status, out, _ = matrix(run, tmp_path / "m", "--seeds", "1", "--json", transports=columns, fabrics="roft-32")
    document = json.loads(out)
    assert status == 0 and document["transports"]["roce-2023"]["left_open"] == []
    (control,) = document["transports"]["ecmp"]["left_open"]
    (paths,) = document["transports"]["pfc-only"]["left_open"]
    assert "dcqcn, PFC, marks by table" in control and "path choice static" in paths
    assert f"ecmp leaves open {control}." in document["words"]


def test_packets_spread_over_few_paths_are_told_of(run, tmp_path):
    """Two hashed paths where a leaf has four spines, though packets are to be spread."""
    part = tmp_path / "few.toml"
    part.write_text(
        'description = "spray alone"\nkind = "balancing"\nsources = ["a test"]\n[network.packet]\npath_choice = "spray"\n'
    )
    (tmp_path / "flows.csv").write_text("src,dst,bytes,start_s\n0,17,1e5,0\n")
    status, out, _ = run(
        "matrix", tmp_path / "flows.csv", "--fabrics", "roft-32", "--transports", f"{part},spray",
        "--seeds", "1", "--jobs", "1", "--out", tmp_path / "m", "--json",
    )  # fmt: skip
    assert status == 0
    (told,) = [words for words in json.loads(out)["words"] if "spreads packets" in words]
    assert re.search(r"over 2 paths a transfer of \d+ shortest ones", told) and "few.toml" in told
    replay = ("replay", tmp_path / "flows.csv", "--fabric", "roft-32", "--fidelity", "packet")
    replay = (*replay, "--packet-set", "path_choice=spray")
    status, out, _ = run(*replay)
    assert status == 0 and "routing ecmp lists no more" in out
    status, out, _ = run(*replay, "--routing", "equal-paths")
    assert status == 0 and "lists no more" not in out
