"""Properties of cable schedules, port names and corrections on drawn fabrics and drawn mistakes."""

from __future__ import annotations

from collections import Counter, deque
from functools import cache
from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.modules import GRADES, MODULE_KINDS
from zcube.fabric.spec import SwitchSpec
from zcube.fabric.wiring.cabling import Port, WiredCable, Wiring
from zcube.fabric.wiring.port_names import NicPort, PanelPort, parse_port, parse_server
from zcube.fabric.wiring.rack_layout import UNIT_M, RackLayout
from zcube.fabric.wiring.schedule import cable_schedule
from zcube.fabric.wiring.verify import apply_correction, verify


@cache
def zcube(n, rails):
    switch = SwitchSpec(model="test", ports=n, port_gbps=400)
    return ZCubeSpec(gpus=n * n, gpus_per_server=4, gpus_per_switch=n, rails=rails, switch=switch).build("drawn")


@cache
def spine_leaf(servers, split):
    switch = SwitchSpec(model="test", ports=64 // split, port_gbps=400.0 * split)
    return SpineLeafSpec(gpus=8 * servers, switch=switch).build("drawn")


fabrics = st.one_of(
    st.builds(zcube, st.sampled_from([4, 8, 12]), st.sampled_from(["plain", "skewed"])),
    st.builds(spine_leaf, st.integers(1, 40), st.sampled_from([1, 2, 4])),
)
layouts = st.builds(
    RackLayout,
    servers_per_rack=st.integers(1, 6),
    rows=st.none() | st.integers(1, 20),
    switch_racks=st.sampled_from(["middle-of-row", "end-of-row"]),
    switches_per_rack=st.integers(1, 20),
    rack_width_m=st.floats(0.5, 2),
    row_depth_m=st.floats(1, 5),
    slack_m=st.floats(0, 2),
)


@settings(max_examples=40)
@given(fabrics, layouts)
def test_schedule_lengths_reach_and_ports(fabric, layout):
    schedule = cable_schedule(fabric, layout)
    assert len(schedule) == fabric.gpus * fabric.nic_ports + (len(fabric.cables) - fabric.gpus * (1 + fabric.nic_ports))
    ends = [*zip(schedule.a_device, schedule.a_port), *zip(schedule.z_device, schedule.z_port)]
    assert len(set(ends)) == len(ends)
    assert schedule.label.is_unique

    def place(rack, unit):
        row, slot = (np.array([int(part) for part in column]) for column in zip(*(name[1:].split("-") for name in rack)))
        return slot * layout.rack_width_m, row * layout.row_depth_m, unit.to_numpy() * UNIT_M

    a, z = place(schedule.a_rack, schedule.a_unit), place(schedule.z_rack, schedule.z_unit)
    # No cable is shorter than the straight line between the racks on the floor, slack added.
    straight = np.hypot(a[0] - z[0], a[1] - z[1]) + 2 * layout.slack_m
    assert (schedule.route_m >= straight - 1e-3).all()
    assert (schedule.length_m >= schedule.route_m - 1e-3).all()
    assert set(schedule.length_m) <= set(layout.stocked_lengths_m)
    # A grade reaches its longest link; a link on a port of its own at both ends has the first grade that reaches it.
    lane_gbps = int(schedule.lanes[0].partition("x")[2].removesuffix("G"))
    assert len({text.partition("x")[2] for text in schedule.lanes}) == 1
    reach = {GRADES[kind.grade].name: kind.reach_m for kind in MODULE_KINDS if kind.lane_gbps == lane_gbps}
    cages = [*zip(schedule.a_device, schedule.a_cage)], [*zip(schedule.z_device, schedule.z_cage)]
    used = Counter(cages[0] + cages[1])
    alone = [used[a] == used[z] == 1 for a, z in zip(*cages)]
    for length, medium, module, single in zip(schedule.length_m, schedule.medium, schedule.z_module, alone):
        assert length <= reach[medium]
        if single:
            assert medium == next(name for name, most in reach.items() if length <= most)
        assert bool(module) == ("fibre" in medium)


@settings(max_examples=40)
@given(fabrics, layouts)
def test_devices_do_not_overlap_in_their_racks(fabric, layout):
    place = layout.place(fabric)
    units = set()
    for rack, unit, height in zip(place.rack_names(), place.unit.tolist(), place.units.tolist()):
        assert 1 <= unit <= unit + height - 1 <= layout.rack_units
        taken = {(rack, u) for u in range(unit, unit + height)}
        assert not taken & units
        units |= taken


@settings(max_examples=40)
@given(fabrics)
def test_names_parse_back_to_nodes_and_ports(fabric):
    wired = [c for c in range(len(fabric.cables)) if c not in set(fabric.nvlink_cable.tolist())]
    native = {g.name + str(i): g.model.port_gbps for g in fabric.groups for i in range(g.count)}
    cables = fabric.cables
    for number, (a, z) in zip(wired, Wiring.of(fabric).cables):
        nodes, ports = (cables.a[number], cables.b[number]), (cables.a_port[number], cables.b_port[number])
        for (device, name), node, port in zip((a, z), nodes, ports):
            parsed, server = parse_port(name), parse_server(device)
            if isinstance(parsed, NicPort):
                assert server * fabric.gpus_per_server + parsed.gpu == node
                assert parsed.port == port
            else:
                assert isinstance(parsed, PanelPort)
                assert server is None
                assert fabric.node_name(int(node)) == device
                lanes = round(native[device] / cables.gbps[number])
                assert (parsed.port - 1) * lanes + (parsed.lane or 0) == port
                assert (parsed.lane is None) == (lanes == 1)


def matching(pairs):
    cables = tuple(WiredCable(Port(f"d{a}", "1"), Port(f"d{z}", "1")) for a, z in pairs)
    return Wiring("drawn", cables, tuple(range(1, len(cables) + 1)))


def as_set(wiring):
    return {frozenset(cable) for cable in wiring.cables}


def matchings(ports):
    """Draw a matching of some of the ports."""
    return st.builds(
        lambda order, count: [(order[2 * i], order[2 * i + 1]) for i in range(count)],
        st.permutations(range(ports)),
        st.integers(0, ports // 2),
    )


@given(matchings(24), matchings(24))
def test_every_correction_gives_the_plan(planned, present):
    plan, found = matching(planned), matching(present)
    report = verify(plan, found)
    assert as_set(apply_correction(found, report.correction)) == as_set(plan)
    wrong = sum(len(report.cables(kind)) for kind in ("swapped", "miswired", "extra"))
    assert report.correct + wrong == report.found
    by_plan = sum(len(report.cables(kind)) for kind in ("swapped", "miswired", "missing"))
    assert report.correct + by_plan == report.planned


@given(st.permutations(range(16)))
def test_permuted_far_ends_are_swapped_cables_only(order):
    plan = matching([(i, 16 + i) for i in range(16)])
    found = matching([(i, 16 + order[i]) for i in range(16)])
    report = verify(plan, found)
    moved = sum(i != target for i, target in enumerate(order))
    rings, seen = 0, set()
    for start in range(16):
        if start not in seen and order[start] != start:
            rings += 1
        while start not in seen:
            seen.add(start)
            start = order[start]
    assert len(report.cables("swapped")) == moved
    assert len(report.correction) == moved - rings
    assert as_set(apply_correction(found, report.correction)) == as_set(plan)


@cache
def distances(plan, ports):
    """Return the fewest steps from the plan to every matching of the ports, by breadth-first search over all steps."""
    reached, queue = {plan: 0}, deque([plan])
    while queue:
        state = queue.popleft()
        used = {port for pair in state for port in pair}
        free = [port for port in range(ports) if port not in used]
        after = [state - {pair} for pair in state] + [state | {frozenset(pair)} for pair in combinations(free, 2)]
        for pair in state:
            for keep in pair:
                after += [state - {pair} | {frozenset((keep, spare))} for spare in free]
        for one, two in combinations(state, 2):
            (a, b), (c, d) = sorted(one), sorted(two)
            after += [state - {one, two} | {frozenset(x), frozenset(y)} for x, y in (((a, c), (b, d)), ((a, d), (b, c)))]
        for new in map(frozenset, after):
            if new not in reached:
                reached[new] = reached[state] + 1
                queue.append(new)
    return reached


@given(st.integers(0, 4), matchings(8))
def test_no_shorter_correction_exists(count, present):
    """Every step can be undone by one, so that the distance from the plan is the distance to it."""
    planned = [(2 * i, 2 * i + 1) for i in range(count)]
    fewest = distances(frozenset(map(frozenset, planned)), 8)[frozenset(map(frozenset, present))]
    assert len(verify(matching(planned), matching(present)).correction) == fewest
