"""Prefill's collectives over NVLink under a calibration, by hand; and the band of a comparison."""

import json

import numpy as np
import pytest
from synthetic_runs import SIZES, runs

import zcube as zc
from zcube.calibrate import fit, write_calibration
from zcube.calibrate.apply import apply_calibration
from zcube.calibrate.node_links import calibrated_compute
from zcube.calibrate.operations import wire_factor
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.side_by_side import IN_THIS_PROCESS

pytestmark = pytest.mark.usefixtures("one_picture")

CARD, DEVICE = load_card("glm-5.1"), load_device("h200")
TOKENS = 8192
#: Start in seconds, bytes per second of nccl-tests' size, among eight.
MEASURED = {
    "all-reduce": (20e-6, 110e9),
    "all-gather": (15e-6, 330e9),
    "reduce-scatter": (17e-6, 310e9),
    "all-to-all": (14e-6, 380e9),
}
HIDDEN = TOKENS * 2 * CARD.hidden


def taken_s(operation, size_bytes):
    start_s, bytes_per_s = MEASURED[operation]
    return start_s + size_bytes / bytes_per_s


def applied(operations=tuple(MEASURED), ranks=(8,), scatter=0.0, draws=0):
    random = np.random.default_rng(0)
    times = {}
    for operation in operations:
        start_s, bytes_per_s = MEASURED[operation]
        for count in ranks:
            # The bytes that leave a rank are what takes time, so that eight are predicted from fewer.
            per_byte = wire_factor(operation, count) / wire_factor(operation, 8) / bytes_per_s
            noise = np.exp(random.normal(0, scatter, len(SIZES))) if scatter else 1.0
            times[operation, count, "nvlink"] = (SIZES, (start_s + SIZES * per_byte) * noise)
    return fit(runs(times, hardware="8x TEST"), draws=draws)


def prefill(layout, calibration, ep_nodes=1):
    engine = EngineLayout(prefill_layout=layout, decode_layout="dp8", prefill_ep_nodes=ep_nodes)
    model = roofline(CARD, DEVICE, engine)
    return model, calibrated_compute(model, apply_calibration(calibration), CARD, engine, TOKENS)


def gathered_s():
    keys, latents = 2 * CARD.index_head_dim, 2 * (CARD.kv_lora_rank + CARD.qk_rope_head_dim)
    return taken_s("all-gather", TOKENS * keys) + taken_s("all-gather", TOKENS * latents)


BY_HAND = {
    "tp8": lambda: CARD.layers * 2 * taken_s("all-reduce", HIDDEN),
    "cp8": lambda: CARD.layers * (gathered_s() + taken_s("all-gather", HIDDEN) + taken_s("reduce-scatter", HIDDEN)),
}


@pytest.mark.parametrize("layout", BY_HAND)
def test_collectives_of_prefill_are_the_calibration_s(layout):
    before, model = prefill(layout, applied())
    assert model.prefill_links_s(TOKENS) == pytest.approx(BY_HAND[layout](), rel=1e-9)
    moved = model.prefill_iteration_s([TOKENS], [0]) - before.prefill_iteration_s([TOKENS], [0])
    assert moved == pytest.approx(model.prefill_links_s(TOKENS) - before.prefill_links_s(TOKENS), rel=1e-6)


def test_dispatch_and_combine_are_no_collectives_of_nccl():
    before, model = prefill("dp8", applied())
    assert model is before
    _, spread = prefill("cp8", applied(), ep_nodes=4)
    assert {one["operation"] for one in spread.calibrated} == {"all-gather", "reduce-scatter"}


def test_eight_gpus_are_predicted_from_two_and_four_and_that_is_said():
    _, model = prefill("cp8", applied(ranks=(2, 4)))
    assert model.prefill_links_s(TOKENS) == pytest.approx(BY_HAND["cp8"](), rel=0.01)
    for one in model.calibrated:
        assert "among 8 ranks, predicted from 2, 4" in one["source"]
        assert any("among 8 ranks over nvlink was not measured (only among 2, 4)" in text for text in one["warnings"])


def test_what_was_not_measured_stays_and_names_no_source():
    before, model = prefill("cp8", applied(("all-gather",)))
    assert set(model.stated_error) - set(before.stated_error) == {"prefill_all_gather"}
    own = DEVICE.links.gather.seconds(HIDDEN)
    hidden = taken_s("all-gather", HIDDEN)
    assert model.prefill_links_s(TOKENS) == pytest.approx(CARD.layers * (gathered_s() + hidden + own), rel=1e-9)
    assert prefill("tp8", applied(("all-gather",)))[1].calibrated == ()
    assert prefill("tp8", applied(ranks=(2,)))[1].calibrated == ()


def test_stated_errors_name_their_source():
    _, model = prefill("tp8", applied(scatter=0.05))
    error = model.stated_error["prefill_all_reduce"]
    assert "all-reduce over nvlink among 8 ranks, 8x TEST" in error.against
    assert error.points == len(SIZES)
    assert 0.01 < error.median < 0.08


def test_decode_keeps_its_own_small_messages():
    before, model = prefill("tp8", applied())
    contexts = np.full(16, 4096)
    assert model.decode_steps_s(contexts, 3).tolist() == before.decode_steps_s(contexts, 3).tolist()


def test_a_full_iteration_outside_the_measured_sizes_is_told():
    engine = EngineLayout(prefill_layout="tp8", decode_layout="dp8")
    measured = apply_calibration(applied())
    model = calibrated_compute(roofline(CARD, DEVICE, engine), measured, CARD, engine, 1 << 17)
    assert "of 1.611e+09 bytes over nvlink was not measured" in model.calibrated[0]["warnings"][0]


def test_tables_give_way_to_a_calibration(shared_data):
    from zcube.llm.tables.model import measured

    engine = EngineLayout(prefill_layout="cp8", decode_layout="dp8")
    model = measured(CARD, DEVICE, engine, shared_data / "aiconfigurator-glm5")
    other = calibrated_compute(model, apply_calibration(applied()), CARD, engine, TOKENS)
    assert other.prefill_links_s(TOKENS) == pytest.approx(BY_HAND["cp8"](), rel=1e-9)
    assert other.prefill_layer([TOKENS], [0]) == model.prefill_layer([TOKENS], [0])


SMALL = {"fabrics": ["roft-256", "zcube-256"], "baseline": None, "requests.count": 60}


@pytest.fixture(scope="module")
def noisy(tmp_path_factory):
    """Collectives among eight with 20 % of scatter; no NICs."""
    path = tmp_path_factory.mktemp("calibration") / "calibration.json"
    write_calibration(applied(scatter=0.2, draws=100), path)
    return str(path)


def test_a_comparison_has_a_band_by_the_same_rounds_on_all_fabrics(noisy):
    done = zc.compare("glm51-pd-256", SMALL | {"network.calibration": noisy})
    document = done.document()
    for name, fabric in document["fabrics"].items():
        band = fabric["calibration"]["band"]
        assert (band["draws"], band["rounds"]) == (2, 100)
        low, high = band["figures"]["ttft_s.p99"]
        assert low < fabric["ttft_s"]["p99"] < high
        change = band["relative"]["ttft_p99"]
        assert change[0] <= fabric["relative"]["ttft_p99"] <= change[1]
        if name != document["baseline"]:
            # Prefill is slower on both alike, so that the change moves far less than the time.
            assert change[1] - change[0] < 0.2 * (high - low) / low
    slow = low_and_high(done)
    assert slow[1] - slow[0] > 0


def low_and_high(done):
    band = next(iter(done.results.values())).band
    return band.figures["ttft_s.mean"]


def test_bands_lie_about_the_means_over_seeds(noisy):
    one = zc.compare("glm51-pd-256", SMALL | {"network.calibration": noisy})
    two = zc.compare("glm51-pd-256", SMALL | {"network.calibration": noisy, "seeds": 2})
    for name in one.results:
        alone, mean = (done.results[name] for done in (one, two))
        for end in range(2):
            moved = alone.band.figures["ttft_s.mean"][end] - alone.metrics["ttft_s"]["mean"]
            assert mean.band.figures["ttft_s.mean"][end] - mean.metrics["ttft_s"]["mean"] == pytest.approx(moved)


def test_a_comparison_without_band_or_draws_says_why(noisy):
    none = zc.compare("glm51-pd-256", SMALL | {"network.calibration": noisy, "network.calibration_draws": 0}).document()
    for fabric in none["fabrics"].values():
        assert fabric["calibration"]["band"]["why_none"] == "calibration_draws is 0"
    assert zc.compare("glm51-pd-256", SMALL).document()["calibration"] is None


def test_searches_do_not_bound_every_load(noisy, monkeypatch):
    import zcube.comparison_band

    asked = []
    own = zcube.comparison_band.comparison_bands
    monkeypatch.setattr(zcube.comparison_band, "comparison_bands", lambda *given: asked.append(1) or own(*given))
    scenario = zc.load_scenario("glm51-pd-256", SMALL | {"network.calibration": noisy, "fabrics": ["roft-256"]})
    zc.compare(scenario, find_knee={"max_loads": 2})
    assert len(asked) == 1


def test_the_band_stands_in_text_page_and_document(noisy, run, tmp_path):
    sets = [word for key, value in (("requests.count", 60),) for word in ("--set", f"{key}={value}")]
    common = ("compare", "glm51-pd-256", "--fabric", "roft-256", "--fabric", "zcube-256", *sets, "--calibration", noisy)
    status, out, err = run(*common, "--out", tmp_path / "out")
    assert status == 0, err
    assert "Calibration band, TTFT P99: roft-256" in out
    page = (tmp_path / "out" / "report.html").read_text()
    assert "Calibration band, TTFT P99" in page
    assert "its band is shaded" in page
    status, text, err = run(*common, "--json", "--jobs", "2")
    assert status == 0, err
    assert json.loads(text) == json.loads((tmp_path / "out" / "summary.json").read_text())
    assert IN_THIS_PROCESS.jobs == 1
