"""``fabric show``, ``cost``, ``fabric export`` and ``compare`` say the same of one fabric under one rule, and name the rule."""

from __future__ import annotations

import csv
import io
import json

import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.optics import OPTICS_RULES

#: Odd sizes: segments of 5 GPUs put a NIC link and a trunk into one cage, the last segment is begun only.
ODD = 'family = "zcube"\ngpus = 23\ngpus_per_server = 1\ncapacity_gpus = 25\ngpus_per_switch = 5\n'
#: Mixed rates: NIC ports of 200G, uplinks of 400G on ports of 800G, the last segment begun only.
MIXED = 'family = "hpn"\ngpus = 168\nuplink_gbps = 400\n[nic]\ncages = "per-port"\n'
ROOM = "servers_per_rack = 1\nserver_units = 2\nswitches_per_rack = 2\nrack_units = 8\ntray_height_m = 0\nslack_m = 0.2\n"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("optics")
    (folder / "odd.toml").write_text(ODD + '[switch]\nmodel = "x"\nports = 5\nport_gbps = 400\n')
    (folder / "mixed.toml").write_text(MIXED + '[switch]\nmodel = "x"\nports = 8\nport_gbps = 800\n')
    (folder / "room.toml").write_text(ROOM)
    return folder


CASES = ["zcube-1024", "roft-1024", "odd", "mixed", "zcube-1024@switch:A3,random-links:0.02"]


def shown(run, fabric, *options):
    status, out, err = run("fabric", "show", fabric, "--json", *options)
    assert status == 0, err
    return json.loads(out)


def priced(run, fabric, *options):
    status, out, err = run("cost", fabric, "--json", *options)
    assert status == 0, err
    return json.loads(out)


def scheduled(run, fabric, *options):
    status, out, err = run("fabric", "export", fabric, *options)
    assert status == 0, err
    return list(csv.DictReader(io.StringIO(out)))


@pytest.mark.parametrize("room", [False, True])
@pytest.mark.parametrize("rule", OPTICS_RULES)
@pytest.mark.parametrize("case", CASES)
def test_three_verbs_agree(run, folder, case, rule, room):
    fabric = str(folder / f"{case}.toml") if case in ("odd", "mixed") else case
    options = ["--optics", rule, *(["--racks", folder / "room.toml"] if room else [])]
    show, rows = shown(run, fabric, *options), scheduled(run, fabric, *options)
    document = priced(run, fabric, *options)
    bill = document["fabrics"][fabric]
    ordered = sum(int(row["a_modules"]) + int(row["z_modules"]) for row in rows)
    assert show["modules"] == bill["with_nic_side"]["transceivers"] == ordered
    assert show["switch_modules"] == bill["transceivers"]
    copper = sum("copper" in row["medium"] for row in rows)
    assert (show["copper_links"], show["fibre_links"]) == (copper, len(rows) - copper)
    assert show["cages"] == len({(row[f"{end}_device"], row[f"{end}_cage"]) for row in rows for end in "az"})
    cables = sum(line["quantity"] for line in bill["lines"] if line["item"].startswith(("cable", "splitter")))
    assert show["cable_assemblies"] == cables == sum(int(row["assemblies"]) for row in rows)
    assert {row["optics_rule"] for row in rows} == {rule} == {show["optics_rule"]} == {bill["optics_rule"]}
    assert f"rule {rule}: {OPTICS_RULES[rule]}" in show["counting_rule"]
    assert f"rule {rule}: {OPTICS_RULES[rule]}" in document["counting_rule"]


def test_zcube_1024_by_rule(run):
    """The paper counts a module at each end of 2,048 fibres; twin modules are 32 x 64 in switches and 1,024 in NICs."""
    modules = {rule: shown(run, "zcube-1024", "--optics", rule)["modules"] for rule in OPTICS_RULES}
    assert (modules["paper"], modules["all-optical"]) == (4_096, 3_072)
    rows = scheduled(run, "zcube-1024", "--optics", "paper")
    assert sum("copper" in row["medium"] for row in rows) == 1_024


def test_defaults_are_those_of_the_published_counts(run):
    assert shown(run, "zcube-n32")["optics_rule"] == "paper"
    assert priced(run, "zcube-1024")["fabrics"]["zcube-1024"]["optics_rule"] == "all-optical"
    assert {row["optics_rule"] for row in scheduled(run, "zcube-256")} == {"by-length"}


def test_a_schedule_of_split_ports_orders_splitters_with_legs_and_no_half_modules(run):
    rows = scheduled(run, "zcube-n16")
    assert {row["lanes"] for row in rows} == {"2x100G"}
    assert {row["a_module"] for row in rows} | {row["z_module"] for row in rows} == {"400G SR4"}
    legs = [row for row in rows if row["a_cage"] == "swp9" and row["a_device"] == "A0"]
    assert [row["a_port"] for row in legs] == ["swp9s0", "swp9s1"]
    assert {row["a_assembly"] for row in legs} == {"A0-swp9 1:2"}
    assert sum(int(row["a_modules"]) for row in legs) == 1


def test_tables_for_reading_name_rule_and_nics(run):
    assert "by optics rule by-length" in run("fabric", "show", "roft-256", "--optics", "by-length")[1]
    text = run("cost", "roft-1024", "zcube-1024")[1]
    assert "Optics by rule all-optical" in text.replace("\n", " ")
    rows = {line.split("  ")[0]: line for line in text.splitlines()}
    assert "1,534,976" in rows["NICs"] and "0.0 %" in rows["NICs"]
    assert "7,582,720" in rows["Total with NICs"]


@pytest.mark.parametrize("verb", [("cost", "roft-256"), ("fabric", "show", "roft-256"), ("fabric", "export", "roft-256")])
def test_unknown_rules_and_rooms_are_refused(run, verb, tmp_path):
    status, out, err = run(*verb, "--optics", "cheapest")
    assert (status, out) == (2, "")
    assert all(word in err for word in ("cheapest", *OPTICS_RULES))
    (tmp_path / "room.toml").write_text("servers_per_rack = 0\nwindows = 3\n")
    status, out, err = run(*verb, "--racks", tmp_path / "room.toml")
    assert (status, out) == (2, "")
    assert "servers_per_rack" in err and "windows" in err


def test_compare_prices_by_the_scenarios_rule(run, folder):
    small = ["--set", "requests.count=20", "--seeds", "1", "--fabric", "roft-1024", "--fabric", "zcube-1024", "--json"]
    documents = {
        rule: json.loads(run("compare", *small, "--set", f"cost.optics={rule}")[1]) for rule in ("all-optical", "paper")
    }
    for rule, document in documents.items():
        bill = priced(run, "zcube-1024", "--optics", rule)["fabrics"]["zcube-1024"]
        assert document["fabrics"]["zcube-1024"]["bill"] == bill
        assert f"rule {rule}" in document["counting_rule"]
    room = ["--set", "cost.optics=by-length", "--set", f"cost.racks={folder / 'room.toml'}"]
    document = json.loads(run("compare", *small, *room)[1])
    bill = priced(run, "zcube-1024", "--optics", "by-length", "--racks", folder / "room.toml")
    assert document["fabrics"]["zcube-1024"]["bill"] == bill["fabrics"]["zcube-1024"]
    status, _, err = run("compare", *small, "--set", "cost.optics=cheapest")
    assert status == 2 and "cost.optics" in err and "by-length" in err


def media(fabric):
    """Copper or fibre by the names of both ends and their ports."""
    cables, names = fabric.cables, [fabric.node_name(node) for node in range(fabric.nodes)]
    columns = (cables.a, cables.b, cables.gbps, cables.medium, cables.kind)
    return sorted((*sorted((names[a], names[b])), *rest) for a, b, *rest in zip(*(column.tolist() for column in columns)))


@pytest.mark.parametrize("form", ["links", "graphml"])
@pytest.mark.parametrize("name", ["zcube-256", "bcube-1024", "hpn-1024", "dragonfly-1056"])
def test_imported_fabrics_keep_media_and_counts(run, tmp_path, name, form):
    status, _, err = run("fabric", "export", name, "--format", form, "--out", tmp_path / "file")
    assert (status, "copper" in err) == (0, False)
    original = load_fabric(name)
    model = original.groups[0].model
    switch = ["--switch-ports", model.ports, "--switch-port-gbps", model.port_gbps]
    status, _, err = run("fabric", "import", tmp_path / "file", tmp_path / "mine.toml", *switch)
    assert (status, "medium" in err) == (0, False)
    imported = load_fabric(str(tmp_path / "mine.toml"))
    assert media(imported) == media(original)
    for rule in ("paper", "all-optical"):
        before, after = (shown(run, fabric, "--optics", rule) for fabric in (name, tmp_path / "mine.toml"))
        for key in ("copper_links", "fibre_links", "cages", "modules", "switch_modules", "cable_assemblies"):
            assert after[key] == before[key], (rule, key)


@pytest.mark.parametrize("name", ["zcube-256", "hpn-1024"])
def test_formats_without_media_say_so(run, tmp_path, name):
    status, _, err = run("fabric", "export", name, "--format", "simai", "--out", tmp_path / "file")
    assert status == 0 and "simai does not say which cables are copper" in err
    status, _, err = run("fabric", "import", tmp_path / "file", tmp_path / "mine.toml")
    wired = load_fabric(name)
    links = len(wired.cables) - wired.gpus
    assert status == 0 and f"does not state the medium of {links} cables" in err
    assert shown(run, tmp_path / "mine.toml")["copper_links"] == 0
    # Ports are not said either, yet links of different rates get native ports of their own.
    assert (
        shown(run, tmp_path / "mine.toml", "--optics", "all-optical")["modules"]
        == (shown(run, name, "--optics", "all-optical")["modules"])
    )


def test_a_medium_that_is_none_is_a_fault_with_its_line(run, tmp_path):
    (tmp_path / "file.csv").write_text("a,a_port,b,b_port,gbps,latency_s,medium\ns0g0,0,leaf0,0,400,0,glass\n")
    status, _, err = run("fabric", "import", tmp_path / "file.csv", tmp_path / "mine.toml")
    assert status == 2
    assert "line 2" in err and "glass" in err and "copper or fibre" in err


def test_room_and_price_book_of_a_scenario_lie_beside_it(run, tmp_path):
    assert run("new", tmp_path / "mine")[0] == 0
    scenario = tmp_path / "mine" / "scenario.toml"
    (tmp_path / "mine" / "room.toml").write_text(ROOM)
    (tmp_path / "mine" / "book.toml").write_text('source = "made by hand"\n[switch_port_usd]\n400 = 1\n')
    text = scenario.read_text()
    assert "[cost]" not in text
    scenario.write_text(text + '\n[cost]\noptics = "by-length"\nracks = "room.toml"\nprice_book = "book.toml"\n')
    status, out, err = run("compare", scenario, "--set", "requests.count=10", "--json")
    assert status == 0, err
    bills = [fabric["bill"] for fabric in json.loads(out)["fabrics"].values()]
    assert {(bill["price_book"], bill["optics_rule"]) for bill in bills} == {("book", "by-length")}
    assert all(bill["switch_usd"] == 64 * bill["switches"] and bill["optics_usd"] is None for bill in bills)
