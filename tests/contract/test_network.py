"""One declared network for every verb: its bounds, what it makes of a fabric, and what of it differs by fabric."""

from __future__ import annotations

import inspect
import json
import pickle

import numpy as np
import pytest
from pydantic import ValidationError

import zcube as zc
from zcube.cli.fabric import adversary_command
from zcube.cli.replay import replay_command
from zcube.comparison import compare
from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.fabric.measured import MeasuredLinks, MessageStart
from zcube.fabric_run import settings_on
from zcube.inputs import assign
from zcube.network.adversary.report import adversarial_report
from zcube.network.packet.settings import PacketSettings
from zcube.network.settings import Network
from zcube.replays.flows import replay
from zcube.scenario import load_scenario
from zcube.serving.footprint import expected_transfers
from zcube.workload.flow_lists import FlowList
from zcube.workload.offered import offered_requests

pytestmark = pytest.mark.usefixtures("one_picture")

FEW = ["requests.count=30", "load.rate_per_s=20"]


def flows(*rows):
    source, target, size = np.array(rows).T
    return FlowList(np.arange(len(rows)), source, target, size.astype(float), np.zeros(len(rows)))


def write_flows(path):
    path.write_text("src,dst,bytes,start_s\n0,8,1e9,0\n")
    return path


# --- the value


def test_it_is_frozen_and_checked():
    refused: list[dict] = [{"queue_pairs": 0}, {"queue_pairs": 1025}, {"fidelity": "exact"}, {"quantum_s": -1}, {"why": 1}]
    network = Network(fidelity="packet", queue_pairs=4)
    with pytest.raises(ValidationError):
        network.queue_pairs = 5
    for wrong in (*refused, {"packet": {"seed": 3}}):
        with pytest.raises(ValidationError):
            Network(**wrong)


def test_the_cap_and_the_measured_links_meet_every_fidelity():
    """A NIC capped at 100 Gb/s that reaches 80 % of it moves 1 GB in 0.1 s; the fabric as declared keeps its rate."""
    fabric = load_fabric("roft-256")
    measured = MeasuredLinks(nic_efficiency=0.8, nic_start=MessageStart((1.0,), (0.5,)))
    for fidelity in ("ideal", "flow", "lossless", "packet"):
        carrier = Network(fidelity=fidelity, nic_gbps=100, packet={"header_bytes": 0}).on(fabric, measured=measured)
        done = replay(carrier, flows((0, 8, 10**9)))
        assert done.duration_s[0] == pytest.approx(0.6, rel=1e-4)
        assert carrier.declared is fabric
        assert done.document()["nic_gbps"] == 100
        assert done.document()["calibration"]["applied"]["nic_efficiency"] == 0.8


def test_a_measured_rate_of_nics_takes_the_place_of_the_connectors_efficiency():
    scenario = load_scenario("glm51-pd-256", {}, ["kv.efficiency=0.69"])
    for measured, left in ((None, 0.69), (MeasuredLinks(nvlink_gbps=3000), 0.69), (MeasuredLinks(nic_efficiency=0.8), 1.0)):
        carrier = Network().on(load_fabric("roft-256"), measured=measured)
        assert settings_on(carrier, scenario).kv.efficiency == left


def test_a_calibration_file_is_not_forgotten():
    with pytest.raises(ValueError, match="measured links"):
        Network(calibration="runs.json").on(load_fabric("roft-256"))


def test_adversary_meets_the_cap():
    """NICs at a sixteenth of their rate cannot fill a link between switches of zcube-n16: every flow has its whole rate."""
    fabric = load_fabric("zcube-n16")
    capped = adversarial_report(Network(nic_gbps=fabric.nic_gbps / 16).on(fabric))
    assert capped.worst.share.minimum == pytest.approx(1.0)
    assert capped.document()["nic_gbps"] == fabric.nic_gbps / 16
    with pytest.raises(InputError, match="fidelity"):
        adversarial_report(Network(fidelity="ideal").on(fabric))
    with pytest.raises(InputError, match="memory"):
        adversarial_report(Network(memory_gb=0.01).on(fabric))


# --- the command line


def test_replay_caps_nics(run, tmp_path):
    status, out, err = run("replay", write_flows(tmp_path / "f.csv"), "--fabric", "roft-256", "--nic-gbps", "100", "--json")
    assert status == 0, err
    document = json.loads(out)
    assert document["nic_gbps"] == 100
    assert document["makespan_s"] == pytest.approx(0.08, rel=1e-4)


def test_every_option_of_the_network_is_named(run, tmp_path):
    options = ["--fidelity", "packet", "--queue-pairs", "2000", "--path-split", "half", "--nic-gbps", "-1",
               "--packet-set", "pfc_alpha=-1", "--packet-set", "seed=3", "--cell-bytes", "1"]  # fmt: skip
    status, out, err = run("replay", write_flows(tmp_path / "f.csv"), "--fabric", "roft-256", *options)
    assert (status, out) == (2, "")
    for named in ("--queue-pairs: found 2000", "--path-split: found 'half'; expected one of pooled, fixed", "--nic-gbps",
                  "--packet-set pfc_alpha", "--cell-bytes"):  # fmt: skip
        assert named in err
    status, _, err = run("replay", tmp_path / "f.csv", "--fabric", "roft-256", "--fidelity", "packet", "--packet-set", "seed=3")
    assert status == 2
    assert "seed of the run" in err


def test_a_comparison_that_would_not_fit_is_refused_before_it_runs(run, tmp_path):
    status, out, err = run("compare", "glm51-pd-1024", "--memory-gb", "0.1", "--jobs", "1", "--out", tmp_path / "out")
    assert (status, out) == (2, "")
    count = load_scenario("glm51-pd-1024").requests.count
    assert err.count(f"memory: found {count} requests") == 2
    for named in ("on roft-1024", "on zcube-1024", "GB", "--memory-gb"):
        assert named in err
    assert not (tmp_path / "out").exists()
    status, _, err = run("compare", "glm51-pd-1024", "--memory-gb", "0.4", "--jobs", "1", "--fidelity", "packet", "--json")
    assert status == 2
    assert "packet by packet" in err


def test_a_comparison_keeps_no_bins_and_says_so(run):
    status, _, err = run("compare", "--set", "network.bin_s=0.1", "--jobs", "1", "--json")
    assert status == 2
    assert "network.bin_s" in err and "zcube replay" in err


@pytest.mark.parametrize(("scenario", "fabric"), [("glm51-pd-256", "zcube-256"), ("glm51-ep32-1024", "zcube-1024")])
@pytest.mark.parametrize("push", ["per-chunk", "after-prefill"])
def test_the_transfers_expected_are_about_those_posted(scenario, fabric, push):
    changes = {"fabrics": [fabric], "baseline": None, "requests.count": 60, "kv.push": push, "gpus": None}
    declared = load_scenario(scenario, changes)
    comparison = compare(declared)
    posted = len(comparison.results[fabric].run.flows)
    assert 0.5 < expected_transfers(comparison.trace, declared) / posted < 2


def test_prompts_that_are_bound_to_wait_share_iterations():
    """Beyond decode's 32 places, 16 prompts wait at four nodes: four a node share what they exchange, as chunks have room."""
    small = {"prefill.nodes": 4, "decode.nodes": 1, "decode.max_batch": 32, "load.mode": "closed",
             "kv.push": "after-prefill", "requests.count": 60, "gpus": None}  # fmt: skip
    offered = load_scenario("glm51-ep32-1024", {**small, "load.concurrency": 32})
    trace = offered_requests(offered.requests, None, True, 0).trace
    few = {"load.concurrency": 32, "prefill.chunk_tokens": 1 << 20}
    bound = {**few, "load.concurrency": 48}
    one, many, alone = (
        expected_transfers(trace, load_scenario("glm51-ep32-1024", {**small, **more}))
        for more in (
            {"load.concurrency": 32, "prefill.chunk_tokens": 1 << 20},
            bound,
            {**bound, "prefill.nodes_per_instance": 1},
        )
    )
    assert (one - alone) == pytest.approx(4 * (many - alone), rel=0.02)


# --- what differs by fabric


def test_a_table_of_a_fabric_takes_the_place_of_its_keys(run, tmp_path):
    changed = ["--set", 'network."zcube-1024".routing=zcube-detours', "--set", "network.zcube-1024.packet.pfc_alpha=0.5",
               "--set", "network.packet.pfc_alpha=0.25", "--set", "network.packet.cell_bytes=262144"]  # fmt: skip
    few = ["--jobs", "1", *(part for text in FEW for part in ("--set", text))]
    status, _, err = run("compare", "glm51-pd-1024", *few, *changed, "--fidelity", "packet", "--out", tmp_path / "one")
    assert status == 0, err
    document = json.loads((tmp_path / "one" / "summary.json").read_text())
    roft, zcube = (document["fabrics"][name]["network"] for name in ("roft-1024", "zcube-1024"))
    assert (roft["routing"], zcube["routing"]) == ("ecmp", "zcube-detours")
    assert (roft["packet"]["pfc_alpha"], zcube["packet"]["pfc_alpha"]) == (0.25, 0.5)
    assert (roft["packet"]["cell_bytes"], zcube["packet"]["cell_bytes"]) == (262144, 262144)
    record = json.loads((tmp_path / "one" / "run.json").read_text())
    assert record["scenario"]["network"]["zcube-1024"] == {"routing": "zcube-detours", "packet": {"pfc_alpha": 0.5}}
    status, table, err = run("compare", tmp_path / "one" / "run.json", "--jobs", "1", "--out", tmp_path / "two")
    assert status == 0, err
    assert (tmp_path / "one" / "summary.json").read_bytes() == (tmp_path / "two" / "summary.json").read_bytes()
    assert "packet.pfc_alpha 0.5" in table


def test_what_holds_for_all_reaches_a_fabric_with_a_table():
    declared = load_scenario("glm51-pd-1024", {"network.queue_pairs": 8}, ["network.roft-1024.path_split=fixed"])
    roft, zcube = (declared.network_of(name) for name in ("roft-1024", "zcube-1024"))
    assert (roft.queue_pairs, roft.path_split, zcube.queue_pairs, zcube.path_split) == (8, "fixed", 8, "pooled")
    assert type(roft) is type(zcube) is Network


@pytest.mark.parametrize("reference", ["zcube-1024@switch:A3", "zcube-1024@link:A0-B5,random-links:0.01"])
def test_a_table_is_named_by_any_reference(reference):
    changes = {"fabrics": ["roft-1024", reference]}
    declared = load_scenario("glm51-pd-1024", changes, [f'network."{reference}".routing="zcube-detours"'])
    assert declared.network_of(reference).routing == "zcube-detours"
    assert declared.network_of("roft-1024").routing == "default"


def test_a_table_is_named_by_path_or_label(run, tmp_path):
    status, _, err = run("new", tmp_path / "mine")
    assert status == 0, err
    path = tmp_path / "mine" / "scenario.toml"
    text = path.read_text()
    for name in ("zcube-1024.toml", "zcube-1024"):
        path.write_text(text + f'\n[network."{name}"]\nrouting = "zcube-detours"\ncalibration = "c.json"\n')
        declared = load_scenario(str(path))
        network = declared.network_of(declared.fabrics[1])
        assert network.routing == "zcube-detours"
        assert network.calibration == str(tmp_path / "mine" / "c.json")
    setting = f'network."{tmp_path / "mine" / "zcube-1024.toml"}".queue_pairs=7'
    with pytest.raises(InputError, match="one table of this fabric"):
        load_scenario(str(path), None, [setting])
    path.write_text(text)
    declared = load_scenario(str(path), None, [setting])
    assert declared.network_of(declared.fabrics[1]).queue_pairs == 7


def test_every_fault_of_the_tables_is_named():
    wrong = ["network.fidelity=flov", "network.zcube-1024.routing=3", "network.zcube-1024.packet.buffer=3",
             "network.fidelty=flow", "network.zcube-1025.queue_pairs=3", "network.roft-1024=3"]  # fmt: skip
    with pytest.raises(InputError) as raised:
        load_scenario("glm51-pd-1024", None, wrong)
    where = [fault.where.removeprefix("glm51-pd-1024: network.") for fault in raised.value.faults]
    assert sorted(where) == sorted(
        ["fidelity", "zcube-1024.routing", "zcube-1024.packet.buffer", "fidelty", "zcube-1025", "roft-1024"]
    )
    assert "zcube-1024" in next(fault.expected for fault in raised.value.faults if fault.where.endswith("zcube-1025"))


def test_a_routing_that_is_not_the_fabrics_is_named_before_the_run():
    declared = load_scenario("glm51-pd-1024", None, ["network.roft-1024.routing=zcube-paths"])
    with pytest.raises(InputError, match="zcube-paths on roft-1024"):
        compare(declared)


def test_tables_of_fabrics_left_out_go_with_them(tmp_path):
    text = 'fabrics = ["roft-256", "zcube-256"]\n[prefill]\nnodes = 2\n[decode]\nnodes = 2\n[requests]\ncount = 5\n'
    path = tmp_path / "mine.toml"
    path.write_text(text + '[network."zcube-256"]\nrouting = "zcube-detours"\n')
    assert load_scenario(str(path), {"fabrics": ["roft-256"]}).network.tables == {}
    assert load_scenario(str(path)).network_of("zcube-256").routing == "zcube-detours"


@pytest.mark.parametrize(
    ("assignment", "expected"),
    [
        ('a."b.c".d=1', {"a": {"b.c": {"d": 1}}}),
        ("a.'b=c'.d=\"x=y\"", {"a": {"b=c": {"d": "x=y"}}}),
        ('a."@switch:A3,link:A0-B5"=word', {"a": {"@switch:A3,link:A0-B5": "word"}}),
        (" a.b = [1, 2]", {"a": {"b": [1, 2]}}),
    ],
)
def test_parts_of_a_key_in_quotes_hold_dots_and_signs(assignment, expected):
    data = {}
    assign(data, [assignment])
    assert data == expected


@pytest.mark.parametrize("assignment", ['a"b=1', "=1", "a", '"=1'])
def test_what_is_no_assignment_is_refused(assignment):
    with pytest.raises(InputError, match="KEY=VALUE"):
        assign({}, [assignment])


@pytest.mark.parametrize("command", [replay_command, adversary_command])
def test_options_have_the_networks_defaults(command):
    network = Network()
    options = {name: option.default for name, option in inspect.signature(command).parameters.items()}
    shared = {name: default for name, default in options.items() if name in Network.model_fields}
    assert len(shared) >= 4
    assert shared == {name: getattr(network, name) for name in shared}


def test_an_unknown_routing_is_told_beside_other_faults(run):
    """Of a scenario, of its tables, of a replay's options and of a network in Python."""
    changes = ["network.routing=ecpm", "network.queue_pairs=0", "network.zcube-1024.routing=zcub", "load.rate_per_s=-1"]
    with pytest.raises(InputError) as error:
        load_scenario("glm51-pd-1024", None, changes)
    wheres = {fault.where.removeprefix("glm51-pd-1024: ") for fault in error.value.faults}
    assert wheres >= {"network.routing", "network.queue_pairs", "network.zcube-1024.routing", "load.rate_per_s"}
    (routing,) = (fault for fault in error.value.faults if fault.where.endswith(": network.routing"))
    assert routing.found == "'ecpm'" and "ecmp" in routing.expected
    options = ["--routing", "ecpm", "--queue-pairs", "0"]
    status, _, told = run("replay", "no.csv", "--fabric", "roft-256", *options)
    assert status == 2 and "--routing: found 'ecpm'" in told and "--queue-pairs" in told
    with pytest.raises(InputError, match="Network: routing: found 'ecpm'") as error:
        zc.Network(routing="ecpm", queue_pairs=0)
    assert len(error.value.faults) == 2


@pytest.mark.parametrize("keys", [{}, {"congestion_control": "dcqcn_nvidia"}, {"dcqcn_nvidia": {"gain": 0.5}}])
def test_packet_settings_are_the_same_in_another_process(keys):
    settings = PacketSettings(**keys)
    sent = pickle.loads(pickle.dumps(settings))
    assert sent == settings and type(sent) is type(settings) and sent.model_dump() == settings.model_dump()
