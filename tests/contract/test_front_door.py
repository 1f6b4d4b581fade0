"""``import zcube``: what is public, that it costs nothing until it is used, and that it gives what the command line gives."""

from __future__ import annotations

import importlib.resources
import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pandas as pd
import pytest
from matplotlib.figure import Figure

import zcube as zc
from zcube.outputs import to_json

SMALL = {
    "fabrics": ["roft-256", "zcube-256"], "baseline": "roft-256", "gpus": 256,
    "prefill.nodes": 24, "decode.nodes": 8, "requests.count": 8,
}  # fmt: skip
FLOWS = pd.DataFrame({"src": ["s0g0", "s1g0"], "dst": ["s2g0", "s2g0"], "bytes": [5e8, 5e8], "start_s": [0.0, 0.0]})
PROJECT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def comparison() -> zc.Comparison:
    return zc.compare("glm51-pd-1024", SMALL)


def test_importing_it_imports_nothing_else() -> None:
    code = "import sys; before = set(sys.modules); import zcube; print(*sorted(set(sys.modules) - before))"
    taken = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    heavy = {"numpy", "pandas", "numba", "matplotlib", "pydantic", "scipy", "simpy", "networkx", "pyarrow", "typer"}
    assert not heavy & {name.partition(".")[0] for name in taken}


def test_every_public_name_is_there_and_no_other(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (zc, zc.calibrate):
        assert sorted(module.__all__) == list(module.__all__) or set(module.__all__) == set(sorted(module.__all__))
        for name in module.__all__:
            assert getattr(module, name) is not None
        with pytest.raises(AttributeError, match="no attribute 'nothing'"):
            module.nothing  # noqa: B018
    assert set(zc.__all__) < set(dir(zc))


@pytest.fixture(scope="module")
def names_kept() -> list[str]:
    """What a Python of its own says of public names: after the planner's room came before its verb, and after every module."""
    code = (
        "import zcube.plan.demand, zcube as zc, zcube.front_door\n"
        "print(zc.plan.__name__, zc.plan.__module__)\n"
        "import importlib, pkgutil, zcube\n"
        "for found in pkgutil.walk_packages(zcube.__path__, 'zcube.'):\n"
        "    if not found.name.endswith(('__main__', 'worker', 'torch_layer')): importlib.import_module(found.name)\n"
        "print([name for module in (zcube, zcube.calibrate) for name in module.__all__\n"
        "       if name != 'calibrate' and type(getattr(module, name)).__name__ == 'module'])\n"
    )
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.splitlines()


def test_modules_do_not_hide_functions(names_kept: list[str]) -> None:
    """Importing every module leaves the public functions what they are."""
    assert names_kept[1] == "[]"


def test_the_planners_room_does_not_hide_its_verb(names_kept: list[str]) -> None:
    assert names_kept[0] == "plan zcube.front_door.planning"


def test_types_are_shipped() -> None:
    assert importlib.resources.files("zcube").joinpath("py.typed").is_file()


def test_a_comparison_as_frames_and_figures(comparison: zc.Comparison) -> None:
    table, document = comparison.table(), comparison.document()
    assert list(table.index) == ["roft-256", "zcube-256"]
    for name, fabric in document["fabrics"].items():
        assert table.loc[name, "ttft_s.p99"] == fabric["ttft_s"]["p99"]
        assert table.loc[name, "bill.total_usd"] == fabric["bill"]["total_usd"]
    requests = comparison.requests()
    assert requests.groupby("fabric").size().to_dict() == {"roft-256": 8, "zcube-256": 8}
    assert requests.groupby("fabric")["ttft_s"].mean()["zcube-256"] == pytest.approx(table.loc["zcube-256", "ttft_s.mean"])
    links = comparison.links()
    assert links.groupby("fabric").size()["roft-256"] == zc.load_fabric("roft-256").links
    drawn = zc.figures(comparison)
    assert set(drawn) == {"ttft_cdf", "tpot_cdf", "kv_transfer_cdf", "ttft_parts", "link_load", "cost"}
    assert all(isinstance(figure, Figure) for figure in drawn.values())


def test_it_gives_what_the_command_line_gives(run, comparison: zc.Comparison) -> None:
    words = [word for key, value in SMALL.items() for word in ("--set", f"{key}={json.dumps(value)}")]
    status, out, err = run("compare", "glm51-pd-1024", *words, "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads(json.dumps(comparison.document()))


def test_a_scenario_is_changed_without_being_touched() -> None:
    scenario = zc.load_scenario("glm51-pd-1024", SMALL)
    again = zc.compare(scenario, {"requests.count": 4})
    assert len(again.requests()) == 2 * 4
    assert scenario.requests.count == 8
    with pytest.raises(zc.InputError, match="no_such_key"):
        zc.compare(scenario, {"load.no_such_key": 1})


@pytest.mark.parametrize("fidelity", ["ideal", "flow", "lossless", "packet"])
def test_replay_of_a_frame_a_file_and_a_list(fidelity: str, tmp_path: Path) -> None:
    """Two transfers into one NIC of 400 Gb/s take 1e9 bytes / 50e9 bytes per second; packets add their headers."""
    FLOWS.to_csv(tmp_path / "flows.csv", index=False)
    FLOWS.to_parquet(tmp_path / "flows.parquet")
    network = zc.Network(fidelity=fidelity, packet={"congestion_control": "none"})
    results = [
        zc.replay(fabric, given, network)
        for fabric in ("roft-256", zc.load_fabric("roft-256"))
        for given in (FLOWS, str(tmp_path / "flows.csv"), tmp_path / "flows.parquet")
    ]
    tables = [result.table() for result in results]
    assert tables[0]["finish_s"].max() == pytest.approx(0.02, rel=0.03)
    for table in tables[1:]:
        assert table["finish_s"].tolist() == tables[0]["finish_s"].tolist()
    assert results[0].links()["bytes"].max() == pytest.approx(1e9)
    assert set(zc.figures(results[0])) == ({"congestion_trees"} if fidelity == "packet" else set())


def test_faults_of_a_frame_are_named() -> None:
    wrong = FLOWS.assign(bytes=[1.0, -1.0], dst=["s2g0", "s999g0"])
    with pytest.raises(zc.InputError) as caught:
        zc.replay("roft-256", wrong)
    assert [fault.where for fault in caught.value.faults] == ["frame: row 2", "frame: row 2"]
    with pytest.raises(zc.InputError, match="no start_s"):
        zc.replay("roft-256", FLOWS.drop(columns="start_s"))
    with pytest.raises(zc.InputError, match="text or numbers"):
        zc.replay("roft-256", FLOWS.assign(bytes=[[1], [2]]))


def test_replay_of_a_trace(run, tmp_path: Path) -> None:
    trace = tmp_path / "t.parquet"
    assert run("trace", "generate", "--engine", "sglang", "--requests", "1", "--new-tokens", "256", "--out", trace)[0] == 0
    from_file, loaded = zc.replay("roft-256", trace), zc.replay("roft-256", zc.load_trace(trace))
    pd.testing.assert_frame_equal(from_file.table(), loaded.table())
    assert "timeline" in zc.figures(loaded)


def test_cost_is_that_of_the_published_table() -> None:
    """48 and 32 switches of 64 x 400G: ATOP/ZCube, Table 1; prices of MixNet, Table 4."""
    bills = {name: zc.cost(name) for name in ("roft-1024", "zcube-1024")}
    lines = {name: bill.table().set_index("item")["usd"].dropna().sum() for name, bill in bills.items()}
    assert bills["roft-1024"].document()["switch_usd"] == 48 * 64 * 1090
    assert bills["zcube-1024"].document()["switch_usd"] == 32 * 64 * 1090
    assert lines["zcube-1024"] < lines["roft-1024"]
    assert isinstance(zc.figures(zc.load_fabric("zcube-n16"))["fabric"], Figure)


def test_calibration_from_read_to_check() -> None:
    measured = zc.calibrate.read([str(PROJECT / "calibrations" / "2x-h200-nvlink.json")])
    assert len(measured.table()) == len(measured)
    fitted = zc.calibrate.fit(measured, draws=0)
    assert {"operation", "ranks", "path", "latency_s", "s_per_byte"} <= set(fitted.table())
    checked = zc.calibrate.check(fitted, measured).table()
    assert checked["error"].abs().median() < 0.05
    assert (checked["predicted_s"] / checked["time_s"] - 1).tolist() == pytest.approx(checked["error"].tolist())


def test_faults_of_a_network_are_named_at_once() -> None:
    with pytest.raises(zc.InputError) as caught:
        zc.Network(fidelity="exact", queue_pairs=0, speed=1)
    assert sorted(fault.where for fault in caught.value.faults) == [
        "Network: fidelity", "Network: queue_pairs", "Network: speed",
    ]  # fmt: skip


def test_measured_runs_are_read_from_one_file_or_several(tmp_path: Path) -> None:
    runs = Path(__file__).parents[2] / "calibrations" / "2x-h200-nvlink.json"
    one, several = zc.calibrate.read(str(runs)), zc.calibrate.read([runs])
    assert len(one) == len(several) > 0
    with pytest.raises(zc.InputError, match=r"no\.json"):
        zc.calibrate.read(tmp_path / "no.json")


@pytest.mark.parametrize(
    ("call", "told"),
    [
        (
            lambda: zc.figures(3),
            "result: found a value of type int; expected what compare, replay, matrix, calibrate.fit or load_fabric returned",
        ),
        (
            lambda: zc.replay("roft-256", FLOWS, {"fidelity": "packet"}),
            "network: found a value of type dict; expected a zcube.",
        ),
        (lambda: zc.replay("roft-256", 3), "transfers: found a value of type int; expected a file, a pandas frame"),
        (lambda: zc.compare("glm51-pd-256", ["load.rate_per_s=3"]), "changes: found a value of type list; expected a mapping"),
    ],
)
def test_a_value_of_another_type_is_refused_with_words(call: Callable[[], object], told: str) -> None:
    with pytest.raises(TypeError) as error:
        call()
    assert str(error.value).startswith(told)


def test_a_plan_is_a_value_with_a_table_and_a_document():
    answer = zc.plan(gpus=64, nic=400, switch="12.8T", families=("spine-leaf", "zcube"))
    assert isinstance(answer, zc.Plan) and answer.met
    assert set(answer.front.names) <= set(answer.table().index) == set(answer.document()["fabrics"])


def test_a_matrix_from_python_is_that_of_the_command_line(run, tmp_path) -> None:
    rows, columns = ["roft-32", "zcube-32"], ["ecmp+dcqcn", "spray+dcqcn"]
    made = zc.matrix(
        "kv-funnel", fabrics=rows, transports=columns, seeds=2, fidelity="flow", pattern={"transfers": 30, "mean_bytes": 1e6}
    )
    options = ["--seeds", "2", "--fidelity", "flow", "--pattern-set", "transfers=30", "--pattern-set", "mean_bytes=1e6"]
    names = ["--fabrics", ",".join(rows), "--transports", ",".join(columns)]
    status, out, err = run("matrix", "kv-funnel", *names, *options, "--jobs", "1", "--out", tmp_path / "matrix", "--json")
    assert status == 0, err
    assert json.loads(out) == json.loads(to_json(made.document()))
    table = made.table()
    assert list(table.index) == [(row, column) for row in rows for column in columns]
    cell = made.document()["cells"]["zcube-32"]["spray+dcqcn"]
    assert table.loc[("zcube-32", "spray+dcqcn"), "figures.duration_s.p99"] == cell["figures"]["duration_s"]["p99"]
    assert set(zc.figures(made)) == {"matrix"}


def test_a_matrix_refuses_all_that_is_wrong_at_once() -> None:
    with pytest.raises(zc.InputError) as caught:
        zc.matrix("kv-funnel", transports=["ecmp+dcqcn", "carrier-pigeon"], seeds=0, sails=3)
    assert all(word in str(caught.value) for word in ("carrier-pigeon", "seeds", "sails"))
