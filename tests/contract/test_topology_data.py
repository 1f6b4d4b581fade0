"""What a page holds of fabrics: arrays unpack to what was packed, nothing is lost in the groups, and its size is bounded."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import CableKind
from zcube.network.load_over_time import LINKS_KEPT
from zcube.outputs import to_json
from zcube.report import topology
from zcube.report.packed import TYPES, packed, smallest, unpacked
from zcube.report.topology import explored, fabric_structure, topology_section
from zcube.seeds import stream

FABRICS = ["roft-1024", "zcube-1024", "dragonfly-1056", "slim-fly-1024", "bcube-1024", "hpn-4096", "rail-only-4096"]


@pytest.mark.parametrize("kind", TYPES)
def test_arrays_unpack_to_what_was_packed(kind):
    values = np.array([0, 1, 200, 255, 7]) if kind.startswith("u") else stream(0, kind).normal(size=50).astype(kind)
    np.testing.assert_array_equal(unpacked(packed(values, kind)), values)
    assert unpacked(packed(values[:0], kind)).size == 0


def test_what_does_not_fit_is_refused():
    for values, kind in (([256], "u1"), ([-1], "u4"), ([1 << 32], "u4")):
        with pytest.raises(ValueError, match="do not fit"):
            packed(np.array(values), kind)
    assert [smallest(np.array([most])) for most in (255, 256, 65536)] == ["u1", "u2", "u4"]


@pytest.mark.parametrize("name", FABRICS)
def test_every_switch_and_server_stands_in_one_box(name):
    fabric = load_fabric(name)
    structure = fabric_structure(fabric)

    def numbers(runs):
        return [first + at for first, count in runs for at in range(count)]

    servers = [server for block in structure["blocks"] for server in numbers(block)]
    switches = [node for row in structure["rows"] for box in row for node in numbers(box)]
    assert sorted(servers) == list(range(fabric.servers))
    assert sorted(switches) == list(range(fabric.gpus, fabric.gpus + fabric.switches))
    assert max(len(row) for row in [structure["blocks"], *structure["rows"]]) <= topology.MOST_BOXES
    ends = np.stack([unpacked(structure[end]) for end in ("a", "b")])
    kept = fabric.cables.kind != CableKind.NVLINK
    np.testing.assert_array_equal(ends, np.stack([fabric.cables.a[kept], fabric.cables.b[kept]]))
    assert structure["names"] == [fabric.node_name(node) for node in range(fabric.gpus, fabric.gpus + fabric.switches)]


def full_load(name: str):
    """Return a fabric's structure with tables in which every link has a load of its own, no two alike."""
    fabric, rng = load_fabric(name), stream(1, name)
    capacity, names = fabric.link_capacity_bps, np.array([fabric.node_name(node) for node in range(fabric.nodes)], dtype=object)
    used = rng.uniform(0.0, 1.0, fabric.links)
    columns = {"from": names[fabric.link_source], "to": names[fabric.link_target], "capacity_bps": capacity}
    links = pd.DataFrame({**columns, "bytes": used * capacity / 8 * 60.0, "peak_flows": rng.integers(1, 90, fabric.links)})
    bins, pieces = 240, []
    for what, count in (("switch", fabric.switches), ("link", LINKS_KEPT)):
        start_s = np.repeat(np.arange(bins) * 0.25, count)
        random = {key: rng.uniform(0, 1, bins * count) for key in ("utilisation", "fullest_link_utilisation")}
        times = {"bin_start_s": start_s, "bin_end_s": start_s + 0.25}
        pieces.append(pd.DataFrame({"of": what, "link": np.tile(np.arange(count), bins), **times, **random}))
    return fabric, explored(fabric_structure(fabric), links.assign(utilisation=used), pd.concat(pieces), 60.0), links


def test_sums_of_nodes_are_those_of_their_links():
    fabric, value, links = full_load("zcube-256")
    nodes = {key: unpacked(found) for key, found in value["load"]["nodes"].items()}
    nic_and_switch = links.iloc[: 2 * value["cables"]]
    for way, column in (("out", "from"), ("in", "to")):
        sums = nic_and_switch.groupby(column)["bytes"].sum()
        for place, name in enumerate(value["names"], start=fabric.servers):
            assert nodes[f"{way}_bytes"][place] == pytest.approx(sums[name])
        of_gpus = sums[[f"s5g{gpu}" for gpu in range(fabric.gpus_per_server)]].sum()
        assert nodes[f"{way}_bytes"][5] == pytest.approx(of_gpus)


def test_four_full_fabrics_take_less_than_a_page_may():
    names = ["roft-1024", "zcube-1024", "planes8-1024", "hpn-1024"]
    section = topology_section({name: full_load(name)[1] for name in names})
    # Random loads do not compress; what else a page holds is to fit into 3 MB beside them.
    assert len(to_json(section.data)) < 2_200_000


def test_links_beyond_the_fullest_are_said_to_be_left_out(monkeypatch):
    monkeypatch.setattr(topology, "MOST_LOADED_LINKS", 10)
    _, value, links = full_load("roft-32")
    used = (8 * links["bytes"] / (links["capacity_bps"] * 60.0))[: 2 * value["cables"]].sort_values(ascending=False)
    assert value["load"]["left_out"] == len(used) - 10
    assert value["load"]["fullest_left_out"] == pytest.approx(used.iloc[10])
    assert sorted(unpacked(value["load"]["link"])) == sorted(used.index[:10])


def test_too_large_a_fabric_says_so(monkeypatch):
    monkeypatch.setattr(topology, "MOST_CABLES", 100)
    structure = fabric_structure(load_fabric("roft-256"))
    assert "too many" in structure["too_many"]
    assert explored(structure)["load"] is None
