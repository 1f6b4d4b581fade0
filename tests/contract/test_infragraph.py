"""Infragraph documents: those written are the package's, and read back as the fabric; those of others are read by its rules."""

import copy
import json

import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.families.custom import write_topology
from zcube.fabric.wiring import infragraph
from zcube.fabric.wiring.formats import detect_format, export_fabric, read_links
from zcube.fabric.wiring.link_list import LinkList


def links_of(table):
    """Links by name, with ports at switches, and delays in whole femtoseconds."""
    rows = zip(table.a, table.b, table.a_port, table.b_port, table.gbps, table.latency_s, strict=True)
    named = ((table.names[a], p, table.names[b], q, float(g), round(t * 1e15)) for a, b, p, q, g, t in rows)
    at = [((a, int(p) if table.names.index(a) >= table.gpus else -1), (b, int(q)), g, t) for a, p, b, q, g, t in named]
    return sorted((*sorted((one, other)), g, t) for one, other, g, t in at if "nvswitch" not in one[0] + other[0])


@pytest.mark.parametrize("name", ["zcube-n16", "roft-256"])
def test_a_document_reads_back_as_the_fabric(tmp_path, name):
    fabric, path = load_fabric(name), tmp_path / "fabric.json"
    export_fabric(fabric, "infragraph", path)
    back, plan = read_links(path), LinkList.of(fabric)
    assert sorted(back.names) == sorted(plan.names)
    assert links_of(back) == links_of(plan)
    nvlink = [(float(g), round(t * 1e15)) for b, g, t in zip(back.b, back.gbps, back.latency_s) if "nv" in back.names[b]]
    assert nvlink == [(3600.0, 25_000_000)] * fabric.gpus
    write_topology(path, tmp_path / "mine.toml")
    assert load_fabric(str(tmp_path / "mine.toml")).gpus == fabric.gpus


def test_the_released_package_takes_a_document_and_makes_its_graph(tmp_path):
    package = pytest.importorskip("infragraph", reason="the package infragraph is not installed")
    from infragraph.infragraph_service import InfraGraphService

    fabric, path = load_fabric("zcube-n16"), tmp_path / "fabric.json"
    export_fabric(fabric, "infragraph", path)
    infrastructure = package.Infrastructure()
    infrastructure.deserialize(path.read_text())
    service = InfraGraphService()
    service.set_graph(infrastructure.serialize(package.Infrastructure.JSON))
    graph = service.get_networkx_graph()
    cables = [data for _, _, data in graph.edges(data=True) if data["link"].startswith("cable")]
    assert len(cables) == len(fabric.cables.a) - fabric.gpus
    assert {data["bandwidth"] for data in cables} == {"200.0 Gbps"}
    assert sum(data["type"] == "xpu" for _, data in graph.nodes(data=True)) == fabric.gpus


def test_documents_of_the_released_package_are_read(tmp_path):
    """Its fat tree of eight-port switches: 32 NICs a tier of leaves, 16 servers of two GPUs."""
    package = pytest.importorskip("infragraph", reason="the package infragraph is not installed")
    from infragraph.blueprints.devices.generic.generic_switch import Switch
    from infragraph.blueprints.devices.generic.server import Server
    from infragraph.blueprints.fabrics.clos_fat_tree_fabric import ClosFatTreeFabric

    tree = ClosFatTreeFabric(Switch(port_count=8), Server(npu_factor=1), 2, [400, 200])
    for encoding, suffix in ((package.Infrastructure.JSON, "json"), (package.Infrastructure.YAML, "yaml")):
        path = tmp_path / f"tree.{suffix}"
        path.write_text(tree.serialize(encoding=encoding))
        links = read_links(path)
        assert (links.gpus, links.gpus_per_server, len(links)) == (32, 2, 64)
        assert sorted(links.gbps.tolist()) == [200.0] * 32 + [400.0] * 32


NVLINK = {"choice": "gigabytes_per_second", "gigabytes_per_second": 450}


def document():
    """Two servers of two GPUs behind one leaf, written by hand with slices and both schemes."""
    return {
        "name": "small",
        "devices": [
            {
                "name": "host",
                "components": [
                    {"name": "gpu", "choice": "xpu", "count": 2, "xpu": {}},
                    {"name": "nic", "choice": "nic", "count": 4},
                    {"name": "nvlsw", "choice": "switch", "count": 1},
                ],
                "links": [{"name": "nvlink", "physical": {"bandwidth": NVLINK}}],
                "edges": [
                    {"ep1": {"component": "gpu"}, "ep2": {"component": "nvlsw"}, "link": "nvlink", "scheme": "many2many"},
                ],
            },
            {"name": "box", "components": [{"name": "port", "choice": "port", "count": 16}], "links": [], "edges": []},
        ],
        "links": [
            {
                "name": "eth",
                "physical": {
                    "bandwidth": {"choice": "gigabits_per_second", "gigabits_per_second": 100.0},
                    "latency": {"choice": "us", "us": 2},
                },
            }
        ],
        "instances": [{"name": "host", "device": "host", "count": 2}, {"name": "leaf 1", "device": "box", "count": 1}],
        "edges": [
            {
                "ep1": {"instance": "host[:]", "component": "nic[0:4]"},
                "ep2": {"instance": "leaf 1[0]", "component": "port[-8:]"},
                "link": "eth",
                "scheme": "one2one",
            }
        ],
    }  # fmt: skip


def read(tmp_path, value):
    path = tmp_path / "d.json"
    path.write_text(json.dumps(value))
    return read_links(path)


def test_slices_and_units_are_those_of_the_schema(tmp_path):
    links = read(tmp_path, document())
    assert links.names == ("s0g0", "s0g1", "s1g0", "s1g1", "leaf-1-0", "s0nvswitch", "s1nvswitch")
    cables = [
        (links.names[a], int(q), g, t) for a, b, q, g, t in zip(links.a, links.b, links.b_port, links.gbps, links.latency_s)
    ]
    # NICs are by two of a GPU, in their order; a latency that is not stated is 500 ns.
    assert cables[:8] == [(f"s{n // 4}g{n // 2 % 2}", 8 + n, 100.0, pytest.approx(2e-6)) for n in range(8)]
    assert cables[8:] == [(f"s{n // 2}g{n % 2}", -1, 3600.0, 5e-7) for n in range(4)]
    assert detect_format(json.dumps(document())) == "infragraph"


def test_a_device_whose_gpus_are_counted_as_none_is_refused(tmp_path):
    value = document()
    value["devices"][0]["components"][0]["count"] = 0
    with pytest.raises(InputError, match="edge 1"):
        read(tmp_path, value)


def test_nics_are_of_the_gpu_that_an_edge_of_the_device_joins_them_to(tmp_path):
    value = document()
    crossed = [
        {"ep1": {"component": f"gpu[{g}]"}, "ep2": {"component": f"nic[{1 - g}::2]"}, "link": "p", "scheme": "many2many"}
        for g in (0, 1)
    ]
    value["devices"][0]["edges"] += crossed
    links = read(tmp_path, value)
    assert [links.names[a] for a in links.a[:4]] == ["s0g1", "s0g0", "s0g1", "s0g0"]


def test_many_to_many_joins_each_with_each(tmp_path):
    value = document()
    value["edges"][0] |= {"scheme": "many2many", "ep2": {"instance": "leaf 1", "component": "port[3]"}}
    with pytest.raises(InputError, match="each port once"):
        read(tmp_path, value)
    value["edges"][0]["ep1"] = {"instance": "host[1]", "component": "nic[2]"}
    assert [(links.names[links.a[0]], int(links.b_port[0])) for links in [read(tmp_path, value)]] == [("s1g1", 3)]


def changed(value, keys, new):
    value = copy.deepcopy(value)
    place = value
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = new
    return value


END = ("edges", 0, "ep1", "component")


@pytest.mark.parametrize(
    ("keys", "new", "found"),
    [
        (("edges", 0, "link"), "other", "link other, which is not declared"),
        (("links", 0, "physical"), {}, "link eth without a bandwidth"),
        (
            ("links", 0, "physical", "bandwidth"),
            {"choice": "gigatransfers_per_second", "gigatransfers_per_second": 16},
            "without a bandwidth",
        ),
        (END, "nic[4]", "an index below 4"),
        (END, "fan[0]", "one of gpu, nic, nvlsw"),
        (END, "nic[0:3]", "6 ends joined one2one to 8"),
        (END, "nic[a]", "slice"),
        (END, "nic[::0]", "a step other than 0"),
        (("edges", 0, "ep1", "instance"), "rack[0]", "one of host, leaf 1"),
        (("edges", 0, "scheme"), "ring", "edges.0.scheme"),
        (("instances", 0, "count"), 10**12, "instances.0.count"),
        (("instances", 0, "device"), "none", "device none"),
        (("devices", 0, "components", 1, "count"), 3, "ends joined one2one"),
        (("devices",), 7, "devices"),
    ],
)
def test_faults_are_named(tmp_path, keys, new, found):
    with pytest.raises(InputError, match=found):
        read(tmp_path, changed(document(), keys, new))


def test_nics_that_are_not_evenly_many_are_refused(tmp_path):
    value = document()
    value["devices"][0]["components"][1]["count"] = 3
    value["edges"][0] |= {
        "ep1": {"instance": "host", "component": "nic"},
        "ep2": {"instance": "leaf 1", "component": "port[:6]"},
    }
    with pytest.raises(InputError, match=r"edge 1, cable 1: found host component nic\[0\]; expected a NIC of one"):
        read(tmp_path, value)


def test_large_counts_end_before_memory_does(tmp_path, monkeypatch):
    value = document()
    value["instances"][0]["count"] = 999_999
    with pytest.raises(InputError, match="1999999 GPUs and switches; expected at most 1000000"):
        read(tmp_path, value)
    value["instances"][0]["count"] = 1000
    value["edges"][0] |= {"ep2": {"instance": "host", "component": "nic"}, "scheme": "many2many"}
    with pytest.raises(InputError, match="at most 1000000"):
        read(tmp_path, value)
    monkeypatch.setattr(infragraph, "MAX_EXPANDED", 100_000)
    # Ends that come to nothing, over and over.
    value["edges"] = [value["edges"][0] | {"ep2": {"instance": "none", "component": "nic"}}] * 2000
    with pytest.raises(InputError, match="more ends of edges"):
        read(tmp_path, value)
