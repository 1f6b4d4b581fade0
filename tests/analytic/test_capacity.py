"""The load up to which service levels are met: against shares known beforehand, and against runs made one by one."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

import zcube as zc
from zcube.capacity import CapacitySearch, find_capacity
from zcube.comparison import Comparison, compare
from zcube.errors import InputError
from zcube.other_loads import OtherLoads
from zcube.scenario import load_scenario
from zcube.verdict.capacities import capacity_rule, capacity_sentences

pytestmark = pytest.mark.usefixtures("one_picture")

SMALL: dict[str, Any] = {
    "fabrics": ["roft-256", "zcube-256"],
    "requests.count": 60,
    "load.mode": "open",
    "load.rate_per_s": 4,
    "measure.least_requests": 1,
    "measure.least_turnovers": 0,
    "measure.least_filled": 0,
    "slo.ttft_s": 5,
}


@pytest.fixture(scope="module")
def comparison() -> Comparison:
    return compare(load_scenario("glm51-pd-256", SMALL))


def made_up(share: Callable[[float], float | None], no_rate: str | None = None, above: float = 0.0) -> Callable[..., Any]:
    """Metrics of a run at a load whose share is known; beyond a load, without a window."""

    def metrics(self: OtherLoads, fabric: str, load: float) -> dict[str, Any]:
        prices = ("usd_per_million_output_tokens", "usd_per_million_good_tokens", "hardware_usd_per_million_output_tokens")
        return {
            "slo": {"share": share(load)},
            "requests": {"rejected": 1, "failed": 2, "unfinished": 3},
            "littles_law": {"steady": True},
            "window": {"no_rate": no_rate if load > above else None},
            "cost": {"fabric": dict.fromkeys(prices, 12.0 / load)},
        }

    return metrics


@pytest.fixture
def searched(comparison: Comparison, monkeypatch: pytest.MonkeyPatch):
    def search(metrics: Callable[..., Any], **asked: Any) -> tuple[dict[str, Any], str]:
        monkeypatch.setattr(OtherLoads, "metrics", metrics)
        found = find_capacity(OtherLoads(comparison), CapacitySearch(**asked)).document()
        sentences = dict(sentence.split(": ", 1) for sentence in capacity_sentences(found))
        return found["fabrics"]["zcube-256"], sentences["Capacity of zcube-256"]

    return search


@pytest.mark.parametrize("true_load", [0.6, 3.9, 4.0, 4.1, 31.0])
def test_a_known_capacity_is_found_within_the_tolerance(searched, true_load: float) -> None:
    found, text = searched(made_up(lambda load: 1.0 if load <= true_load else 0.5))
    assert found["status"] == "found"
    assert found["load"] <= true_load < found["missed_at"] <= 1.05 * found["load"]
    assert found["cost"]["usd_per_million_output_tokens"] == 12.0 / found["load"]
    assert "100 % within bounds, 1 rejected, 2 failed, 3 unfinished; missed at" in text and "50 % within bounds" in text


def test_the_share_is_the_one_asked_for(searched) -> None:
    """A share that falls by a hundredth per request a second from 1 on reaches 0.99 at 1, 0.9 at 10."""
    for share, load in ((0.99, 1.0), (0.9, 10.0)):
        found, _ = searched(made_up(lambda load: 1.0 - load / 100), share=share, tolerance=0.001, max_loads=30)
        assert found["load"] == pytest.approx(load, rel=0.001) and found["load"] <= load * (1 + 1e-9)


def test_never_met_and_always_met_are_said(searched) -> None:
    found, text = searched(made_up(lambda load: 0.98))
    assert (found["status"], found["load"], found["missed_at"], found["cost"]) == ("never", None, 0.5, None)
    assert text.startswith("missed even at 0.5000 requests/s (0.125 times this run's load), the lowest load tried: 98 % within")
    found, text = searched(made_up(lambda load: 0.995))
    assert (found["status"], found["load"], found["missed_at"]) == ("at the highest", 32.0, None)
    assert text.startswith("at least 32.00 requests/s (8.00 times this run's load): 99.5 % within") and "highest load" in text


def test_a_run_that_tells_nothing_is_no_miss(searched) -> None:
    found, text = searched(made_up(lambda load: 1.0, "too short", above=9.0))
    assert found["status"] == "not known" and found["load"] <= 9.0 < found["missed_at"]
    assert "it cannot be told, too short" in text
    # One without a window that misses all the same does tell.
    found, _ = searched(made_up(lambda load: 1.0 if load <= 9 else 0.5, "too short", above=9.0))
    assert found["status"] == "found"


def test_runs_are_bounded(searched) -> None:
    found, text = searched(made_up(lambda load: 1.0 if load <= 5.0 else 0.0), max_loads=3)
    assert (found["status"], len(found["runs"])) == ("out of runs", 3) and "ran out of loads" in text


def test_a_refused_run_ends_nothing(searched) -> None:
    def metrics(self: OtherLoads, fabric: str, load: float) -> dict[str, Any]:
        if load > 9:
            raise InputError([])
        return made_up(lambda load: 1.0)(self, fabric, load)

    assert searched(metrics)[0]["status"] == "not known"


def test_found_loads_are_those_of_runs_made_one_by_one(comparison: Comparison) -> None:
    asked = CapacitySearch(share=0.9, tolerance=0.3, lowest=0.25, highest=4)
    found = find_capacity(OtherLoads(comparison), asked).document()["fabrics"]["zcube-256"]
    assert found["status"] == "found"
    for load, met in ((found["load"], True), (found["missed_at"], False)):
        # Busier loads offer as many more requests, so that they last as long.
        count = round(60 * max(load / 4, 1))
        changes = {**SMALL, "fabrics": ["zcube-256"], "baseline": None, "load.rate_per_s": load, "requests.count": count}
        (result,) = compare(load_scenario("glm51-pd-256", changes)).results.values()
        frame, window = result.run.journeys.frame(), result.run.window
        arrived = frame[(frame["arrival_s"] >= window.start_s) & (frame["arrival_s"] < window.end_s)]
        share = (arrived["outcome"].eq("completed") & (arrived["ttft_s"] <= 5)).mean()
        assert bool(share >= 0.9) is met
        (run,) = (run for run in found["runs"] if run["load"] == load)
        assert run["share"] == pytest.approx(share)
        if met:
            fabric = result.metrics["cost"]["fabric"]
            assert found["cost"]["usd_per_million_output_tokens"] == fabric["usd_per_million_output_tokens"]


def test_a_closed_loop_is_searched_by_whole_numbers_of_requests() -> None:
    changes = {"fabrics": ["zcube-256"], "baseline": None, "requests.count": 40, "load.concurrency": 8, "slo.ttft_s": 1e-6}
    measure = {"measure.least_requests": 1, "measure.least_turnovers": 0, "measure.least_filled": 0}
    found = zc.compare("glm51-pd-256", {**changes, **measure}, find_capacity={"lowest": 0.5}).capacity
    assert found is not None and found["unit"] == "requests under way"
    capacity = found["fabrics"]["zcube-256"]
    assert (capacity["status"], [run["load"] for run in capacity["runs"]]) == ("never", [8.0, 4.0])


def test_without_a_bound_nothing_runs(run) -> None:
    status, out, err = run("compare", "glm51-pd-256", "--find-capacity", "--json")
    assert (status, out) == (2, "") and "slo.ttft_s, slo.tpot_s or both" in err
    status, _, err = run("compare", "glm51-pd-256", "--slo-share", "0.9", "--json")
    assert status == 2 and "no --find-capacity" in err
    for share in ("0", "1.1", "nan"):
        options = ("--set", "slo.ttft_s=1", "--find-capacity", "--slo-share", share, "--json")
        status, _, err = run("compare", "glm51-pd-256", *options)
        assert status == 2 and "--slo-share: found" in err


def test_terminal_and_json_say_the_same(run, tmp_path) -> None:
    options = [part for key, value in SMALL.items() if key != "fabrics" for part in ("--set", f"{key}={json.dumps(value)}")]
    options += ["--fabric", "zcube-256", "--find-capacity", "--slo-share", "0.5"]
    status, out, err = run("compare", "glm51-pd-256", *options, "--json")
    assert status == 0, err
    capacity = json.loads(out)["capacity"]
    assert capacity["share"] == 0.5
    said = json.loads(out)["verdict"]["sentences"]
    rule, (sentence,) = capacity_rule(capacity), capacity_sentences(capacity)
    assert said["capacity"] == [sentence] and said["rules"][-1] == rule
    status, table, err = run("compare", "glm51-pd-256", *options, "--out", tmp_path / "out")
    assert status == 0, err
    page = " ".join((tmp_path / "out" / "report.html").read_text().split())
    for text in (rule, sentence):
        assert text in " ".join(table.split()) and text.replace("'", "&#39;") in page
