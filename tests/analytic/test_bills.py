"""Bills worked out by hand with the prices of ``mixnet-2025``, to the dollar.

MixNet (SIGCOMM 2025), Table 4, USD: module 100G 99, 200G 239, 400G 659, 800G 1,399; switch port 187, 374, 1,090, 1,400; NIC
659, 1,079, 1,499, 2,248. Optics rule all-optical unless said.
"""

from __future__ import annotations

from typing import NamedTuple

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.fabric.optics import optics_of
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.price_book import PriceBook, load_price_book

BOOK = load_price_book("mixnet-2025")


class Bill(NamedTuple):
    """Switches, modules in them, modules in NICs: pieces and USD; NICs: USD."""

    switches: int
    switch_usd: int
    modules: int
    optics_usd: int
    nic_modules: int
    nic_optics_usd: int
    nic_usd: int


BUNDLED = {
    # 32 leaves + 16 spines, each 64 x 1,090 = 69,760. Modules: 48 x 64 ports. 1,024 GPUs with a module of 400G and a NIC each.
    "roft-1024": Bill(48, 3_348_480, 3_072, 2_024_448, 1_024, 674_816, 1_534_976),
    # 8 leaves with 248 servers' ports and 256 uplinks, 4 spines with 256: 760 of 768 ports hold a module.
    "superpod-248": Bill(12, 837_120, 760, 500_840, 248, 163_432, 371_752),
    # Three tiers, 64 + 64 + 32 switches of 32 x 1,090 = 34,880, all ports in use: 160 x 32.
    "roft3-1024": Bill(160, 5_580_800, 5_120, 3_374_080, 1_024, 674_816, 1_534_976),
    # Eight planes of 8 leaves and 4 spines of 34,880: 96 x 32 ports.
    "rail-only-1024": Bill(96, 3_348_480, 3_072, 2_024_448, 1_024, 674_816, 1_534_976),
    # Eight planes of 64 leaves and 32 spines of 69,760: 768 x 64 ports.
    "mpft-16384": Bill(768, 53_575_680, 49_152, 32_391_168, 16_384, 10_797_056, 24_559_616),
    # 64 ToRs: 32 ports of 200G are 16 of 400G, and 16 uplinks; 32 aggregation switches: 96 x 32 ports of 400G in all.
    "hpn-1024": Bill(96, 3_348_480, 3_072, 2_024_448, 1_024, 674_816, 1_534_976),
    # 64 switches of 32 x 374 = 11,968; 64 x 32 modules of 200G at 239; a NIC's two ports of 200G in one twin module of 400G.
    "bcube-1024": Bill(64, 765_952, 2_048, 489_472, 1_024, 674_816, 1_534_976),
    # 33 groups of 8 switches of 15 x 1,090 = 16,350; 264 x 15 modules; 1,056 GPUs.
    "dragonfly-1056": Bill(264, 4_316_400, 3_960, 2_609_640, 1_056, 695_904, 1_582_944),
    # 16 + 16 switches of 69,760; 128 links of 200G each are 64 modules of 400G: 32 x 64. A third less than roft-1024.
    "zcube-1024": Bill(32, 2_232_320, 2_048, 1_349_632, 1_024, 674_816, 1_534_976),
    # 256 A, 256 B, 128 joining switches of 24 x 1,090 = 26,160; 32, 48 and 32 links of 200G: 256 x 16 + 256 x 24 + 128 x 16.
    "zcube-pods-4096": Bill(640, 16_742_400, 12_288, 8_097_792, 4_096, 2_699_264, 6_139_904),
}

HAND_MADE = {
    # Four planes of 16 leaves (8 down, 8 up) and 8 spines of 16 x 187 = 2,992; 96 x 16 modules of 100G at 99; four ports of
    # 100G in one module of 400G.
    "multi-plane": (
        'family = "multi-plane"\ngpus = 128\nplanes = 4\nports_per_gpu = 4\n[switch]\nmodel = "x"\nports = 16\nport_gbps = 100',
        Bill(96, 287_232, 1_536, 152_064, 128, 84_352, 191_872),
    ),
    # ZCube(2,4): 4 levels of 8 switches of 6 x 187 = 1,122; 4, 6, 6 and 4 links each: 8 x 20 modules of 100G.
    "zcube-levels": (
        'family = "zcube-levels"\ngpus = 16\nn = 2\nlevels = 4\n[switch]\nmodel = "x"\nports = 6\nport_gbps = 100',
        Bill(32, 35_904, 160, 15_840, 16, 10_544, 23_984),
    ),
    # 24 of 32 GPUs, k = 8, m = 4: A switches of 3 begun segments have 8 NIC and 8 trunk links of 200G: 8 modules of 400G each;
    # 4 B switches have 6 NIC links and 6 trunk links from port 8 on: 3 + 3. So 3 x 8 + 4 x 6 modules; 7 x 8 x 1,090.
    "zcube, partly filled": (
        'family = "zcube"\ngpus = 24\ncapacity_gpus = 32\ngpus_per_switch = 8\n'
        '[switch]\nmodel = "x"\nports = 8\nport_gbps = 400',
        Bill(7, 61_040, 48, 31_632, 24, 15_816, 35_976),
    ),
    "spine-leaf of 800G": (
        'family = "spine-leaf"\ngpus = 64\nnic_gbps = 800\n[switch]\nmodel = "x"\nports = 16\nport_gbps = 800',
        # 8 leaves with 8 down and 8 up, 4 spines, 16 x 1,400 each; 12 x 16 modules at 1,399.
        Bill(12, 268_800, 192, 268_608, 64, 89_536, 143_872),
    ),
}

#: Two leaves of one server each: two NICs of 200G on half a port each, an uplink of 400G to the spine.
LINKS = """\
a,a_port,b,b_port,gbps,latency_s
s0g0,0,leaf0,0,200,0
s0g1,0,leaf0,1,200,0
s1g0,0,leaf1,0,200,0
s1g1,0,leaf1,1,200,0
leaf0,1,spine0,0,400,0
leaf1,1,spine0,1,400,0
"""
#: 3 switches of 4 x 1,090; per leaf a module with two legs and one up, two in the spine: 6; 4 modules and NICs of 200G.
CUSTOM = Bill(3, 13_080, 6, 3_954, 4, 956, 4_316)


def check(fabric: Fabric, bill: Bill) -> None:
    """The pieces, their prices, and every sum built of them."""
    document = bill_of_materials(fabric, BOOK).document()
    assert (document["switches"], document["switch_usd"]) == (bill.switches, bill.switch_usd)
    assert (document["transceivers"], document["optics_usd"]) == (bill.modules, bill.optics_usd)
    total = bill.switch_usd + bill.optics_usd
    assert document["total_usd"] == total
    with_nic_side = document["with_nic_side"]
    assert with_nic_side["transceivers"] == bill.modules + bill.nic_modules
    assert with_nic_side["optics_usd"] == bill.optics_usd + bill.nic_optics_usd
    assert with_nic_side["total_usd"] == total + bill.nic_optics_usd
    assert document["with_nics"] == {
        "nics": fabric.gpus,
        "nic_usd": bill.nic_usd,
        "total_usd": total + bill.nic_optics_usd + bill.nic_usd,
    }
    priced = [line for line in document["lines"] if line["usd"] is not None]
    assert sum(line["usd"] for line in priced) == document["with_nics"]["total_usd"]
    assert all(line["usd"] == line["quantity"] * line["unit_usd"] for line in priced)
    assert (document["optics_rule"], document["price_book"]) == ("all-optical", "mixnet-2025")


@pytest.mark.parametrize("name", BUNDLED)
def test_bundled_fabric(name: str) -> None:
    check(load_fabric(name), BUNDLED[name])


@pytest.mark.parametrize("name", HAND_MADE)
def test_hand_made_fabric(name: str, tmp_path) -> None:
    text, bill = HAND_MADE[name]
    (tmp_path / "made.toml").write_text(text + "\n")
    check(load_fabric(str(tmp_path / "made.toml")), bill)


def test_custom_fabric_of_two_rates(tmp_path) -> None:
    check(custom(tmp_path), CUSTOM)


def custom(folder, links: str = LINKS) -> Fabric:
    (folder / "links.csv").write_text(links)
    (folder / "made.toml").write_text(
        'family = "custom"\nlinks = "links.csv"\n[switch]\nmodel = "x"\nports = 4\nport_gbps = 400\n'
    )
    return load_fabric(str(folder / "made.toml"))


def test_under_the_papers_counting_every_fibre_end_is_a_module_of_200g() -> None:
    """ZCube: 1,024 copper cables; A-B links 2 x 1,024 and B-NIC links 1,024 modules at switches, 1,024 at NICs, at 239."""
    fabric = load_fabric("zcube-1024")
    document = bill_of_materials(fabric, BOOK, optics_of(fabric, "paper")).document()
    assert (document["transceivers"], document["optics_usd"]) == (3_072, 734_208)
    assert (document["with_nic_side"]["transceivers"], document["with_nic_side"]["optics_usd"]) == (4_096, 978_944)
    assert (document["switch_usd"], document["optics_rule"]) == (2_232_320, "paper")


def test_nics_with_a_cage_for_each_port(tmp_path) -> None:
    """Two modules of 200G at 239 in each of 24 NICs, instead of a twin module of 400G; NICs and switches as before."""
    text, bill = HAND_MADE["zcube, partly filled"]
    (tmp_path / "made.toml").write_text(text + '\n[nic]\ncages = "per-port"\n')
    check(load_fabric(str(tmp_path / "made.toml")), bill._replace(nic_modules=48, nic_optics_usd=11_472))


def test_nics_of_two_rates_are_two_positions(tmp_path) -> None:
    """Server 1 has NICs of 400G on whole ports: leaf1 holds three modules, so 7; 2 x 239 + 2 x 659; 2 x 1,079 + 2 x 1,499."""
    links = LINKS.replace("s1g0,0,leaf1,0,200", "s1g0,0,leaf1,2,400").replace("s1g1,0,leaf1,1,200", "s1g1,0,leaf1,3,400")
    check(custom(tmp_path, links), CUSTOM._replace(modules=7, optics_usd=4_613, nic_optics_usd=1_796, nic_usd=5_156))


def book(**holes: int) -> PriceBook:
    """``mixnet-2025`` without one rate of a table."""
    tables = {table: {r: p for r, p in getattr(BOOK, table).items() if r != rate} for table, rate in holes.items()}
    return BOOK.model_copy(update={"name": "with a hole", **tables})


def test_a_missing_price_is_missing_in_every_sum_it_belongs_to_and_in_no_other() -> None:
    fabric = load_fabric("bcube-1024")
    whole = bill_of_materials(fabric, BOOK).document()

    no_200g = bill_of_materials(fabric, book(transceiver_usd=200)).document()
    assert (no_200g["optics_usd"], no_200g["total_usd"]) == (None, None)
    assert (no_200g["with_nic_side"]["optics_usd"], no_200g["with_nic_side"]["total_usd"]) == (None, None)
    assert (no_200g["with_nics"]["total_usd"], no_200g["with_nics"]["nic_usd"]) == (None, 1_534_976)
    assert (no_200g["switch_usd"], no_200g["transceivers"]) == (whole["switch_usd"], whole["transceivers"])

    no_400g = bill_of_materials(fabric, book(transceiver_usd=400)).document()
    assert (no_400g["optics_usd"], no_400g["total_usd"]) == (489_472, 1_255_424)
    assert (no_400g["with_nic_side"]["optics_usd"], no_400g["with_nics"]["total_usd"]) == (None, None)

    no_port = bill_of_materials(fabric, book(switch_port_usd=200)).document()
    assert (no_port["switch_usd"], no_port["total_usd"], no_port["optics_usd"]) == (None, None, 489_472)

    no_nic = bill_of_materials(fabric, book(nic_usd=400)).document()
    assert (no_nic["with_nics"]["nic_usd"], no_nic["with_nics"]["total_usd"]) == (None, None)
    assert no_nic["with_nic_side"] == whole["with_nic_side"]
    lines = {line["item"]: line["usd"] for line in no_nic["lines"]}
    assert lines["NIC 400G"] is None
