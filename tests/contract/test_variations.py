"""Sweeps and sensitivities: what is asked is checked before anything runs, and what comes of it is what single runs give."""

from __future__ import annotations

import inspect
import json
from pathlib import Path
from typing import Any

import pytest

import zcube as zc
from zcube import fabric_run
from zcube.cli import main
from zcube.cli.compare import DEFAULT_SCENARIO
from zcube.inputs import bundled_folder
from zcube.outputs import to_json
from zcube.report.html import render_html
from zcube.report.results import Results
from zcube.report.terminal import document_table
from zcube.report.variations_plot import NO_RATES, plot_sweep
from zcube.report.variations_table import change_text, notes, sweep_cells
from zcube.scenario import load_scenario
from zcube.variations import alternatives
from zcube.verdict.headline import OUTPUT, TTFT_P99

SMALL: dict[str, Any] = {
    "requests.count": 100,
    "load.concurrency": 12,
    "seeds": 2,
    "measure.least_requests": 5,
    "measure.least_filled": 0.0,
    "measure.least_turnovers": 0.0,
}

SCENARIO = """
fabrics = ["roft-32", "other.toml"]
gpus = 32
seeds = 2
publication = "zai-2026"
[requests]
source = "coding-agent"
count = 60
[load]
mode = "closed"
concurrency = 12
[prefill]
nodes = 1
[decode]
nodes = 3
[measure]
least_requests = 5
least_filled = 0
least_turnovers = 0
[sensitivity."P:D"]
"2 : 2" = { prefill.nodes = 2, decode.nodes = 2 }
[sensitivity.placement]
blocked = { placement.kind = "blocked" }
striped = { placement.kind = "striped" }
[sensitivity."other's routing"]
plain = { network."other.toml".routing = "shortest-path" }
[sensitivity.wiring]
again = { fabrics = ["roft-32", "third.toml"] }
"""


@pytest.fixture
def own_scenario(tmp_path: Path) -> Path:
    topology = (bundled_folder("topologies") / "zcube-32.toml").read_text()
    for name in ("other.toml", "third.toml"):
        (tmp_path / name).write_text(topology)
    path = tmp_path / "own.toml"
    path.write_text(SCENARIO)
    return path


def run_to_the_end(*words: str) -> None:
    with pytest.raises(SystemExit) as ended:
        main([*words, "--jobs", "1"])
    assert ended.value.code == 0


def change(figure: Any, fabric: dict[str, Any], base: dict[str, Any]) -> float:
    return figure.value(fabric) / figure.value(base) - 1.0


def test_a_sweep_gives_what_single_runs_give():
    document = zc.compare("nic-cap-32", SMALL, sweep="network.nic_gbps=50,400").document()
    slow, own = document["sweep"]["runs"]
    assert [own["is_scenario"], slow["is_scenario"]] == [True, False]
    alone = zc.compare("nic-cap-32", SMALL | {"network.nic_gbps": 50.0}).document()["fabrics"]
    for fabrics, run in ((alone, slow), (document["fabrics"], own)):
        base, other = fabrics.values()
        for name, fabric in run["fabrics"].items():
            assert fabric["output"] == OUTPUT.value(fabrics[name])
            assert fabric["ttft_p99"] == TTFT_P99.value(fabrics[name])
        against = run["fabrics"]["zcube-32"]["against"]["ttft_p99"]
        noise = other["noise"]["ttft_s.p99"]
        assert against["change"] == pytest.approx(change(TTFT_P99, other, base))
        assert against["interval"] == pytest.approx([end / base["ttft_s"]["p99"] for end in noise["difference_interval"]])


def test_settings_of_a_users_own_scenario_are_run_one_at_a_time(own_scenario: Path):
    document = zc.compare(own_scenario, sensitivity=True).document()
    runs = document["sensitivity"]["runs"]
    assert [(run["parameter"], run["setting"]) for run in runs] == [
        ("P:D", "2 : 2"),
        ("placement", "blocked"),
        ("placement", "striped"),
        ("other's routing", "plain"),
        ("wiring", "again"),
    ]
    assert [run["is_scenario"] for run in runs] == [False, True, False, False, False]
    assert list(runs[-1]["fabrics"]) == ["roft-32", "third"]
    assert document["sensitivity"]["scenario"]["other"] == runs[1]["fabrics"]["other"]
    assert runs[0]["fabrics"]["other"]["output"] != runs[1]["fabrics"]["other"]["output"]
    # The published figures are of these two families and of this model.
    assert document["sensitivity"]["published"] == {"throughput": 0.15, "ttft_p99": -0.406, "cost": -0.33}


def test_processes_change_nothing():
    one, two = (zc.compare("nic-cap-32", SMALL, sweep="load.concurrency=6,9", jobs=jobs).document() for jobs in (1, 2))
    assert to_json(one) == to_json(two)


def test_values_may_be_tables_of_fabrics_of_their_own():
    comparison = zc.compare("nic-cap-32", SMALL | {"seeds": 1, "baseline": None}, sweep='fabrics=["zcube-32"],["roft-32"]')
    document = comparison.document()
    assert [list(run["fabrics"]) for run in document["sweep"]["runs"]] == [["zcube-32"], ["roft-32"]]
    cells = sweep_cells(document["sweep"])
    assert [row[1] for row in cells[1:]] == ["zcube-32", "roft-32"] and {row[3] for row in cells[1:]} == {"100.0"}
    assert "sweep" in zc.figures(comparison)


def test_words_that_are_no_toml_are_text():
    document = zc.compare("nic-cap-32", SMALL | {"seeds": 1}, sweep="placement.kind=striped,blocked").document()
    assert [run["setting"] for run in document["sweep"]["runs"]] == ["striped", "blocked"]
    assert all(run["fabrics"]["zcube-32"]["against"]["output"]["interval"] is None for run in document["sweep"]["runs"])


@pytest.mark.parametrize(
    ("sweep", "told"),
    [
        ("network.nic_gbps", "KEY=VALUE,VALUE"),
        ("network.nic_gbps=", "KEY=VALUE,VALUE"),
        ("=1,2", "KEY=VALUE,VALUE"),
        ("sensitivity.x=1", "KEY=VALUE,VALUE"),
        ("load.concurrency=1,1", "each once"),
        (
            "network.nic_gbps=50,50.0",
            "--sweep network.nic_gbps=50.0: found a value that stands there before; expected each once",
        ),
        ("load.concurrency=" + ",".join(map(str, range(1, 102))), "at most 100"),
        ("no.such=1", "no"),
        ("placement.kind=blocked,sideways", "sideways"),
        ("prefill.nodes=1,2", "at least 40 for 2 + 3 nodes"),
        ('fabrics=["roft-32", "no-such"]', "no-such: found no such file"),
        ("cost.price_book=mixnet-2025,no-such", "--sweep cost.price_book=no-such: price book no-such: found no such file"),
        ("compute.model=no-such", "--sweep compute.model=no-such: compute.model: no-such: found no such model card"),
        ("requests.source=no-such", "--sweep requests.source=no-such: no-such: found no such file"),
        ("network.calibration=no-such", "--sweep network.calibration=no-such: no-such"),
    ],
)
def test_a_sweep_that_cannot_be_is_refused_before_anything_runs(sweep: str, told: str, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fabric_run, "serve", lambda *_: pytest.fail("simulated"))
    with pytest.raises(zc.InputError) as refused:
        zc.compare("nic-cap-32", SMALL, sweep=sweep)
    assert told in str(refused.value)


def test_every_setting_that_cannot_be_is_told_at_once(own_scenario: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(fabric_run, "serve", lambda *_: pytest.fail("simulated"))
    wrong = '[sensitivity.more]\nx = { placement.kind = "sideways" }\ny = { decode.nodes = 0, kv.dtype = "int3" }\n'
    own_scenario.write_text(SCENARIO + wrong)
    with pytest.raises(zc.InputError) as refused:
        zc.compare(own_scenario, sensitivity=True)
    places = [fault.where for fault in refused.value.faults]
    assert places == [
        "sensitivity.more.x: placement.kind",
        "sensitivity.more.y: decode.nodes",
        "sensitivity.more.y: kv.dtype",
    ]
    # Without the option nobody asks for them.
    assert load_scenario(str(own_scenario)).sensitivity["more"]


@pytest.mark.parametrize(
    "text",
    [
        "[sensitivity.more]\nx = { no_table.key = 1 }\n",
        "[sensitivity.more]\nx = { sensitivity.x.y = {} }\n",
        "[sensitivity.more]\nx = 1\n",
        "".join(f"[sensitivity.p{n}]\n" for n in range(101)),
    ],
)
def test_tables_of_settings_are_checked_when_they_are_read(text: str, own_scenario: Path):
    own_scenario.write_text(SCENARIO + text)
    with pytest.raises(zc.InputError, match="sensitivity"):
        load_scenario(str(own_scenario))


def test_a_scenario_without_settings_says_so():
    with pytest.raises(zc.InputError, match="no parameter"):
        zc.compare("nic-cap-32", SMALL, sensitivity=True)


def test_terminal_page_folder_and_json_show_both(own_scenario: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    words = ["compare", str(own_scenario), "--sensitivity", "--sweep", "load.concurrency=6,12", "--out", str(out), "--json"]
    run_to_the_end(*words)
    document = json.loads(capsys.readouterr().out)
    assert len(document["sensitivity"]["runs"]) == 5 and len(document["sweep"]["runs"]) == 2
    for name in ("sensitivity", "sweep"):
        assert (out / f"{name}.png").stat().st_size > 10_000
        text = (out / f"{name}.svg").read_text()
        assert "<svg" in text
    drawn = (out / "sensitivity.svg").read_text()
    for shown in ("published +15.0 %", "published -40.6 %", "P:D: 2 : 2", "placement: striped"):
        assert shown in drawn
    page, printed = (out / "report.html").read_text(), document_table(document)
    assert page.count("<h2>Sensitivity</h2>") == page.count("<h2>Sweep</h2>") == 1
    for text in (page, printed):
        assert "2 : 2" in text and "load.concurrency" in text
    # The run can be repeated, settings included, and replaces its own folder.
    run_to_the_end("compare", str(out / "run.json"), "--sensitivity", "--out", str(out), "--json")
    assert json.loads(capsys.readouterr().out)["sensitivity"] == document["sensitivity"]


def test_a_change_that_is_written_as_nothing_has_no_sign():
    assert change_text({"change": -1e-9, "interval": None, "differs": None}) == "0.0 %"
    assert change_text({"change": 0.021, "interval": [-1e-9, 0.042], "differs": True}) == "+2.1 % (0.0 to +4.2)"


def test_a_sweep_of_runs_without_rates_says_so_in_place_of_an_empty_panel():
    changes = SMALL | {"seeds": 1, "requests.count": 3, "load.concurrency": 3}
    comparison = zc.compare("nic-cap-32", changes, sweep="network.nic_gbps=50,400")
    assert {fabric["output"] for run in comparison.sweep["runs"] for fabric in run["fabrics"].values()} == {None}
    figure = plot_sweep(Results.of(comparison))
    above, below = figure.axes
    figure.draw_without_rendering()
    # No legend lies on a curve.
    assert all(axes.get_legend().get_window_extent().y0 >= axes.get_window_extent().y1 for axes in (above, below))
    assert [text.get_text() for text in above.texts] == [NO_RATES] and not above.get_yticks().size
    assert not below.texts


def test_a_setting_that_nobody_measured_is_named_below_the_table():
    run = {"parameter": "compute.device", "setting": "mi300x", "is_scenario": False, "moves": True}
    said = notes([["x"]], "note", {"runs": [{**run, "unmeasured": "compute times"}, {**run, "unmeasured": None}]})
    scaled = "Compute times are unmeasured: other devices' figures, scaled by data sheets."
    assert said == ["note", f"compute.device mi300x: {scaled}"]


def test_names_from_files_are_escaped_on_the_page(own_scenario: Path):
    own_scenario.write_text(SCENARIO.replace('"P:D"', '"<b>$x$"').replace("striped = {", '"<script>" = {'))
    comparison = zc.compare(own_scenario, {"seeds": 1}, sensitivity=True)
    page = render_html(comparison.document(), {}, {})
    assert page.count("<script>") == page.count("</script>") == 2 and "<b>$x$" not in page and "&lt;b&gt;" in page
    assert set(zc.figures(comparison)) >= {"sensitivity"}


def test_the_default_scenario_is_the_same_everywhere_and_every_setting_of_it_can_be_run():
    default = inspect.signature(zc.compare).parameters["scenario"].default
    assert default == DEFAULT_SCENARIO == "zai-2026"
    scenario = load_scenario(default)
    assert scenario.seeds >= 5 and scenario.gpus == 1024 and scenario.load.mode == "closed"
    tried = alternatives(scenario)
    wanted = {"rank map", "KV type", "prefill : decode", "placement", "wiring", "queue pairs", "congestion control", "NIC rate"}
    assert wanted <= {variation.parameter for variation in tried}
    assert all(variation.scenario != scenario.model_copy(update={"sensitivity": {}}) for variation in tried)


def test_a_thousand_gpus_cost_a_third_less_by_their_own_counts():
    roft, zcube = (zc.cost(name).document() for name in load_scenario("zai-2026").fabrics)
    for count in ("switches", "transceivers", "total_usd"):
        assert zcube[count] == pytest.approx(roft[count] * 2 / 3)
