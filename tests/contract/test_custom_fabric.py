"""A fabric from a list of links is the fabric it was exported from."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.ports import native_ports_used
from zcube.fabric.wiring.formats import export_fabric
from zcube.routing.bisection import halving_bisection
from zcube.routing.catalog import routing_for
from zcube.routing.path_lengths import path_lengths

TOPOLOGY = 'family = "custom"\nlinks = "{links}"\n[switch]\nmodel = "25.6T"\nports = 64\nport_gbps = 400\n'


def custom(folder, links):
    (folder / "mine.toml").write_text(TOPOLOGY.format(links=links))
    return load_fabric(str(folder / "mine.toml"))


@pytest.mark.parametrize(("form", "suffix"), [("links", "csv"), ("simai", "txt"), ("graphml", "graphml")])
@pytest.mark.parametrize("name", ["zcube-256", "zcube-n16", "roft-256"])
def test_exported_and_read_back(tmp_path, name, form, suffix):
    original = load_fabric(name)
    export_fabric(original, form, tmp_path / f"links.{suffix}")
    fabric = custom(tmp_path, f"links.{suffix}")
    assert (fabric.gpus, fabric.gpus_per_server, fabric.switches, fabric.nic_ports) == (
        original.gpus, original.gpus_per_server, original.switches, original.nic_ports,
    )  # fmt: skip
    assert path_lengths(fabric).pairs_by_links == path_lengths(original).pairs_by_links
    assert halving_bisection(fabric) == halving_bisection(original)
    if form != "simai":
        assert np.array_equal(native_ports_used(fabric), native_ports_used(original))
        assert [fabric.node_name(node) for node in range(fabric.nodes)] == [
            original.node_name(node) for node in range(original.nodes)
        ]
    source, target = np.array([0, 8, 100]), np.array([9, 250, 8])
    routes = routing_for(fabric).routes(source, target)
    assert not len(routes.unreachable)


def test_unequal_nics_and_unknown_files_are_refused(tmp_path):
    header = "a,a_port,b,b_port,gbps,latency_s\n"
    (tmp_path / "odd.csv").write_text(header + "s0g0,0,leaf0,0,400,0\ns0g0,1,leaf0,1,400,0\ns0g1,0,leaf0,2,400,0\n")
    with pytest.raises(InputError, match="NIC links"):
        custom(tmp_path, "odd.csv")
    (tmp_path / "direct.csv").write_text(header + "s0g0,0,s0g1,0,400,0\n")
    with pytest.raises(InputError, match="GPU to GPU"):
        custom(tmp_path, "direct.csv")
    (tmp_path / "gap.csv").write_text(
        header + "s0g0,0,leaf0,0,400,0\ns0g1,0,leaf0,1,400,0\ns2g0,0,leaf0,2,400,0\ns2g1,0,leaf0,3,400,0\n"
    )
    with pytest.raises(InputError, match="s2g0"):
        custom(tmp_path, "gap.csv")
    with pytest.raises(InputError):
        custom(tmp_path, "missing.csv")
    (tmp_path / "over.csv").write_text(header + "".join(f"s{g // 8}g{g % 8},0,leaf0,{g},400,0\n" for g in range(72)))
    with pytest.raises(InputError, match="72 ports"):
        custom(tmp_path, "over.csv")


def one_switch(gpus, gbps="400Gbps"):
    """SimAI's form of servers of two GPUs under one switch, wider than any that is sold."""
    servers = gpus // 2
    nodes = gpus + servers + 1
    links = [f"{gpu} {gpus + gpu // 2} 3600Gbps 0.000025ms 0\n{gpu} {nodes - 1} {gbps} 0.0005ms 0" for gpu in range(gpus)]
    numbers = " ".join(map(str, range(gpus, nodes)))
    return "\n".join([f"{nodes} 2 {servers} 1 {2 * gpus} H100", numbers, *links]) + "\n"


@pytest.mark.parametrize(("gpus", "ports"), [(8, 64), (96, 128), (512, 512)])
def test_switches_of_a_shape_have_the_ports_it_needs(tmp_path, gpus, ports):
    from zcube.errors import InputError
    from zcube.fabric.catalog import load_fabric
    from zcube.fabric.families.custom import write_topology

    source, topology = tmp_path / "shape.txt", tmp_path / "shape.toml"
    source.write_text(one_switch(gpus))
    write_topology(source, topology)
    fabric = load_fabric(str(topology))
    assert (fabric.gpus, fabric.groups[0].model.ports) == (gpus, ports)
    with pytest.raises(InputError, match=f"a switch of {gpus} ports or more"):
        write_topology(source, topology, gpus - 2, 400.0)
    source.write_text(one_switch(gpus, "800Gbps"))
    write_topology(source, topology)
    assert load_fabric(str(topology)).groups[0].model.port_gbps == 800
