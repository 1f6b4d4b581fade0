"""What intervals of a calibration leave open of a replay: rounds of the bootstrap, by hand."""

import json

import numpy as np
import pandas as pd
import pytest
from synthetic_runs import SIZES, TRUTH, measured, runs

import zcube as zc
from zcube.calibrate import fit, write_calibration
from zcube.calibrate.calibration import Calibration
from zcube.calibrate.draws import CalibrationDraws
from zcube.calibrate.operations import wire_factor
from zcube.calibrate.regimes import evaluate
from zcube.errors import InputError
from zcube.seeds import stream
from zcube.trace.builder import TraceBuilder

RANKS = 2
#: The NVLink hops of a server, which a start does not hold.
DELAY_S = 60e-9


def fitted(seed=0, scatter=0.05, draws=100, operation="send-receive", path="nvlink", **metadata):
    return fit(runs({(operation, RANKS, path): measured(scatter=scatter, seed=seed, copies=2)}, **metadata), draws=draws)


def kept(calibration, folder):
    path = folder / "calibration.json"
    write_calibration(calibration, path)
    return str(path)


def transfer(size_bytes, target=1):
    return pd.DataFrame({"src": [0], "dst": [target], "bytes": [size_bytes], "start_s": [0.0]})


def test_rounds_have_the_intervals_of_the_file():
    calibration = fitted()
    draws = CalibrationDraws.of(calibration)
    (curve,) = calibration.curves
    for number, regime in enumerate(curve.regimes):
        drawn = [draws[one].curves[0].regimes[number] for one in range(draws.count)]
        for name in ("latency_s", "s_per_byte"):
            ends = np.quantile([getattr(one, name) for one in drawn], (0.025, 0.975))
            interval = getattr(regime, "latency_interval_s" if name == "latency_s" else "s_per_byte_interval")
            assert tuple(ends) == pytest.approx(interval)


def test_rounds_are_whole_fits():
    """Where latency comes out high, slope comes out low: the two ends of a line do not both move."""
    calibration = fitted(scatter=0.1)
    draws = CalibrationDraws.of(calibration)
    lines = np.array([[(r.latency_s, r.s_per_byte) for r in draws[n].curves[0].regimes][-1] for n in range(draws.count)])
    assert np.corrcoef(lines.T)[0, 1] < -0.3


def test_rounds_of_curves_are_independent():
    figures = measured(scatter=0.05, copies=2)
    times = {("send-receive", RANKS, "nvlink"): figures, ("all-reduce", RANKS, "nvlink"): figures}
    draws = CalibrationDraws.of(fit(runs(times), draws=200))
    rates = np.array([[curve.regimes[-1].s_per_byte for curve in draws[n].curves] for n in range(draws.count)])
    assert abs(np.corrcoef(rates.T)[0, 1]) < 0.25


@pytest.mark.parametrize("size_bytes", [1 << 12, 1 << 20, 1 << 28])
def test_a_transfer_alone_has_the_ends_of_its_curve_s_rounds(tmp_path, size_bytes):
    calibration = fitted()
    draws = CalibrationDraws.of(calibration)
    sizes = np.array([float(size_bytes)])
    taken = np.sort([draws[number].curves[0].predict_s(sizes)[0] for number in range(draws.count)])
    low, high = taken[round(0.025 * 99)], taken[round(0.975 * 99)]
    own = calibration.curves[0].predict_s(sizes)[0]
    done = zc.replay("roft-256", transfer(size_bytes), zc.Network(calibration=kept(calibration, tmp_path), calibration_draws=2))
    band = done.document()["calibration"]["band"]
    expected = (min(low, own) + DELAY_S, max(high, own) + DELAY_S)
    assert band["figures"]["makespan_s"] == pytest.approx(expected, abs=2e-8)
    row = done.table().iloc[0]
    assert (row["duration_low_s"], row["duration_high_s"]) == pytest.approx(expected, abs=2e-8)
    assert (band["draws"], band["rounds"], band["level"], band["why_none"]) == (2, 100, 0.95, None)


@pytest.mark.parametrize("copies", [1, 2])
def test_rounds_hold_the_true_time(copies):
    """Forty measurements of one machine with 3 % scatter, at six sizes, measured ones and others: about 95 % are held."""
    sizes = 2.0 ** np.array([11, 14, 18, 21, 24.5, 27])
    true_s, held = evaluate(TRUTH, sizes), []
    for seed in range(40):
        times = {("send-receive", RANKS, "nvlink"): measured(scatter=0.03, seed=seed, copies=copies)}
        draws = CalibrationDraws.of(fit(runs(times), draws=60))
        drawn = [draws[number].curves[0].predict_s(sizes) for number in range(draws.count)]
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        held.append((low <= true_s) & (true_s <= high))
    assert np.mean(held) >= 0.9
    assert np.mean(held, axis=0).min() >= 0.8


def test_rounds_hold_the_true_time_of_a_number_of_ranks_that_was_not_measured():
    sizes, held = np.array([1e4, 1e6, 1e8]), []
    for seed in range(12):
        random = np.random.default_rng(seed)
        times = {}
        for ranks in (2, 4):
            exact = 5e-6 + 1e-6 * (ranks - 1) + SIZES * wire_factor("all-gather", ranks) / 300e9
            times["all-gather", ranks, "nvlink"] = (SIZES, exact * np.exp(random.normal(0, 0.02, len(SIZES))))
        draws = CalibrationDraws.of(fit(runs(times), draws=60))
        drawn = [draws[number].predict_s("all-gather", 8, "nvlink", sizes) for number in range(draws.count)]
        low, high = np.quantile(drawn, (0.025, 0.975), axis=0)
        true_s = 5e-6 + 7e-6 + sizes * wire_factor("all-gather", 8) / 300e9
        held.append((low <= true_s) & (true_s <= high))
    assert np.mean(held) >= 0.85


def test_a_calibration_without_intervals_has_no_band_and_that_is_said(tmp_path, run):
    flows = tmp_path / "flows.csv"
    transfer(1 << 20).to_csv(flows, index=False)
    common = ("replay", flows, "--fabric", "roft-256", "--calibration", kept(fitted(draws=0), tmp_path))
    status, out, err = run(*common)
    assert status == 0, err
    assert "band: none; the calibration has no intervals" in out
    status, out, err = run(*common, "--json")
    band = json.loads(out)["calibration"]["band"]
    assert (band["draws"], band["figures"]) == (0, {})
    assert "no intervals" in band["why_none"]


def by_hand(calibration, change):
    document = json.loads(calibration.model_dump_json())
    change(document)
    return Calibration.model_validate(document)


def two_and_four():
    times = {("all-gather", ranks, "nvlink"): measured(scatter=0.02, seed=ranks) for ranks in (2, 4)}
    return fit(runs(times), draws=50)


def test_regimes_that_are_not_those_of_the_points_have_no_rounds():
    def moved(document):
        document["curves"][0]["regimes"][0]["from_bytes"] = 600.0
        document["scalings"][0]["ranks"] = [16, 32]

    draws = CalibrationDraws.of(by_hand(two_and_four(), moved))
    assert draws.count == 50
    assert draws.without == ("all-gather among 2 ranks over nvlink", "all-gather over nvlink among numbers of ranks")
    assert draws[7].curves[0] == draws.calibration.curves[0]


def test_models_over_numbers_of_ranks_stay_where_nothing_was_measured():
    def elsewhere(document):
        (model,) = document["scalings"]
        model["regimes"] = [model["regimes"][0] | {"from_bytes": 1e12, "to_bytes": 1e13}]

    draws = CalibrationDraws.of(by_hand(two_and_four(), elsewhere))
    assert draws[7].scalings[0].regimes[0].model_dump() == pytest.approx(draws.calibration.scalings[0].regimes[0].model_dump())


def test_a_model_over_numbers_of_ranks_takes_time():
    def free(document):
        for regime in document["scalings"][0]["regimes"]:
            regime |= dict.fromkeys(("latency_s", "latency_per_step_s", "s_per_byte", "s_per_wire_byte"), 0.0)

    with pytest.raises(ValueError, match="a regime should take time"):
        by_hand(two_and_four(), free)


def test_as_many_rounds_are_made_as_there_is_room_for(monkeypatch):
    monkeypatch.setattr("zcube.calibrate.draws.MOST_TIMES", 42 * 30)
    assert CalibrationDraws.of(two_and_four()).count == 30


def test_a_run_that_the_calibration_does_not_touch_is_not_run_again(tmp_path, monkeypatch):
    network = zc.Network(calibration=kept(fitted(), tmp_path))
    said = zc.replay("roft-256", transfer(1 << 20, target=9), network).document()["calibration"]["band"]
    assert said["draws"] == 0
    assert said["why_none"] == "no message of the run takes a time that has an interval"


def test_no_band_where_none_is_asked_for(tmp_path):
    network = zc.Network(calibration=kept(fitted(), tmp_path), calibration_draws=0)
    done = zc.replay("roft-256", transfer(1 << 20), network)
    assert done.document()["calibration"]["band"]["why_none"] == "calibration_draws is 0"
    assert "duration_low_s" not in done.table()


def test_a_band_has_two_ends():
    with pytest.raises(InputError, match="two ends"):
        zc.Network(calibration_draws=1)


def test_rounds_faster_than_the_line_rate_are_at_the_line_rate(tmp_path):
    """Measured at 99 % of the line rate with 10 % scatter: rounds beyond it, by up to a quarter, are capped and not refused."""
    rates = 400e9 / 8 * 0.99
    scatter = np.exp(stream(0, "scatter").normal(0, 0.1, len(SIZES)))
    times = {("send-receive", RANKS, "across"): (SIZES, (1e-5 + SIZES / rates) * scatter)}
    calibration = fit(runs(times, nic_line_rate_gbps=420.0), draws=100)
    network = zc.Network(calibration=kept(calibration, tmp_path), calibration_draws=40)
    low, high = zc.replay("roft-256", transfer(1 << 29, target=8), network).document()["calibration"]["band"]["figures"][
        "makespan_s"
    ]
    assert low < high
    assert low >= (1 << 29) * 8 / 400e9


def test_bands_of_a_trace_follow_its_operations(tmp_path, run):
    calibration = kept(fitted(operation="all-reduce"), tmp_path)
    builder = TraceBuilder(RANKS)
    first = builder.collective("all-reduce", range(RANKS), 1 << 20)
    builder.collective("all-reduce", range(RANKS), 1 << 24, after=[first])
    network = zc.Network(calibration=calibration)
    done = zc.replay("roft-256", builder.build({}), network)
    document, table = done.document(), done.table()
    low, high = document["calibration"]["band"]["figures"]["trace.completion_s"]
    assert low <= document["trace"]["completion_s"] <= high
    assert (table["finish_low_s"].max(), table["finish_high_s"].max()) == pytest.approx((low, high))
    assert (table["finish_low_s"] <= table["finish_s"]).all()
    assert (table["finish_s"] <= table["finish_high_s"]).all()


def test_several_processes_give_the_same_band(tmp_path, run):
    flows = tmp_path / "flows.csv"
    pd.concat([transfer(1 << 20), transfer(1 << 24, 3)]).to_csv(flows, index=False)
    common = ("replay", flows, "--fabric", "roft-256", "--calibration", kept(fitted(), tmp_path), "--calibration-draws", "4")
    (_, one, _), (status, two, err) = run(*common, "--json"), run(*common, "--json", "--jobs", "2")
    assert status == 0, err
    assert one == two
    assert json.loads(one)["calibration"]["band"]["draws"] == 4
