"""What holds of the optics table on every fabric and under every rule."""

from __future__ import annotations

from functools import cache

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.counts import fabric_counts
from zcube.fabric.failures import with_failures
from zcube.fabric.families import families
from zcube.fabric.model import CableKind, CableMedium
from zcube.fabric.modules import GRADES, kind_of
from zcube.fabric.optics import OPTICS_RULES, optics_of
from zcube.fabric.ports import native_ports_used
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.schedule import cable_schedule
from zcube.pricing.bill import bill_of_materials
from zcube.pricing.price_book import load_price_book

BOOK = load_price_book("mixnet-2025")


@cache
def build(family, cages, ports, port_gbps, **keys):
    switch = {"model": "test", "ports": ports, "port_gbps": port_gbps}
    return families()[family](nic={"cages": cages}, switch=switch, **keys).build(family)


def of(family, **drawn):
    return st.builds(build, st.just(family), st.sampled_from(["shared", "per-port"]), **drawn)


@st.composite
def zcubes(draw):
    """Odd segments put the last NIC port and the first trunk into one cage; partly filled ones leave cages half used."""
    k = draw(st.sampled_from([4, 5, 6, 9]))
    filled = draw(st.integers(1, k * k))
    keys = {"capacity_gpus": k * k, "gpus": filled, "gpus_per_switch": k, "gpus_per_server": 1}
    return build("zcube", draw(st.sampled_from(["shared", "per-port"])), 2 * k, draw(st.sampled_from([200, 400, 800])), **keys)


def spine_leaf(ports, port_gbps, most_servers):
    return of(
        "spine-leaf", ports=st.sampled_from(ports), port_gbps=st.sampled_from(port_gbps),
        gpus=st.integers(1, most_servers).map(lambda servers: 8 * servers), rail_optimised=st.booleans(),
        oversubscription=st.sampled_from([1.0, 1.5]),
    )  # fmt: skip


built = st.one_of(
    zcubes(),
    spine_leaf([16, 32], [800, 1600], 20),
    spine_leaf([32], [400], 20),
    # Two tiers of 16 ports hold no more.
    spine_leaf([16], [400], 16),
    of("spine-leaf", ports=st.just(8), port_gbps=st.just(400), tiers=st.just(3), gpus=st.sampled_from([32, 64, 128]),
       gpus_per_server=st.just(4)),
    of("rail-only", ports=st.just(8), port_gbps=st.sampled_from([400, 800]), gpus=st.integers(1, 23).map(lambda s: 8 * s)),
    of("multi-plane", ports=st.just(16), port_gbps=st.sampled_from([100, 400]), gpus=st.sampled_from([32, 128]),
       planes=st.just(4), ports_per_gpu=st.just(4)),
    of("hpn", ports=st.just(16), port_gbps=st.sampled_from([400, 800]), gpus=st.integers(1, 30).map(lambda s: 8 * s)),
    of("bcube", ports=st.just(8), port_gbps=st.sampled_from([200, 400]), gpus=st.just(64)),
    of("dragonfly", ports=st.just(11), port_gbps=st.sampled_from([400, 800]), gpus=st.integers(1, 40).map(lambda s: 8 * s),
       gpus_per_switch=st.just(3)),
    of("zcube-levels", ports=st.just(12), port_gbps=st.sampled_from([100, 400]), gpus=st.just(81), n=st.just(3),
       levels=st.just(4), gpus_per_server=st.just(1)),
    of("zcube-pods", ports=st.just(12), port_gbps=st.sampled_from([200, 400]), gpus=st.just(64), n=st.just(4)),
)  # fmt: skip
fabrics = st.one_of(built, st.builds(lambda f: with_failures(f, ["random-links:0.1", "random-switches:0.1"]), built))
rooms = st.builds(
    RackLayout,
    servers_per_rack=st.integers(1, 6),
    switches_per_rack=st.integers(1, 20),
    rack_width_m=st.floats(0.3, 3),
    row_depth_m=st.floats(1, 30),
    tray_height_m=st.floats(0, 2),
    slack_m=st.floats(0, 2),
)
rules = st.sampled_from(sorted(OPTICS_RULES))


@settings(max_examples=150)
@given(fabrics, rules, rooms)
def test_cages_hold_the_native_ports_and_every_link_has_two(fabric, rule, room):
    optics = optics_of(fabric, rule, room)
    cages, ends = optics.cages, optics.cages.of_end
    assert len(ends) == (fabric.cables.kind != CableKind.NVLINK).sum()
    per_device = np.bincount(cages.device, minlength=fabric.servers + fabric.switches)
    if rule == "paper":
        links = np.bincount(cages.places.device.ravel(), minlength=fabric.servers + fabric.switches)
        assert np.array_equal(per_device, links) and len(cages) == 2 * len(ends)
    else:
        assert np.array_equal(per_device[fabric.servers :], native_ports_used(fabric))
        each = fabric.gpus_per_server * (1 if fabric.nic.cages == "shared" else fabric.nic_ports)
        assert (per_device[: fabric.servers] == each).all()
    assert (ends[:, 0] != ends[:, 1]).all() and set(ends.ravel().tolist()) == set(range(len(cages)))
    # The far ends seen from each cage are those of its links.
    first, far = optics.far
    seen = sorted((cage, int(other)) for cage in range(len(cages)) for other in far[first[cage] : first[cage + 1]])
    assert seen == sorted([*map(tuple, ends.tolist()), *map(tuple, ends[:, ::-1].tolist())])


@settings(max_examples=150)
@given(fabrics, rules, rooms)
def test_lanes_and_media_are_equal_at_both_ends(fabric, rule, room):
    optics = optics_of(fabric, rule, room)
    a, z = optics.cages.of_end.T
    gbps = fabric.cables.gbps[optics.cages.places.cable]
    assert np.array_equal(optics.lane_gbps[a], optics.lane_gbps[z])
    assert np.array_equal(optics.grade[a], optics.grade[z])
    assert (optics.link_lanes * optics.lane_gbps[a] >= gbps - 1e-6).all()
    taken = np.bincount(optics.cages.of_end.ravel(), weights=np.repeat(optics.link_lanes, 2))
    assert (taken <= optics.lanes).all()
    assert (optics.module_gbps >= optics.cages.gbps - 1e-6).all()
    for cage, kind in enumerate(optics.kinds()):
        assert kind == kind_of(kind.lanes, kind.lane_gbps, optics.grade[cage])
        assert (GRADES[kind.grade].medium == CableMedium.FIBRE) == optics.module[cage]
    reach = np.array([kind.reach_m for kind in optics.kinds()])
    within = optics.within_reach[a]
    assert (optics.length_m <= np.minimum(reach[a], reach[z]))[within].all()
    # Only a rule that does not ask for lengths lists copper that is not made.
    assert within.all() or (rule == "paper" and not optics.link_is_fibre[~within].any())
    if rule == "all-optical":
        assert optics.module.all()
    if rule == "paper":
        assert np.array_equal(optics.link_is_fibre, fabric.cables.medium[optics.cages.places.cable] == CableMedium.FIBRE)


@settings(max_examples=100)
@given(fabrics, rules, rooms)
def test_counts_bill_and_schedule_add_up_to_the_same(fabric, rule, room):
    counts = fabric_counts(fabric, optics_of(fabric, rule, room))
    bill = bill_of_materials(fabric, BOOK, optics_of(fabric, rule, room)).document()
    schedule = cable_schedule(fabric, room, rule)
    switch_side, both = bill["transceivers"], bill["with_nic_side"]["transceivers"]
    assert (counts["switch_modules"], counts["modules"]) == (switch_side, both)
    assert counts["nic_modules"] == both - switch_side
    assert schedule.a_modules.sum() + schedule.z_modules.sum() == both
    at_server = schedule.a_device.str.startswith("server")
    assert schedule.a_modules[at_server].sum() == counts["nic_modules"]
    copper = schedule.medium.str.contains("copper")
    assert (copper.sum(), (~copper).sum()) == (counts["copper_links"], counts["fibre_links"])
    cables = [line["quantity"] for line in bill["lines"] if line["item"].startswith(("cable", "splitter"))]
    named = {*schedule.a_assembly, *schedule.z_assembly}
    assert sum(cables) == counts["cable_assemblies"] == schedule.assemblies.sum() == len(named)
    # Where the columns say that a module is ordered it is named, and a cage's module is ordered once.
    cages = {
        *zip(schedule.a_device, schedule.a_cage, schedule.a_module),
        *zip(schedule.z_device, schedule.z_cage, schedule.z_module),
    }
    assert len(cages) == counts["cages"]
    assert sum(bool(module) for _, _, module in cages) == both
    assert set(schedule.optics_rule) == {rule} == {counts["optics_rule"]} == {bill["optics_rule"]}
