"""Plans against published tables and closed forms."""

from __future__ import annotations

import itertools
from functools import cache

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.counts import fabric_counts
from zcube.fabric.ports import check_port_budget
from zcube.plan.availability import availability
from zcube.plan.candidate import Candidate, Ground
from zcube.plan.candidates import candidates_of, generators
from zcube.plan.demand import load_demand
from zcube.plan.plan import plan
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.counted import counted_bill
from zcube.pricing.price_book import load_price_book


def site(**options):
    return load_demand(None, {key: str(value) for key, value in options.items()}, tuple(generators()))


@cache
def planned(**options):
    return plan(site(**options))


def of(candidates, name):
    return next(one for one in candidates if one.name == name)


#: DeepSeek-V3 (ISCA 2025), Table 3: cost in M USD as printed, k USD per endpoint.
DEEPSEEK = {"ft2-2048": (9, 4.39, 96, 2048), "mpft-16384": (72, 4.39, 768, 16384), "ft3-65536": (491, 7.5, 5120, 131072)}


@pytest.mark.parametrize("name", DEEPSEEK)
def test_costs_of_the_deepseek_table(name):
    musd, kusd, switches, links = DEEPSEEK[name]
    book, fabric = load_price_book("deepseek-isca25-fit"), load_fabric(name)
    usd = bill_of_materials(fabric, book).capital_usd(book.covers)
    assert usd == 81_400 * switches + 570 * links
    assert (round(usd / 1e6), float(f"{usd / fabric.gpus / 1e3:.3g}")) == (musd, kusd)
    assert counted_bill({"switches": switches, "switch_links": links}, book).capital_usd(book.covers) == usd


def test_the_slim_fly_row_of_the_deepseek_table_from_counts():
    book = load_price_book("deepseek-isca25-fit")
    usd = counted_bill({"switches": 1568, "switch_links": 32_928}, book).capital_usd(book.covers)
    assert usd == 146_404_160
    assert (round(usd / 1e6), round(usd / 32_928 / 1e3, 1)) == (146, 4.4)


def test_no_two_prices_give_the_dragonfly_row_beside_the_others():
    """16,352 switches, 384,272 links, 1,522 M USD as printed: fewer dollars a switch than FT2's, which has fewer links.

    Cost a switch = price of a switch + links a switch x price of a link, which rises with the links.
    """
    book = load_price_book("deepseek-isca25-fit")
    usd = counted_bill({"switches": 16_352, "switch_links": 384_272}, book).capital_usd(book.covers)
    assert usd == 1_550_087_840 and usd / 1522e6 == pytest.approx(1.0185, abs=1e-4)
    most, least_of_ft2 = 1522.5e6 / 16_352, 4.385e3 * 2048 / 96
    assert 384_272 / 16_352 > 2048 / 96 and most < least_of_ft2
    # Its 253,456 links inside groups at 459 USD would give it: Slim Fly's cost model has cheaper electrical links there.
    groups, inside = 511, 511 * 32 * 31 // 2
    assert groups * 32 == 16_352 and inside == 253_456
    assert round((usd - inside * (570 - 459)) / 1e6) == 1522


def test_totals_of_rail_only_to_the_dollar():
    # arXiv 2307.12169, 32,768 GPUs, 64-port switches: 2,560 switches and 196,608 transceivers; rail-only with 256 GPUs a domain
    # 1,536 and 131,072.
    book = load_price_book("rail-only-2023")
    assert counted_bill({"switches": 2560, "nic_modules": 196_608}, book).capital_usd("with-nic-side") == 152_829_952
    found, _ = candidates_of(site(gpus=32768, gpus_per_server=256, switch="25.6T", families="rail-only"))
    fabric = of(found, "rail-only-25.6T").spec.build("rail-only")
    assert bill_of_materials(fabric, book).capital_usd(book.covers) == 94_306_304
    found, _ = candidates_of(site(gpus=32768, switch="25.6T", families="spine-leaf"))
    fabric = of(found, "roft-3-tier-25.6T").spec.build("roft")
    assert fabric.switches == 2560
    assert bill_of_materials(fabric, book).capital_usd(book.covers) == 152_829_952


@pytest.mark.parametrize(
    "options",
    [
        {"gpus": 512, "switch": "12.8T,25.6T", "max_oversubscription": 3},
        {"gpus": 1024, "switch": "25.6T,51.2T", "max_oversubscription": 2},
        {"gpus": 216, "switch": "12.8T"},
        {"gpus": 120, "gpus_per_server": 4, "switch": "12.8T,SN5600", "max_oversubscription": 1.5},
    ],
    ids=str,
)
def test_closed_forms_are_the_counts_of_what_is_built(options):
    found, _ = candidates_of(site(**options))
    assert {one.family for one in found} >= {"spine-leaf", "rail-only", "hpn", "zcube", "dragonfly", "slim-fly"}
    for one in found:
        fabric = one.spec.build(one.name)
        check_port_budget(fabric, one.name)
        counts = fabric_counts(fabric)
        built = {}
        for group in counts["groups"].values():
            built[group["model"]] = built.get(group["model"], 0) + group["switches"]
        assert built == one.switches, one.name
        assert (counts["nic_links"], counts["switch_links"]) == (one.nic_links, one.switch_links), one.name


def test_zcube_takes_a_third_fewer_switch_ports_than_two_tier_roft():
    answer = planned(gpus=1024, nic=400, switch="25.6T", families="spine-leaf,zcube")
    fabrics = answer.document()["fabrics"]
    zcubes = [name for name in answer.front.names if name.startswith("zcube-k64")]
    assert answer.baseline == "roft-2-tier-25.6T" and zcubes
    for name in zcubes:
        assert fabrics[name]["counts"]["switches"] == 32
        assert fabrics[name]["against_baseline"]["switch_ports"] == pytest.approx(-1 / 3)
    # The funnel of KV meets few rails of a plain ZCube: another wiring of the same counts beats it, and is found.
    assert "zcube-k64-25.6T" in answer.front.beaten_by
    assert fabrics[answer.recommendation.name]["traffic"]["kv_funnel_over_nic"] < 0.2
    assert fabrics["zcube-k64-25.6T"]["traffic"]["kv_funnel_over_nic"] == pytest.approx(1.0)


def test_an_allowed_oversubscription_shows_what_it_saves_and_costs():
    answer = planned(gpus=1024, nic=400, switch="25.6T", max_oversubscription=2, families="spine-leaf")
    two = answer.document()["fabrics"]["roft-2-tier-25.6T-2to1"]
    assert (two["counts"]["switches"], two["paths"]["bisection_of_nic_rate"]) == (40, 0.5)
    assert two["against_baseline"]["switch_ports"] == pytest.approx(-1 / 6)
    assert two["against_baseline"]["bisection"] == pytest.approx(-0.5)
    assert two["against_baseline"]["random_share"] < -0.25


def test_two_tiers_do_not_reach_16384_gpus_and_why():
    _, lost = candidates_of(site(gpus=16384, switch="51.2T"))
    two = next(one for one in lost if one.arrangement == "roft-2-tier")
    assert two.binding == "reach"
    assert "16384 needs 256 leaves of 64 down ports" in two.arithmetic and "at most 128 leaves" in two.arithmetic
    assert {"gpus": 8192} in two.nearest


@pytest.mark.parametrize("options", [{"gpus": 1000, "switch": "12.8T"}, {"gpus": 40960, "switch": "12.8T,25.6T"}], ids=str)
def test_every_nearest_demand_can_be_met(options):
    asked = site(**options)
    _, lost = candidates_of(asked)
    assert any(one.nearest for one in lost)
    for one in lost:
        for change in one.nearest:
            found, _ = candidates_of(site(**{**options, "switch": one.switch, **change, "families": one.family}))
            assert found, (one, change)


def test_a_demand_that_nothing_meets_names_the_bound_and_the_nearest_demand():
    answer = planned(gpus=128, switch="12.8T", budget_usd=1000, families="spine-leaf,zcube")
    document = answer.document()
    assert not answer.met and not document["front"]
    nearest = document["nearest_demands"][0]
    again = planned(gpus=128, switch="12.8T", budget_usd=nearest["budget_usd"], families="spine-leaf,zcube")
    assert again.met and nearest["fabric"] not in again.refused
    assert all("more than budget_usd = 1,000" in fabric["refused"] for fabric in document["fabrics"].values())


@pytest.mark.parametrize(("name", "down"), list(itertools.product(["zcube-1024", "roft-1024"], [0.0003, 0.01])))
def test_availability_holds_its_closed_form(name, down):
    fabric = load_fabric(name)
    found = availability(fabric, down, seed=3)
    low, high = found.interval
    assert found.no_switch_down == pytest.approx((1 - down) ** fabric.switches)
    assert low <= found.no_switch_down <= high and high - low < 0.02


def test_availability_of_16384_gpus_is_the_papers():
    # ATOP/ZCube (SIGCOMM 2025): no switch down at 0.03 % each, in whole percent.
    shown = {"zcube-n128": 93, "rail-only-16384": 89, "hpn-16384": 89}
    for name, percent in shown.items():
        assert round(100 * availability(load_fabric(name), 0.0003, seed=0).no_switch_down) == percent


def test_one_failed_switch_in_twenty_cuts_off_what_hangs_on_it_alone():
    # One leaf of a ROFT holds a rail of a unit; with p small, GPUs cut off are those of leaves: about p of all.
    fabric = load_fabric("roft-1024")
    found = availability(fabric, 0.001, seed=1)
    assert 1 - found.gpus_joined == pytest.approx(0.001, rel=0.35)
    two_ports = availability(load_fabric("zcube-1024"), 0.001, seed=1)
    assert two_ports.gpus_joined > 0.99999


def test_failures_slow_4096_gpus_in_the_papers_order():
    from zcube.plan.measures import Measuring

    asked = site(gpus=4096, switch="25.6T,51.2T")
    found, _ = candidates_of(asked)
    names = ("zcube-k64-25.6T", "hpn-25.6T", "rail-only-25.6T", "roft-2-tier-51.2T")
    slower = [Measuring(asked)._failure(of(found, name).spec.build(name))["slower_mean"] for name in names]
    assert slower == sorted(slower) and slower[0] == pytest.approx(0.028, abs=0.01)


def test_generators_yield_candidates_and_reasons_only():
    asked = site(gpus=96, switch="12.8T")
    for name, generator in generators().items():
        for one in generator(Ground(asked, asked.switches["12.8T"], 96)):
            assert isinstance(one, Candidate) or (one.arithmetic and one.family), name


RATES = {"nic_link_down": 0.002, "switch_link_down": 0.001, "nic_down": 0.003}


@pytest.mark.parametrize("name", ["zcube-256", "roft-256"])
def test_availability_with_links_and_nics_holds_its_closed_forms(name):
    """Nothing down: a product over all parts. Attached: NIC up, and a port over a live link to a live switch."""
    fabric = load_fabric(name)
    found = availability(fabric, 0.001, seed=5, **RATES)
    document = found.document()
    parts = found.parts
    assert (parts["switch"], parts["nic"], parts["nic_link"]) == (fabric.switches, 256, 256 * fabric.nic_ports)
    assert parts["switch_link"] == len(fabric.cables) - 256 - parts["nic_link"]
    exact = 0.999 ** parts["switch"] * 0.998 ** parts["nic_link"] * 0.999 ** parts["switch_link"] * 0.997**256
    low, high = document["nothing_down_drawn"]["interval"]
    assert found.nothing_down == pytest.approx(exact) and low <= exact <= high
    assert found.no_switch_down == pytest.approx(0.999**fabric.switches)
    port = 0.999 * 0.998
    assert found.gpu_attached == pytest.approx(0.997 * (1 - (1 - port) ** fabric.nic_ports))
    # Far from falling apart, a GPU is joined to the others if it is attached.
    low, high = found.gpus_joined_interval
    assert low <= found.gpu_attached <= high
    assert found.gpus_joined == pytest.approx(found.gpu_attached, abs=0.002)
    assert found.all_joined_interval[0] <= found.all_joined <= found.all_joined_interval[1]


def test_links_between_switches_fail_at_a_default_that_says_so():
    asked = site(gpus=64, switch="25.6T", repair_hours=24)
    rates = asked.failure_rates
    assert rates["switch_link"].per_year == rates["nic_link"].per_year == 0.00684
    assert rates["switch_link"].source.startswith("default [inferred]") and "inferred" not in rates["nic_link"].source
    assert rates["switch_link"].down == pytest.approx(0.00684 * 24 / (8760 + 0.00684 * 24))
    own = site(gpus=64, switch="25.6T", repair_hours=24, switch_link_failures_per_year=0.5).failure_rates["switch_link"]
    assert own.per_year == 0.5 and own.source.startswith("the demand")


def test_a_kind_without_a_rate_is_left_out_and_named():
    fabric = load_fabric("zcube-256")
    bare, more = availability(fabric, 0.001, seed=5), availability(fabric, 0.001, seed=5, nic_down=0.01)
    assert bare.document()["left_out"] == ["nic_link", "switch_link", "nic"]
    assert more.document()["left_out"] == ["nic_link", "switch_link"]
    assert bare.nothing_down == bare.no_switch_down == more.no_switch_down
    assert more.nothing_down == pytest.approx(bare.nothing_down * 0.99**256)
    assert bare.interval == more.interval


def test_rates_of_failures_follow_their_sources_and_the_time_of_repair():
    """HPN: 0.051 % of switches and 0.057 % of NIC links a month; Llama 3: 7 NICs of 16,384 in 54 days."""
    published = site(gpus=64).failure_rates
    assert published["switch"].per_year == pytest.approx(12 * 0.051e-2)
    assert published["nic_link"].per_year == pytest.approx(12 * 0.057e-2)
    assert published["nic"].per_year == pytest.approx(7 / 16_384 * 365 / 54, rel=1e-3)
    # No source has one: a default that says so, see below.
    assert published["switch_link"].per_year == published["nic_link"].per_year
    assert published["switch"].down == 0.0003 and published["nic"].down is None
    repaired = site(gpus=64, repair_hours=24, nic_failures_per_year=0.5).failure_rates
    assert repaired["switch"].down == pytest.approx(0.00612 * 24 / (8760 + 0.00612 * 24))
    assert repaired["nic"].down == pytest.approx(12 / (8760 + 12))
    assert repaired["switch_link"].down == repaired["nic_link"].down
    document = planned(gpus=64, switch="12.8T", families="zcube", repair_hours=24).document()
    found = next(iter(document["fabrics"].values()))["availability"]
    assert found["left_out"] == []
    switches = found["parts"]["switch"]
    assert switches["failures_per_year"] == pytest.approx(switches["count"] * 0.00612)
    assert found["no_switch_down"] == pytest.approx((1 - switches["down_probability"]) ** switches["count"])


def test_power_is_the_catalogues_and_else_the_power_books():
    """12.8T has no power in the catalogue: 32 ports at 11.72 W by the book. A 400G SR4 has, 8 to 9 W, which comes first."""
    options = {"gpus": 64, "switch": "12.8T", "families": "spine-leaf"}
    bare, known = planned(**options), planned(**options, power_book="nvidia-400g")
    name = "roft-2-tier-12.8T"
    one, other = (found.document()["fabrics"][name] for found in (bare, known))
    assert one["power"]["power_w_most"] is None and other["power"]["power_w_most"] is not None
    modules = other["counts"]["switch_modules"] + other["counts"]["nic_modules"]
    boxes = other["counts"]["switches"] * 32 * 11.72
    assert other["power"]["power_w_most"] == pytest.approx(boxes + 9 * modules)
    assert other["power"]["power_w_least"] == pytest.approx(boxes + 8 * modules)
    assert known.document()["power_book"]["name"] == "nvidia-400g" and bare.document()["power_book"] is None


def test_a_million_tokens_cost_by_the_plans_own_bill_and_power():
    from zcube.plan.simulation import _per_million
    from zcube.scenario import load_scenario

    changes = {"cost.years": 4, "cost.usd_per_kwh": 0.1, "cost.pue": 1.2, "cost.utilisation": 0.5}
    scenario = load_scenario("glm51-pd-256", changes)
    found = planned(gpus=64, switch="12.8T", families="spine-leaf", power_book="nvidia-400g")
    one = found.measured[0]
    usd, watts = one.figures["cost"]["bill"]["with_nic_side"]["total_usd"], one.figures["power"]["power_w_most"]
    by_hour = usd / (4 * 8760) + watts / 1000 * 1.2 * 0.1
    assert _per_million(one, scenario, 2000.0) == pytest.approx(by_hour / (2000 * 3600 * 0.5) * 1e6)
    assert _per_million(one, scenario, None) is None


def test_a_bound_on_power_holds_by_the_power_book():
    found = planned(gpus=64, switch="12.8T", families="spine-leaf", power_book="nvidia-400g", max_power_w=100.0)
    assert not found.met and all("more than max_power_w = 100" in reason for reason in found.refused.values())
