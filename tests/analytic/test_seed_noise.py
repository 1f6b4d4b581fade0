"""What several seeds say: means, intervals that hold the truth as often as they claim, and verdicts that respect noise."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from zcube import prepared
from zcube.comparison import compare
from zcube.fabric.catalog import load_fabric
from zcube.outputs import INFINITE
from zcube.scenario import Scenario
from zcube.serving.repeats import mean_metrics, seed_noise, student_interval
from zcube.verdict.rows import NO_DIFFERENCE, UNSURE
from zcube.verdict.table import ROWS


def metrics(*values: float) -> list[dict[str, Any]]:
    return [{"ttft_s": {"p99": value}, "count": 3} for value in values]


def test_means_of_metrics():
    first = {"a": {"x": 1, "y": None, "z": 2.0}, "steady": True, "why": None, "p99_all": 1.0}
    second = {"a": {"x": 2, "y": 4.0, "z": None}, "steady": False, "why": "short", "p99_all": INFINITE}
    assert mean_metrics([first, second]) == {
        "a": {"x": 1.5, "y": None, "z": None}, "steady": False, "why": "short", "p99_all": INFINITE,
    }  # fmt: skip
    assert mean_metrics([first]) is first


def test_differences_are_paired():
    # Seeds differ by far more than fabrics, which always differ by one.
    base = metrics(10, 20, 30, 40, 50)
    noise = seed_noise(metrics(11, 21, 31, 41, 51), base)["ttft_s.p99"]
    assert noise["difference"] == 1.0 and noise["difference_interval"] == [1.0, 1.0] and noise["differs"] is True
    assert noise["interval"][0] < 25 and noise["interval"][1] > 37
    assert seed_noise(base, base)["count"]["differs"] is False


def test_noise_is_no_difference_and_few_seeds_cannot_tell():
    base = metrics(10, 10, 10, 10, 10)
    assert seed_noise(metrics(11, 9, 12, 8, 10.5), base)["ttft_s.p99"]["differs"] is False
    assert seed_noise(metrics(11, 12, 13, 14), base[:4])["ttft_s.p99"]["differs"] is None


#: Values of one seed each, and their mean: normal, as even as can be, skewed, and differences of skewed ones.
DRAWS = {
    "normal": (lambda draw, shape: draw.normal(size=shape), 0.0),
    "uniform": (lambda draw, shape: draw.random(shape), 0.5),
    "difference of exponentials": (lambda draw, shape: draw.exponential(size=shape) - draw.exponential(size=shape), 0.0),
    "difference of lognormals": (lambda draw, shape: draw.lognormal(size=shape) - draw.lognormal(size=shape), 0.0),
    "exponential": (lambda draw, shape: draw.exponential(size=shape), 1.0),
}
ROUNDS = 4000
#: Three standard errors of a share of 95 % over the rounds.
CHANCE = 3 * np.sqrt(0.05 * 0.95 / ROUNDS)


@pytest.mark.parametrize("count", [5, 10])
@pytest.mark.parametrize("name", DRAWS)
def test_intervals_hold_the_truth_as_often_as_they_say(name, count):
    drawn, mean = DRAWS[name]
    intervals = [student_interval(values) for values in drawn(np.random.default_rng(0), (ROUNDS, count))]
    held = np.mean([low <= mean <= high for low, high in intervals])
    if name == "normal":
        assert abs(held - 0.95) <= CHANCE
    # Student's interval is exact for normal values, wide for symmetric ones with long tails, narrow for skewed ones.
    assert held >= {"exponential": 0.87, "uniform": 0.93}.get(name, 0.95 - CHANCE)


@pytest.mark.parametrize("name", ["normal", "difference of exponentials", "difference of lognormals"])
def test_equal_fabrics_are_called_different_no_more_often_than_the_level_says(name):
    draw = np.random.default_rng(1)
    common, noise = draw.normal(100.0, 30.0, (ROUNDS, 5)), DRAWS[name][0](draw, (ROUNDS, 5))
    differs = [
        seed_noise(metrics(*(seeds + apart)), metrics(*seeds))["ttft_s.p99"]["differs"]
        for seeds, apart in zip(common, noise, strict=True)
    ]
    assert np.mean(differs) <= 0.05 + CHANCE


def test_a_difference_of_three_deviations_is_mostly_found():
    draw = np.random.default_rng(2)
    found = [
        seed_noise(metrics(*draw.normal(103.0, 1.0, 5)), metrics(*[100.0] * 5))["ttft_s.p99"]["differs"] for _ in range(400)
    ]
    assert np.mean(found) > 0.99


def test_few_seeds_are_why_a_change_is_unsure_beside_an_interval_without_zero():
    noise = seed_noise(metrics(2.0, 2.1, 2.2), metrics(1.0, 1.05, 1.1))["ttft_s.p99"]
    assert noise["difference_interval"][0] > 0 and noise["differs"] is None
    (row,) = (row for row in ROWS if row.label == "TTFT P99")
    told, better = row.against({"ttft_s": {"p99": 2.1}, "noise": {"ttft_s.p99": noise}}, {"ttft_s": {"p99": 1.05}})
    assert told == "unsure, too few seeds" and better is None


def test_a_row_prints_what_the_noise_allows():
    (row,) = (row for row in ROWS if row.label == "TTFT P99")
    base = {"ttft_s": {"p99": 1.0}}
    for differs, told in ((False, NO_DIFFERENCE), (None, UNSURE), (True, "+10.0 %")):
        fabric = {"ttft_s": {"p99": 1.1}, "noise": {"ttft_s.p99": {"differs": differs}}}
        assert row.against(fabric, base) == (told, False if differs else None)


def test_every_seed_is_the_run_of_that_seed(monkeypatch):
    built: list[str] = []
    monkeypatch.setattr(prepared, "load_fabric", lambda name: built.append(name) or load_fabric(name))
    declared = {
        "fabrics": ["roft-256", "zcube-256"], "requests": {"count": 20}, "prefill": {"nodes": 2}, "decode": {"nodes": 1},
        "load": {"rate_per_s": 5.0}, "seed": 3,
    }  # fmt: skip
    together = compare(Scenario.model_validate({**declared, "seeds": 3}))
    assert built == declared["fabrics"], "once, whatever the number of seeds"
    for number, seed in enumerate((3, 4, 5)):
        alone = compare(Scenario.model_validate({**declared, "seed": seed}))
        for name, result in together.results.items():
            assert result.repeats[number] == alone.results[name].metrics
    document = together.document()
    zcube = document["fabrics"]["zcube-256"]
    values = zcube["noise"]["ttft_s.mean"]["values"]
    assert zcube["ttft_s"]["mean"] == pytest.approx(np.mean(values)) and len(set(values)) == 3
    assert document["seeds"] == 3 and document["fabrics"]["roft-256"]["noise"]["ttft_s.mean"]["difference"] == 0.0
