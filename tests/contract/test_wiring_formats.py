"""Wiring files: what is written reads back, follows the consumer's rules, and faults carry their line."""

from __future__ import annotations

import csv
import io
import re

import numpy as np
import pytest

from zcube.errors import InputError, OutputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.custom import write_topology
from zcube.fabric.optics import optics_of
from zcube.fabric.wiring.astra import dimensions
from zcube.fabric.wiring.cabling import EXACT, Wiring
from zcube.fabric.wiring.formats import FORMATS, detect_format, export_fabric, read_links, read_wiring
from zcube.fabric.wiring.ibdiagnet import ibdiagnet_text
from zcube.fabric.wiring.link_list import NO_PORT, LinkList, NodeRole
from zcube.fabric.wiring.netbox import netbox_csv
from zcube.fabric.wiring.ns3 import host_numbers, ns3_text
from zcube.fabric.wiring.rack_layout import RackLayout
from zcube.fabric.wiring.simai import simai_text


@pytest.fixture(scope="module")
def n16():
    return load_fabric("zcube-n16")


@pytest.fixture(scope="module", params=["zcube-n16", "roft-256", "zcube-256"])
def fabric(request):
    return load_fabric(request.param)


def written(tmp_path, text, name="file.txt"):
    path = tmp_path / name
    path.write_text(text)
    return path


def links_as_set(links: LinkList, *, ports: bool):
    rows = zip(links.a, links.b, links.a_port, links.b_port, links.gbps, links.latency_s)
    return sorted((*sorted([(a, p if ports else 0), (b, q if ports else 0)]), g, t) for a, b, p, q, g, t in rows)


# --- SimAI -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("n", [16, 32, 64])
def test_simai_file_is_the_formula(n):
    """GPUs, NVSwitches, A, B in this order; GPU g to its NVSwitch, A[g // n] and B[g % n], then every A to every B."""
    gpus, servers = n * n, n * n // 8
    first_a = gpus + servers
    lines = [f"{gpus + servers + 2 * n} 8 {servers} {2 * n} {3 * gpus + n * n} H100"]
    lines.append(" ".join(map(str, range(gpus, gpus + servers + 2 * n))))
    for g in range(gpus):
        lines.append(f"{g} {gpus + g // 8} 3600Gbps 0.000025ms 0")
        lines.append(f"{g} {first_a + g // n} 200Gbps 0.0005ms 0")
        lines.append(f"{g} {first_a + n + g % n} 200Gbps 0.0005ms 0")
    for a in range(n):
        lines += [f"{first_a + a} {first_a + n + b} 200Gbps 0.0005ms 0" for b in range(n)]
    assert simai_text(load_fabric(f"zcube-n{n}")).splitlines() == lines
    if n == 16:
        assert lines[0] == "320 8 32 32 1024 H100"


def test_simai_round_trip_keeps_every_link_rate_and_delay(fabric, tmp_path):
    path = tmp_path / "t.txt"
    export_fabric(fabric, "simai", path)
    back = read_links(path)
    assert back.gpus == fabric.gpus
    assert back.gpus_per_server == fabric.gpus_per_server
    assert (back.roles == NodeRole.SWITCH).sum() == fabric.switches
    assert (back.a_port == NO_PORT).all()
    # Switches lose their names but not their order, so that node numbers are the fabric's again.
    assert links_as_set(back, ports=False) == links_as_set(LinkList.of(fabric), ports=False)


def test_simai_accepts_switch_numbers_on_two_lines_and_other_units(tmp_path):
    text = "5 2 1 2 4 A100\n2\n3 4\n0 2 3.6Tbps 25ns 0\n1 2 3600Gbps 0.025us 0.0\n0 3 200000Mbps 0.0005ms 0\n"
    text += "3 4 200Gb/s 5us 0\n"
    links = read_links(written(tmp_path, text))
    assert links.names == ("s0g0", "s0g1", "switch0", "switch1", "s0nvswitch")
    assert links.gbps.tolist() == [3600, 3600, 200, 200]
    assert links.latency_s.tolist() == [2.5e-8, 2.5e-8, 5e-7, 5e-6]


def test_simai_faults_are_all_named_by_line(tmp_path):
    text = "5 2 1 2 4 A100\n2 3 4\n0 9 200Gbps 1us 0\n0 3 fast 1us 0\n0 3 200Gbps soon 0\n0 3 200Gbps 1us 0.1\n1 3\n"
    with pytest.raises(InputError) as caught:
        read_links(written(tmp_path, text))
    message = str(caught.value)
    assert [f"line {line}:" in message for line in range(3, 8)] == [True] * 5
    assert "4 links announced" in message


@pytest.mark.parametrize("head", ["5 2 1 2", "5 2 1 2 x H100", "5 2 1 4 1 H100", "999999999 1 0 0 1 H100", "5 3 1 2 1 H100"])
def test_simai_heads_that_cannot_be(head, tmp_path):
    with pytest.raises(InputError):
        FORMATS["simai"].read_links(written(tmp_path, head + "\n2 3 4\n"))


# --- GraphML and link lists ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["graphml", "links"])
def test_link_formats_round_trip_with_names_and_ports(name, fabric, tmp_path):
    path = tmp_path / "t"
    export_fabric(fabric, name, path)
    back, plan = read_links(path), LinkList.of(fabric)
    assert sorted(back.names) == sorted(plan.names)

    def named(links):
        ends = zip(links.a.tolist(), links.a_port.tolist(), links.b.tolist(), links.b_port.tolist())
        rates = zip(links.gbps.tolist(), links.latency_s.tolist())
        return sorted((links.names[a], p, links.names[b], q, *r) for (a, p, b, q), r in zip(ends, rates))

    assert named(back) == named(plan)


def test_link_list_counts_follow_the_names(tmp_path):
    text = "a,a_port,b,b_port,gbps,latency_s\ns0g0,0,leaf0,0,400,5e-7\ns0g1,,leaf0,,400,0\ns0g0,0,s0nvswitch,0,3600,0\n"
    links = read_links(written(tmp_path, text))
    assert links.names == ("s0g0", "s0g1", "leaf0", "s0nvswitch")
    assert (links.gpus, links.gpus_per_server) == (2, 2)
    np.testing.assert_array_equal(links.a_port, [0, NO_PORT, 0])


def test_link_list_faults_are_all_named_by_line(tmp_path):
    rows = [
        "s0g0,0,leaf0,0,400,5e-7",
        "s0g1,0,leaf0,0,400,5e-7",  # leaf0 port 0 again
        "=cmd(),0,leaf0,1,400,5e-7",
        "s0g2,x,leaf0,2,nan,5e-7",
        "leaf0,,leaf0,,400,-1",
        "s0g3,0,leaf0",
    ]
    with pytest.raises(InputError) as caught:
        read_links(written(tmp_path, "a,a_port,b,b_port,gbps,latency_s\n" + "\n".join(rows) + "\n"))
    places = [re.search(r"line (\d+)", fault.where)[1] for fault in caught.value.faults]
    assert sorted(places) == ["3", "4", "5", "5", "6", "6", "7"]


@pytest.mark.parametrize("name", ["roft-256", "zcube-256"])
def test_a_pair_of_arcs_is_one_cable(name, tmp_path):
    """A directed graph, as tools write that know one direction only: NICs keep their rate."""
    import networkx

    from zcube.fabric.wiring.graphml import graph_of

    plan = LinkList.of(load_fabric(name))
    directed = networkx.MultiDiGraph(graph_of(plan))
    path = tmp_path / "d.graphml"
    networkx.write_graphml(directed, path, named_key_ids=True)
    back = read_links(path)
    assert links_as_set(back, ports=True) == links_as_set(plan, ports=True)
    assert len(back.a) == len(plan.a)
    # Without ports and names of ends, whole and real numbers mixed.
    for _, _, data in directed.edges(data=True):
        for key in ("a", "a_port", "b_port", "medium"):
            data.pop(key, None)
    first = next(iter(directed.edges(data=True)))[2]
    first["gbps"] = int(first["gbps"])
    networkx.write_graphml(directed, path)
    assert len(read_links(path).a) == len(plan.a)


def test_an_arc_without_its_pair_is_refused(tmp_path):
    import networkx

    graph = networkx.MultiDiGraph()
    for u, v, gbps in (("s0g0", "leaf0", 400), ("leaf0", "s0g0", 200), ("s0g1", "leaf0", 400), ("leaf0", "s0g1", 400)):
        graph.add_edge(u, v, gbps=gbps, latency_s=5e-7)
    path = tmp_path / "d.graphml"
    networkx.write_graphml(graph, path)
    with pytest.raises(InputError, match="an equal arc back") as caught:
        read_links(path)
    assert len(caught.value.faults) == 2


def test_graphml_with_entities_is_refused(tmp_path):
    bomb = '<?xml version="1.0"?><!DOCTYPE g [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><graphml>&b;</graphml>'
    with pytest.raises(InputError, match="document type"):
        FORMATS["graphml"].read_links(written(tmp_path, bomb))


@pytest.mark.parametrize("text", ["<graphml", "<graphml></graphml>", "<graphml><graph><edge/></graph></graphml>"])
def test_broken_graphml_is_an_input_error(text, tmp_path):
    with pytest.raises(InputError):
        read_links(written(tmp_path, text))


# --- Wirings ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", [name for name, entry in FORMATS.items() if entry.write and entry.read_wiring])
def test_wiring_formats_round_trip_and_are_told_by_content(name, fabric, tmp_path):
    path = tmp_path / "no-suffix"
    export_fabric(fabric, name, path)
    assert detect_format(path.read_text()) == name
    assert read_wiring(path).partners(EXACT) == Wiring.of(fabric).partners(EXACT)


def test_ptm_example_parses_with_comments_and_attributes(tmp_path):
    text = """# made by hand
/* two
   lines */
graph G {
    hostidtype="hostname"
    graph [rankdir=LR]
    node [shape=record];
    "leaf1" [role="leaf"]
    "spine1":"swp1" -- "leaf1":"swp1";  // trunk
    "leaf1":"swp5s0" -- "server1":"eth1" [color="red", label="a;b"]
    leaf2:swp1--spine1:swp2
}
"""
    wiring = read_wiring(written(tmp_path, text))
    assert [str(cable) for cable in wiring.cables] == [
        "spine1:swp1 -- leaf1:swp1",
        "leaf1:swp5s0 -- server1:eth1",
        "leaf2:swp1 -- spine1:swp2",
    ]
    assert wiring.lines == (9, 10, 11)


def test_ptm_faults_are_all_named_by_line(tmp_path):
    text = 'graph G {\n"a":"1" -- "b";\n"a":"2" -> "b":"2";\n"a":"3" -- "b":"3";\n"c":"1" -- "b":"\x1b[2J";\nsubgraph {\n}\n'
    with pytest.raises(InputError) as caught:
        read_wiring(written(tmp_path, text))
    message = str(caught.value)
    assert all(f"line {line}:" in message for line in (2, 3, 5, 6))
    assert "line 4:" not in message
    assert "\x1b" not in message


@pytest.mark.parametrize("text", ['graph G {\n"a', "graph G {\n/* x", "graph G {", "digraph G { }", "graph", 'graph G { } "a"'])
def test_broken_dot_is_an_input_error(text, tmp_path):
    with pytest.raises(InputError):
        FORMATS["ptm"].read_wiring(written(tmp_path, text))


def test_ptm_parses_with_pydot(n16, tmp_path):
    pydot = pytest.importorskip("pydot", reason="pydot is not installed: pip install pydot")
    path = tmp_path / "topology.dot"
    export_fabric(n16, "ptm", path)
    (graph,) = pydot.graph_from_dot_file(str(path))
    assert graph.get_type() == "graph"

    def ends(edge):
        both = (edge.get_source(), edge.get_destination())
        return frozenset(tuple(re.findall(r'"([^"]*)"', end)) for end in both)

    plan = {frozenset((tuple(a), tuple(z))) for a, z in Wiring.of(n16).cables}
    assert {ends(edge) for edge in graph.get_edges()} == plan


def test_netbox_rows_follow_its_import_rules(n16):
    """Independent of the writer: NetBox's column names, choices and lengths (dcim choices and model fields)."""
    rows = list(csv.DictReader(io.StringIO(netbox_csv(n16, RackLayout())), strict=True))
    assert len(rows) == 768
    required = [f"side_{side}_{key}" for side in "ab" for key in ("device", "type", "name")]
    optional = ["type", "status", "tenant", "label", "color", "length", "length_unit", "description", "comments", "tags"]
    assert list(rows[0]) == required + optional
    terminations = []
    for row in rows:
        assert None not in row
        assert row["side_a_type"] == row["side_b_type"] == "dcim.interface"
        assert row["type"] in {"dac-passive", "dac-active", "mmf-om4", "smf-os2", "aoc"}
        assert row["status"] in {"planned", "connected"}
        assert row["length_unit"] == "m"
        assert re.fullmatch(r"\d{1,6}(\.\d{1,2})?", row["length"])
        assert len(row["label"]) <= 100
        assert len(row["description"]) <= 200
        for side in "ab":
            assert 1 <= len(row[f"side_{side}_device"]) <= 64
            assert 1 <= len(row[f"side_{side}_name"]) <= 64
            terminations.append((row[f"side_{side}_device"], row[f"side_{side}_name"]))
    assert len(set(terminations)) == len(terminations)
    assert len({row["label"] for row in rows}) == len(rows)


def test_netbox_sides_other_than_interfaces_are_faults(tmp_path):
    head = "side_a_device,side_a_type,side_a_name,side_b_device,side_b_type,side_b_name\n"
    with pytest.raises(InputError, match=r"line 3: found side_b_type 'dcim.rearport'"):
        read_wiring(written(tmp_path, head + "a,dcim.interface,1,b,dcim.interface,1\na,dcim.interface,2,p,dcim.rearport,1\n"))


def test_ibdiagnet_example_parses(tmp_path):
    text = """MQM8700 sw-ufm-hdr01
   P2 -4x-50G-> HCA_mlx5_3 swx-ufm3-04 mlx5_0/P1
   P40 -4x-50G-> MQM9700 sw-ufm-ndr05 P62

MQM9700 sw-ufm-ndr05
    P61 -4x-50G-> MQM8700 sw-ufm-hdr01 P39
    P62 -4x-50G-> MQM8700 sw-ufm-hdr01 P40
"""
    wiring = read_wiring(written(tmp_path, text))
    assert len(wiring.partners(EXACT)) == 2 * 3
    assert str(wiring.cables[0]) == "sw-ufm-hdr01:swp2 -- swx-ufm3-04:gpu0p0"


def test_ibdiagnet_blocks_and_lanes(n16):
    """A block per switch, a blank line between, 32 ports each; 200G of a 400G port is two of four 100G lanes."""
    blocks = ibdiagnet_text(n16).strip().split("\n\n")
    assert len(blocks) == 32
    for block in blocks:
        head, *ports = block.split("\n")
        assert len(head.split()) == 2
        assert len(ports) == 32
        assert all(re.fullmatch(r" +P\d+/[12] -2x-100G-> \S+ \S+ \S+", line) for line in ports)


def test_contradicting_lldp_ends_are_faults(tmp_path):
    text = "local_device,local_port,remote_device,remote_port\nleaf1,swp1,spine1,swp1\nspine1,swp1,leaf2,swp9\n"
    with pytest.raises(InputError, match=r"line 3.*spine1:swp1 joined to leaf2:swp9, but joined to leaf1:swp1 at line 2"):
        read_wiring(written(tmp_path, text))


@pytest.mark.parametrize("text", ["", "hello\n", "a,b,c\n1,2,3\n", "\x00\x01", "x" * 300_000])
def test_unknown_content_is_an_input_error(text, tmp_path):
    path = written(tmp_path, text)
    for read in (read_wiring, read_links):
        with pytest.raises(InputError, match="unknown format"):
            read(path)


def test_a_whole_fabric_is_no_wiring_and_the_reverse(n16, tmp_path):
    export_fabric(n16, "simai", tmp_path / "s")
    export_fabric(n16, "ptm", tmp_path / "p")
    with pytest.raises(InputError, match="SimAI"):
        read_wiring(tmp_path / "s")
    with pytest.raises(InputError, match="PTM"):
        read_links(tmp_path / "p")


def test_export_faults(n16, tmp_path):
    with pytest.raises(InputError, match="one of simai"):
        export_fabric(n16, "lldp", tmp_path / "x")
    with pytest.raises(OutputError, match=r"missing/x cannot be written: No such file"):
        export_fabric(n16, "ptm", tmp_path / "missing" / "x")
    with pytest.raises(InputError, match="longest stocked length"):
        export_fabric(n16, "netbox", tmp_path / "x", RackLayout(stocked_lengths_m=(1.0, 2.0)))
    assert list(tmp_path.iterdir()) == []


# --- NetBox files as people export them


NETBOX_HEAD = "side_a_device,side_a_type,side_a_name,side_b_device,side_b_type,side_b_name\n"


@pytest.mark.parametrize("kind", [("dcim.powerport", "dcim.poweroutlet"), ("dcim.consoleport", "dcim.consoleserverport")])
def test_cables_of_power_and_consoles_are_left_out(tmp_path, kind):
    plain = "a,dcim.interface,swp1,b,dcim.interface,swp2\n"
    other = f"a,{kind[0]},PSU1,pdu,{kind[1]},4\n"
    found, expected = (read_wiring(written(tmp_path, NETBOX_HEAD + text)) for text in (plain + other, plain))
    assert [str(cable) for cable in found.cables] == [str(cable) for cable in expected.cables]


def test_terminations_that_a_comma_joins_are_a_link_each(tmp_path):
    joined = 'a,dcim.interface,"swp1, swp2",b,dcim.interface,"swp3,swp4"\n'
    apart = "a,dcim.interface,swp1,b,dcim.interface,swp3\na,dcim.interface,swp2,b,dcim.interface,swp4\n"
    found, expected = (read_wiring(written(tmp_path, NETBOX_HEAD + text)) for text in (joined, apart))
    assert [str(cable) for cable in found.cables] == [str(cable) for cable in expected.cables]
    devices = read_wiring(written(tmp_path, NETBOX_HEAD + '"a,c",dcim.interface,"swp1,swp2",b,dcim.interface,"swp3,swp4"\n'))
    assert str(devices.cables[1]).startswith("c:") or str(devices.cables[1]).endswith("swp4")
    with pytest.raises(InputError, match="2 terminations on side a, 1 on side b"):
        read_wiring(written(tmp_path, NETBOX_HEAD + 'a,dcim.interface,"swp1,swp2",b,dcim.interface,swp3\n'))


# --- ns-3 of HPCC and ASTRA-sim --------------------------------------------------------------------------------------


def test_ns3_file_is_the_formula():
    """Head of three numbers, GPUs first, NVSwitches as switches and named behind the links; the links are the SimAI file's."""
    fabric = load_fabric("zcube-n16")
    head, switches, *links, inside = ns3_text(fabric).splitlines()
    assert inside == "nvswitches " + " ".join(map(str, range(256, 288)))
    assert head == "320 64 1024"
    assert switches == " ".join(map(str, range(256, 320)))
    assert links == simai_text(fabric).splitlines()[2:]


def test_ns3_round_trip_keeps_every_link_rate_and_delay(fabric, tmp_path):
    path = tmp_path / "t.txt"
    export_fabric(fabric, "ns3", path)
    back = read_links(path)
    plan = LinkList.of(fabric)
    assert (back.gpus, back.gpus_per_server) == (fabric.gpus, fabric.gpus_per_server)
    assert back.roles.tolist() == plan.roles.tolist()
    assert links_as_set(back, ports=False) == links_as_set(plan, ports=False)


@pytest.mark.parametrize("name", ["zcube-32", "roft-32", "zcube-288-nvl72", "zcube-512-a3"])
@pytest.mark.parametrize("form", [name for name, entry in FORMATS.items() if entry.write and entry.read_links])
def test_a_fabric_read_back_from_any_format_can_be_shown(form, name, tmp_path):
    """Servers, NVLink and optics are those of the fabric that was written, whatever the format."""
    fabric, path = load_fabric(name), tmp_path / "t"
    export_fabric(fabric, form, path)
    write_topology(path, tmp_path / "back.toml")
    back = load_fabric(str(tmp_path / "back.toml"))
    assert (back.gpus_per_server, back.switches) == (fabric.gpus_per_server, fabric.switches)
    nvlinks = [(one.cables.gbps[one.nvlink_cable], one.cables.latency_s[one.nvlink_cable]) for one in (back, fabric)]
    assert np.array(nvlinks[0]) == pytest.approx(np.array(nvlinks[1]), rel=1e-12)
    assert optics_of(back, "paper").link_lanes.sum() == optics_of(fabric, "paper").link_lanes.sum()


def test_ns3_without_named_nvswitches_is_refused_where_no_module_joins_their_links(tmp_path):
    lines = ns3_text(load_fabric("zcube-32")).splitlines()
    path = written(tmp_path, "\n".join(line for line in lines if not line.startswith("nvswitches")))
    with pytest.raises(InputError, match="link of 3600G"):
        write_topology(path, tmp_path / "t.toml")
    assert not (tmp_path / "t.toml").exists()


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("nvswitches", "line 5: found nvswitches"),
        ("nvswitches 1", "line 5: found nvswitches 1"),
        ("nvswitches 0 0", "line 5: found nvswitches 0 0"),
        ("nvswitches x", "line 5: found nvswitches x"),
        ("nvswitches 0 4", "2 NVSwitches for 3 hosts"),
        ("nvswitches 4", "s0nvswitch joined to switch0"),
    ],
)
def test_ns3_nvswitches_that_cannot_be(line, found, tmp_path):
    text = f"5 2 2\n0 4\n1 0 100Gbps 1us 0\n0 4 100Gbps 1us 0\n{line}\n"
    with pytest.raises(InputError, match=found):
        read_links(written(tmp_path, text))


def test_nvlink_of_two_rates_is_refused(tmp_path):
    rows = "s0g0,,s0nvswitch,,3600,0\ns1g0,,s1nvswitch,,7200,0\ns0g0,,leaf,,400,0\ns1g0,,leaf,,400,0\n"
    path = written(tmp_path, "a,a_port,b,b_port,gbps,latency_s\n" + rows)
    with pytest.raises(InputError, match="3600 to 7200 Gb/s"):
        write_topology(path, tmp_path / "t.toml")


#: As HPCC ships one: switch 0, hosts behind it, one line more than announced.
HPCC = "4 1 3\n0\n0 1 100Gbps 0.001ms 0\n0 2 100Gbps 1000ns 0.000000\n0 3 100Gbps 1us 0\n0 9 100Gbps 1us 0\n"


def test_ns3_hosts_are_gpus_in_order_wherever_switches_are_numbered(tmp_path):
    path = written(tmp_path, HPCC)
    links = read_links(path)
    assert links.names == ("s0g0", "s1g0", "s2g0", "switch0")
    assert links.latency_s.tolist() == [1e-6] * 3
    assert host_numbers(path) == (1, 2, 3)


def test_ns3_hosts_alone_are_written_without_nvswitches(tmp_path):
    write_topology(written(tmp_path, HPCC), tmp_path / "mine.toml")
    text = ns3_text(load_fabric(str(tmp_path / "mine.toml")))
    assert text == "4 1 3\n3\n" + "".join(f"{host} 3 100Gbps 0.001ms 0\n" for host in range(3))


def test_ns3_faults_are_all_named_by_line(tmp_path):
    text = "4 1 5\n0\n0 9 100Gbps 1us 0\n0 1 fast 1us 0\n0 1 100Gbps 1us 0.1\n0 1\n"
    with pytest.raises(InputError) as caught:
        read_links(written(tmp_path, text))
    message = str(caught.value)
    assert [f"line {line}:" in message for line in range(3, 7)] == [True] * 4
    assert "5 links announced, 4 listed" in message


@pytest.mark.parametrize(
    ("head", "found"),
    [("4 4 1", "4 4 1"), ("2000000 1 1", "2000000 1 1"), ("4 2 1", "other switch numbers"), ("4 1 x", "unknown format")],
)
def test_ns3_heads_that_cannot_be(head, found, tmp_path):
    with pytest.raises(InputError, match=found):
        read_links(written(tmp_path, head + "\n0 0\n0 1 100Gbps 1us 0\n"))


# --- ASTRA-sim's analytical network ----------------------------------------------------------------------------------

ASTRA = (
    "# Analytical\ntopology: [ Switch, Switch ]\n\nnpus_count: [ 2, 3 ]  # 6\nbandwidth: [ 400.0, 50 ] # GB/s\n"
    "latency: [ 500, 1000.5 ]\n"
)


def test_astra_dimensions_are_servers_and_rails(tmp_path):
    """Rank r has place r % 2 in its server; ranks of one place are joined by one switch. A GB is 2^30 bytes."""
    links = read_links(written(tmp_path, ASTRA))
    assert links.names[:6] == ("s0g0", "s0g1", "s1g0", "s1g1", "s2g0", "s2g1")
    joined = {}
    for a, b, gbps, latency_s in zip(links.a, links.b, links.gbps, links.latency_s, strict=True):
        joined.setdefault((links.names[b], gbps, latency_s), []).append(links.names[a])
    nvlink, rail = (400 * 2**33 / 1e9, 500e-9), (50 * 2**33 / 1e9, 1000.5e-9)
    assert joined == {
        ("s0nvswitch", *nvlink): ["s0g0", "s0g1"],
        ("s1nvswitch", *nvlink): ["s1g0", "s1g1"],
        ("s2nvswitch", *nvlink): ["s2g0", "s2g1"],
        ("dim1-0", *rail): ["s0g0", "s1g0", "s2g0"],
        ("dim1-1", *rail): ["s0g1", "s1g1", "s2g1"],
    }
    assert detect_format(ASTRA) == "astra"


def test_astra_planes_of_three_dimensions_join_what_differs_in_one_alone(tmp_path):
    text = "topology: [Switch, Switch, Switch]\nnpus_count: [2, 3, 4]\nbandwidth: [1, 1, 1]\nlatency: [0, 0, 0]\n"
    links = read_links(written(tmp_path, text))
    groups = {}
    for a, b in zip(links.a, links.b, strict=True):
        groups.setdefault(links.names[b], []).append(int(a))
    by_switch = sorted(tuple(ranks) for name, ranks in groups.items() if name.startswith("dim2"))
    assert by_switch == [tuple(range(first, 24, 6)) for first in range(6)]
    assert sorted(tuple(r) for name, r in groups.items() if name.startswith("dim1")) == sorted(
        tuple(x + 2 * y + 6 * z for y in range(3)) for x in range(2) for z in range(4)
    )


@pytest.mark.parametrize(
    ("old", "new", "found"),
    [
        ("Switch, Switch", "Switch, Ring", "topology: found Ring; expected Switch"),
        ("Switch, Switch", "Switch, Mesh", "found Mesh"),
        ("[ 2, 3 ]", "[ 2, 3, 4 ]", r"\[2, 3, 2, 2\] entries"),
        ("[ 2, 3 ]", "[ 2, 1 ]", "npus_count: found 2, 1"),
        ("[ 2, 3 ]", "[ 2000, 3000 ]", "npus_count"),
        ("400.0", "-4", "bandwidth: found -4"),
        ("500", "nan", "latency: found nan"),
        ("latency:", "delay:", "line 6"),
        ("npus_count: [ 2, 3 ]", "npus_count:\n- 2\n- 3", "line 5"),
    ],
)
def test_astra_faults_are_named(tmp_path, old, new, found):
    with pytest.raises(InputError, match=found):
        read_links(written(tmp_path, ASTRA.replace(old, new)))


def test_dimensions_are_read_from_either_file(tmp_path):
    assert dimensions(written(tmp_path, ASTRA)) == (2, 3)
    assert dimensions(written(tmp_path, '{"logical-dims": ["8", "2"]}')) == (8, 2)
    assert dimensions(written(tmp_path, HPCC)) is None
    with pytest.raises(InputError, match="logical-dims: found 8, 1"):
        dimensions(written(tmp_path, '{"logical-dims": ["8", "1"]}'))
