"""Move lists between drawn fabrics lead from one wiring to the other, and say truly which steps cut GPUs off."""

from __future__ import annotations

import sys
from functools import cache
from pathlib import Path

from hypothesis import assume, given, settings
from hypothesis import strategies as st

from zcube.errors import InputError
from zcube.fabric.families.bcube import BCubeSpec
from zcube.fabric.families.dragonfly import DragonflySpec
from zcube.fabric.families.hpn import HpnSpec
from zcube.fabric.families.planes import RailOnlySpec
from zcube.fabric.families.slim_fly import SlimFlySpec
from zcube.fabric.families.spine_leaf import SpineLeafSpec
from zcube.fabric.families.zcube import ZCubeSpec
from zcube.fabric.wiring.cabling import Wiring
from zcube.fabric.wiring.port_names import parse_port, parse_server
from zcube.plan.growth.move_list import moves_csv
from zcube.plan.growth.stages import growth_plan

sys.path.insert(0, str(Path(__file__).parents[1] / "analytic"))
from moves_by_hand import as_set, carried_out, labelled, rows_of, wired

#: Another model than the larger fabric's, or the same with ports to spare.
PORTS = (16, 24)
SPECS = {
    "zcube": ZCubeSpec,
    "spine-leaf": SpineLeafSpec,
    "rail-only": RailOnlySpec,
    "bcube": BCubeSpec,
    "dragonfly": DragonflySpec,
    "slim-fly": SlimFlySpec,
    "hpn": HpnSpec,
}


@cache
def fabric(family, gpus, ports, **keys):
    switch = {"model": f"{ports} ports", "ports": ports, "port_gbps": 400}
    return SPECS[family](gpus=gpus, gpus_per_server=4, switch=switch, **keys).build(f"{family}-{gpus}")


@st.composite
def drawn(draw):
    family = draw(st.sampled_from(["zcube", "zcube", "spine-leaf", "rail-only", "bcube"]))
    ports = draw(st.sampled_from(PORTS))
    keys = {}
    if family == "zcube":
        per_switch = draw(st.sampled_from([8, 16]))
        keys = {"gpus_per_switch": per_switch, "rails": draw(st.sampled_from(["plain", "skewed"]))}
        gpus = per_switch * draw(st.sampled_from([1, 2, 4, 8]))
    elif family == "bcube":
        gpus = draw(st.sampled_from([4, 6, 8])) ** 2
    else:
        gpus = 4 * draw(st.integers(1, 16))
    try:
        return fabric(family, gpus, ports, **keys)
    except (InputError, ValueError):
        assume(False)


@st.composite
def drawn_further(draw):
    """Draw a fabric whose switches are joined without a spine, or of two planes."""
    family = draw(st.sampled_from(["dragonfly", "slim-fly", "hpn"]))
    keys = {
        "dragonfly": {"gpus_per_switch": 2, "groups": draw(st.sampled_from([5, 9]))},
        "slim-fly": {"q": draw(st.sampled_from([3, 4]))},
        "hpn": draw(st.sampled_from([{"tor_down_ports": 4, "tor_uplinks": 2}, {"tor_down_ports": 8, "tor_uplinks": 4}])),
    }[family]
    return fabric(family, 4 * draw(st.integers(2, 10)), draw(st.sampled_from(PORTS)), **keys)


class Joined:
    """Pairs of GPUs joined by cables through switches, found afresh from the cables alone."""

    def __init__(self, cables, forward):
        group: dict = {}

        def root(node):
            while group.setdefault(node, node) != node:
                node = group[node]
            return node

        nodes = [[self.node(plug) for plug in plugs] for plugs in cables]
        for a, z in nodes:
            if forward or not (a[0] == "gpu" or z[0] == "gpu"):
                group[root(a)] = root(z)
        self.at: dict = {}
        for a, z in nodes:
            for one, other in ((a, z), (z, a)):
                if one[0] == "gpu":
                    self.at.setdefault(one, set()).add(root(one) if forward else root(other))

    @staticmethod
    def node(plug):
        server = parse_server(plug[0])
        return ("switch", plug[0]) if server is None else ("gpu", server, parse_port(plug[1]).gpu)

    def pairs(self, gpus):
        return {
            (one, other)
            for one in gpus
            for other in gpus
            if one < other and self.at.get(one, set()) & self.at.get(other, set())
        }


@settings(max_examples=60)
@given(drawn(), drawn(), st.sampled_from(["planned", "switches", "all"]))
def test_lists_reach_the_new_wiring_and_tell_what_they_cut_off(start, target, names):
    check(start, target, names)


@settings(max_examples=25)
@given(drawn_further(), drawn_further() | drawn(), st.sampled_from(["planned", "switches", "all"]))
def test_so_do_lists_between_dragonflies_slim_flies_and_planes(start, target, names):
    check(start, target, names)


def check(start, target, names):
    assume(start.gpus <= target.gpus)
    try:
        stage = growth_plan(start, [target], names=names).stages[0]
    except InputError as error:
        assert "leave no room" in str(error)
        return
    forward = start.structure.hosts_forward
    cables = labelled(Wiring.of(start))
    renamed = {f"server{server}": name for server, name in enumerate(_became(start, stage))}
    at_first = [[(renamed.get(device, device), port) for device, port in plugs] for plugs in cables.values()]
    service = sorted({node for plugs in at_first for node in map(Joined.node, plugs) if node[0] == "gpu"})
    wanted = Joined(at_first, forward).pairs(service)
    for row, down in carried_out(cables, rows_of(moves_csv(stage.moves))):
        up = [plugs for label, plugs in cables.items() if label not in down]
        whole = wanted <= Joined(up, forward).pairs(service)
        assert whole == (int(row["gpus_cut_off"]) == 0), row
    assert as_set(cables) == wired(stage.fabric)
    assert stage.kept + stage.moved + stage.removed == stage.old_links
    assert stage.kept + stage.moved + stage.added == len(stage.labels)
    assert stage.kept_by_names["planned"] <= stage.kept_by_names["switches"] <= stage.kept_by_names["all"] <= stage.most_kept


def _became(start, stage):
    """Return the name that each server ends up with, from the list's rows."""
    name = {f"server{server}": f"server{server}" for server in range(start.servers)}
    for move in stage.moves:
        if move.action == "relabel":
            first = next((one for one, other in name.items() if other == move.from_device), None)
            if first is not None:
                name[first] = move.to_device
    return list(name.values())


@settings(max_examples=30)
@given(drawn(), st.sampled_from(["planned", "all"]))
def test_a_fabric_grows_into_itself_by_nothing(start, names):
    stage = growth_plan(start, [start], names=names).stages[0]
    assert (stage.kept, stage.moved, stage.removed, stage.added, stage.moves) == (stage.old_links, 0, 0, 0, ())
