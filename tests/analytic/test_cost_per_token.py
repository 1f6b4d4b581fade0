"""What a million tokens cost, worked out by hand from a bill, years, powers and a rate."""

from __future__ import annotations

import json

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.outputs import INFINITE, to_json
from zcube.pricing.amortised import CostTerms, cost_rule, hourly_cost
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.price_book import PowerBook, PriceBook, load_power_book, load_price_book
from zcube.serving.repeats import mean_metrics, seed_noise
from zcube.verdict.table import ROWS

PRICES = load_price_book("mixnet-2025")
POWERS = PowerBook(
    name="by hand", source="by hand", transceiver_watts={400: 10}, switch_port_watts={400: 12}, nic_watts={400: 25}
)
TERMS = CostTerms(years=4, utilisation=0.5, usd_per_kwh=0.1, pue=1.5, gpu_usd=30_000, gpu_watts=1_000)

#: zcube-1024 by hand (tests/analytic/test_bills.py): 32 switches of 64 ports 2,232,320; 2,048 modules in them 1,349,632; 1,024
#: in NICs 674,816; NICs 1,534,976; GPUs 1,024 x 30,000. W: 2,048 x 12 + 3,072 x 10; NICs 1,024 x 25; GPUs 1,024 x 1,000.
USD = {"fabric": 4_256_768, "with_nics": 5_791_744, "with_gpus": 36_511_744}
WATTS = {"fabric": 55_296, "with_nics": 80_896, "with_gpus": 1_104_896}
#: 4 years of 8,760 h.
HOURS = 35_040


def cost(prices: PriceBook = PRICES, powers: PowerBook = POWERS, terms: CostTerms = TERMS, fabric: str = "zcube-1024"):
    built = load_fabric(fabric)
    return hourly_cost(bill_of_materials(built, prices, power=powers), terms, built.gpus)


@pytest.mark.parametrize("scope", USD)
def test_bill_and_power_by_the_hour_over_the_tokens_of_an_hour(scope):
    # 10,000 tokens/s half of the time are 18 million an hour; 2,500 good ones 4.5 million.
    found = cost().document(10_000.0, 2_500.0)[scope]
    hardware, power = USD[scope] / HOURS, WATTS[scope] / 1000 * 1.5 * 0.1
    assert (found["hardware_usd"], found["watts"], found["missing"]) == (USD[scope], WATTS[scope], [])
    assert found["hardware_usd_per_hour"] == pytest.approx(hardware, rel=1e-12)
    assert found["power_usd_per_hour"] == pytest.approx(power, rel=1e-12)
    assert found["usd_per_hour"] == pytest.approx(hardware + power, rel=1e-12)
    assert found["hardware_usd_per_million_output_tokens"] == pytest.approx(hardware / 18, rel=1e-12)
    assert found["usd_per_million_output_tokens"] == pytest.approx((hardware + power) / 18, rel=1e-12)
    assert found["usd_per_million_good_tokens"] == pytest.approx((hardware + power) / 4.5, rel=1e-12)


def test_figures_to_the_cent():
    """121.48 USD/h of hardware and 8.29 of power make 7.21 USD a million tokens at 5,000/s on average."""
    found = cost().document(10_000.0, None)["fabric"]
    rounded = (found["hardware_usd_per_hour"], found["power_usd_per_hour"], found["usd_per_million_output_tokens"])
    assert np.round(rounded, 2).tolist() == [121.48, 8.29, 7.21]


def test_without_a_rate_or_without_tokens():
    none = cost().document(None, None)
    assert none["fabric"]["usd_per_hour"] is not None
    assert (none["fabric"]["usd_per_million_output_tokens"], none["bill_usd_per_output_token_per_s"]) == (None, None)
    no_good = cost().document(10_000.0, 0.0)["fabric"]
    assert no_good["usd_per_million_good_tokens"] == INFINITE and no_good["usd_per_million_output_tokens"] > 0


def test_noisy_equal_rates_do_not_hide_a_cheaper_bill():
    """Seed by seed the rates are equal to rounding, so that prices differ by the bills: 2/3 of roft-1024's, exactly."""
    rates = np.array([9_000.0, 10_000.0, 11_000.0, 12_000.0, 13_000.0])
    tree, cube = ([{"cost": cost(fabric=name).document(rate, None)} for rate in rates] for name in ("roft-1024", "zcube-1024"))
    noise = seed_noise(cube, tree)["cost.bill_usd_per_output_token_per_s"]
    means = [mean_metrics(repeats)["cost"]["bill_usd_per_output_token_per_s"] for repeats in (cube, tree)]
    assert noise["differs"] is True and means[0] / means[1] == pytest.approx(2 / 3)
    (row,) = (row for row in ROWS if row.label == "Total per output")
    noisy = mean_metrics(cube) | {"noise": {"cost.bill_usd_per_output_token_per_s": noise}}
    assert row.against(noisy, mean_metrics(tree)) == ("-33.3 %", True)


def without(book, table: str):
    return book.model_copy(update={table: {}})


@pytest.mark.parametrize(
    ("change", "named", "lacking", "of"),
    [
        ({"prices": without(PRICES, "switch_port_usd")}, "price of switch 25.6T, 64 x 400G", USD, "hardware_usd"),
        ({"prices": without(PRICES, "nic_usd")}, "price of NIC 400G", {"with_nics", "with_gpus"}, "hardware_usd"),
        ({"terms": TERMS.model_copy(update={"gpu_usd": None})}, "price of GPU", {"with_gpus"}, "hardware_usd"),
        ({"powers": without(POWERS, "transceiver_watts")}, "power of transceiver 400G", USD, "watts"),
        ({"powers": without(POWERS, "nic_watts")}, "power of NIC 400G", {"with_nics", "with_gpus"}, "watts"),
        ({"terms": TERMS.model_copy(update={"gpu_watts": None})}, "power of GPU", {"with_gpus"}, "watts"),
    ],
)  # fmt: skip
def test_what_is_missing_is_missing_where_it_belongs_and_named(change, named, lacking, of):
    whole, found = cost().document(10_000.0, 1.0), cost(**change).document(10_000.0, 1.0)
    for scope in USD:
        if scope not in lacking:
            assert found[scope] == whole[scope]
            continue
        assert found[scope][of] is None and any(figure.startswith(named) for figure in found[scope]["missing"])
        assert found[scope]["usd_per_million_output_tokens"] is None is found[scope]["usd_per_million_good_tokens"]
        if of != "hardware_usd":
            of_hardware = "hardware_usd_per_million_output_tokens"
            assert found[scope][of_hardware] == whole[scope][of_hardware]


def test_a_price_of_zero_is_a_price():
    free = cost(terms=TERMS.model_copy(update={"usd_per_kwh": 0.0, "gpu_usd": 0.0})).document(10_000.0, None)
    assert free["with_gpus"]["usd_per_hour"] == pytest.approx(USD["with_nics"] / HOURS)


def test_the_bundled_powers_know_400g_and_not_what_no_source_names():
    powers = load_power_book("nvidia-400g")
    # 750 W of a switch of 64 ports; 9 W a module.
    assert 64 * powers.switch_port_watts[400] == pytest.approx(750, abs=0.1) and powers.transceiver_watts[400] == 9
    found = cost(powers=powers, terms=CostTerms()).document(1.0, None)
    assert found["fabric"]["watts"] == pytest.approx(32 * 750 + 3_072 * 9, abs=3)
    assert found["with_nics"]["missing"] == ["power of NIC 400G"]
    found = cost(powers=powers, terms=CostTerms(), fabric="bcube-1024").document(1.0, None)
    assert found["fabric"]["watts"] is None and found["fabric"]["missing"] == ["power of switch 6.4T, 32 x 200G"]


def test_the_rule_says_what_is_in_it():
    text = cost_rule(TERMS, "mixnet-2025")
    for words in ("4 years", "mixnet-2025", "0.1 USD/kWh", "PUE 1.5", "50 % of that time", "no more"):
        assert words in text


@pytest.mark.parametrize("key", ["years", "utilisation"])
@pytest.mark.parametrize("value", [0, -1, float("nan"), float("inf")])
def test_terms_out_of_range_are_refused(key, value):
    from zcube.scenario import load_scenario

    with pytest.raises(InputError, match=f"cost.{key}"):
        load_scenario("glm51-pd-256", {f"cost.{key}": value})


def test_extreme_terms_stay_numbers():
    extreme = CostTerms(years=0.01, utilisation=1e-6, usd_per_kwh=100, pue=10, gpu_usd=1e9, gpu_watts=1e6)
    document = cost(terms=extreme).document(1e-6, 1e-9)
    assert "with_gpus" in json.loads(to_json(document))


def test_faults_of_a_power_book_are_named(tmp_path):
    (tmp_path / "mine.toml").write_text('source = "x"\n[transceiver_watts]\n400 = -1\n0400 = 3\n[switch_port_usd]\n400 = 1\n')
    with pytest.raises(InputError) as caught:
        load_power_book(str(tmp_path / "mine.toml"))
    text = str(caught.value)
    assert "a power in W from 0" in text and "switch_port_usd" in text
    with pytest.raises(InputError, match="nvidia-400g"):
        load_power_book("none-such")
