"""Nodes of any size, layouts sized freely, pipelines: closed forms, and comparisons that run to their end."""

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.cli.app import command
from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.layout import layout_of
from zcube.llm.node_links import decode_layer_s, prefill_layer_s
from zcube.llm.rankmap import rank_map
from zcube.llm.stages import bubble_share, stage_bytes, stage_pairs
from zcube.plan.placement.kv_sample import KvLoad
from zcube.plan.placement.nic_affinity import nic_affinity
from zcube.plan.placement.placing import placement_report
from zcube.routing.catalog import routing_for
from zcube.scenario import load_scenario
from zcube.serving.placement import place

TWO_STAGES = ("prefill.gpus_per_node=16", "prefill.pipeline_stages=2")
GLM, H200 = load_card("glm-5.1"), load_device("h200")


def fabric_file(path, gpus, server, **keys):
    rows = {
        "family": '"spine-leaf"',
        "gpus": gpus,
        "gpus_per_server": server,
        "rail_optimised": "true",
        **keys,
    }
    text = "".join(f"{key} = {value}\n" for key, value in rows.items())
    path.write_text(text + '[switch]\nmodel = "51.2T"\nports = 128\nport_gbps = 400\n')
    return str(path)


# ---- layouts and rank maps


@pytest.mark.parametrize(
    ("name", "gpus", "sizes"),
    [("tp8", 8, (8, 1, 1)), ("tp4", 8, (4, 1, 2)), ("dp72", 72, (1, 1, 72)), ("dp36", 72, (2, 1, 36)), ("cp4", 4, (1, 4, 1)),
     ("tp32", 64, (32, 1, 2))],
)  # fmt: skip
def test_sizes_of_layouts(name, gpus, sizes):
    assert layout_of(name, gpus)[1:] == sizes
    assert np.prod(layout_of(name, gpus)[1:]) == gpus


@pytest.mark.parametrize(
    ("name", "gpus"), [("tp3", 8), ("tp16", 8), ("ep8", 8), ("tp08", 8), ("tp8", 0), ("tp8 ", 8), ("tp", 8)]
)
def test_layouts_that_do_not_fit(name, gpus):
    with pytest.raises(ValueError, match=r"tp, cp or dp|divides|GPUs of a stage"):
        layout_of(name, gpus)


SIZES = st.sampled_from([1, 2, 3, 4, 6, 8, 12, 16, 24, 36, 64, 72, 144, 384])


@given(data=st.data(), stages=st.tuples(st.integers(1, 4), st.integers(1, 4)), layers=st.integers(8, 100))
def test_every_decode_rank_gets_every_layer_once_at_any_size(data, stages, layers):
    nodes = [data.draw(SIZES) for _ in range(2)]
    sizes = [data.draw(st.sampled_from([size for size in range(1, gpus + 1) if gpus % size == 0])) for gpus in nodes]
    if max(sizes) % min(sizes):
        return
    ranks = rank_map(
        f"tp{sizes[0]}-tp{sizes[1]}", layers, prefill_gpus=nodes[0], decode_gpus=nodes[1], prefill_stages=stages[0],
        decode_stages=stages[1],
    )  # fmt: skip
    source, target = ranks.prefill_dp - 1, ranks.decode_dp - 1
    sends = ranks.sends(source, target)
    got = {}
    for send in sends:
        assert 0 <= send.source_rank < nodes[0] * stages[0]
        got[send.target_rank] = got.get(send.target_rank, 0.0) + send.fraction
    assert len(got) == sizes[1] * stages[1]
    by_stage = [sum(got[rank] for rank in got if rank // nodes[1] == stage) / sizes[1] for stage in range(stages[1])]
    assert sum(by_stage) == pytest.approx(1.0)
    # What a stage gets are its whole layers.
    assert [share * layers for share in by_stage] == pytest.approx([round(share * layers) for share in by_stage])


@given(gpus=SIZES, stages=st.integers(1, 4))
def test_equal_layouts_send_from_each_gpu_to_its_like(gpus, stages):
    ranks = rank_map(f"tp{gpus}-tp{gpus}", 96, prefill_gpus=gpus, decode_gpus=gpus, prefill_stages=stages, decode_stages=stages)
    pairs = [(send.source_rank, send.target_rank) for send in ranks.sends()]
    assert pairs == [(rank, rank) for rank in range(gpus * stages)]


# ---- seats


@pytest.mark.parametrize(
    ("server", "prefill", "decode", "firsts"),
    [
        (8, 8, 8, ([0, 8], [16, 24])),
        (4, 4, 4, ([0, 4], [8, 12])),
        (16, 8, 16, ([0, 8], [16, 32])),
        (72, 8, 32, ([0, 8], [16, 72])),
        (72, 72, 72, ([0, 72], [144, 216])),
    ],
)
def test_seats_by_hand(tmp_path, server, prefill, decode, firsts):
    fabric = load_fabric(fabric_file(tmp_path / "mine.toml", 4 * server, server))
    seated = place(fabric, sized(prefill, decode))
    assert ([*seated.prefill], [*seated.decode]) == firsts


def sized(prefill, decode, *more):
    layouts = [f"prefill.layout=dp{prefill}", f"decode.layout=dp{decode}", f"kv.rank_map=dp{prefill}-dp{decode}"]
    sizes = [f"prefill.gpus_per_node={prefill}", f"decode.gpus_per_node={decode}", "prefill.nodes=2", "decode.nodes=2"]
    return load_scenario("glm51-pd-256", assignments=[*layouts, *sizes, *more])


@settings(max_examples=20)
@given(server=st.sampled_from([4, 8, 16, 72]), sizes=st.tuples(st.integers(1, 4), st.integers(1, 4)), kind=st.booleans())
def test_no_gpu_has_two_places(server, sizes, kind):
    prefill, decode = (max(1, server // size) for size in sizes)
    fabric = replace(load_fabric("roft-4096"), gpus_per_server=server, gpus=server * 56)
    asked = sized(prefill, decode, "placement.kind=" + ("striped" if kind else "blocked"), "prefill.nodes=5", "decode.nodes=7")
    seated = place(fabric, asked)
    taken = [first + gpu for first, gpus in seated.sizes().items() for gpu in range(gpus)]
    assert len(taken) == len(set(taken)) == 5 * prefill + 7 * decode
    assert all(first // server == (first + gpus - 1) // server for first, gpus in seated.sizes().items())


@pytest.mark.parametrize(
    ("server", "assignments", "told"),
    [
        (4, [], "at least 8, prefill.gpus_per_node"),
        (16, ["decode.nodes=6", "decode.nodes_per_instance=3"], "fill the servers of mine evenly"),
        (12, [*TWO_STAGES, "prefill.layout=tp8", "kv.rank_map=tp8-dp8"], "a multiple of 8"),
    ],
)
def test_nodes_that_do_not_fit_servers_are_refused(tmp_path, server, assignments, told):
    fabric = load_fabric(fabric_file(tmp_path / "mine.toml", 24 * server, server))
    with pytest.raises(InputError, match=told):
        place(fabric, sized(8, 8, *assignments))


def test_tilerts_node_is_of_eight():
    engine = ["decode.engine=tilert", "kv.rank_map=tp8-tilert", "kv.push=after-prefill", "prefill.layout=tp8"]
    engine.append("decode.layout=tp8")
    assert load_scenario("glm51-pd-256", assignments=engine).decode.engine == "tilert"
    with pytest.raises(InputError, match="nodes of eight B200 only"):
        load_scenario("glm51-pd-256", assignments=[*engine, "decode.gpus_per_node=16", "decode.layout=tp16"])


# ---- times


@pytest.mark.parametrize("layout", ["tp8", "cp8", "dp8"])
def test_eight_gpus_are_what_they_were(layout):
    links = H200.links
    assert prefill_layer_s(GLM, links, layout, 8192, 1, True, 8) == prefill_layer_s(GLM, links, layout, 8192, 1, True)


def test_collectives_of_other_sizes_send_their_share():
    links, size = H200.links, 8192 * 2 * GLM.hidden
    for gpus in (2, 16, 72):
        expected = 2 * links.all_reduce.seconds(size * (gpus - 1) / gpus * 8 / 7)
        assert prefill_layer_s(GLM, links, f"tp{gpus}", 8192, 1, True, gpus) == pytest.approx(expected)
    # Two groups of eight reduce side by side, half of the tokens each.
    assert prefill_layer_s(GLM, links, "tp8", 8192, 1, True, 16) == pytest.approx(2 * links.all_reduce.seconds(size / 2))
    assert decode_layer_s(GLM, links, "tp8", 64, 32, True, 16) == decode_layer_s(GLM, links, "tp8", 32, 32, True, 8)
    assert decode_layer_s(GLM, links, "tp1", 64, 64, True, 1) == 0.0


@pytest.mark.parametrize(
    ("prefill", "decode", "gpus"), [("tp16", "tp16", 16), ("tp32", "tp32", 32), ("dp72", "dp72", 72), ("cp4", "dp4", 4)]
)
def test_larger_nodes_take_less_time_and_not_less_than_their_share(prefill, decode, gpus):
    engine = EngineLayout(prefill, decode, prefill_gpus=gpus, decode_gpus=gpus)
    kind = EngineLayout(prefill[:2] + "8", decode[:2] + "8")
    mine, eight = roofline(GLM, H200, engine), roofline(GLM, H200, kind)
    slow, fast = (eight, mine) if gpus > 8 else (mine, eight)
    more = max(gpus, 8) / min(gpus, 8)
    new, prefix = [65536], [0]
    assert 1 < slow.prefill_iteration_s(new, prefix) / fast.prefill_iteration_s(new, prefix) < 1.15 * more
    contexts = np.full(512, 8192)
    assert 1 < slow.decode_steps_s(contexts, 1)[0] / fast.decode_steps_s(contexts, 1)[0] < 1.15 * more


# ---- pipelines


def test_closed_forms_of_pipelines():
    assert (bubble_share(1, 4), bubble_share(4, 1), bubble_share(4, 12)) == (0.0, 0.75, 0.2)
    assert stage_bytes(16384, 1000, 8) * 8 == 2 * 16384 * 1000
    source, target = stage_pairs(3, 4)
    assert [*zip(source, target)] == [(gpu, gpu + 4) for gpu in range(8)]


PIPELINE = (
    "prefill.gpus_per_node=16", "prefill.pipeline_stages=2", "prefill.layout=tp8", "decode.gpus_per_node=16",
    "decode.pipeline_stages=2", "decode.layout=tp8", "kv.rank_map=tp8-tp8", "prefill.nodes=2", "decode.nodes=2",
)  # fmt: skip


def test_pipelines_of_the_same_layers_send_stage_to_stage():
    asked = load_scenario("glm51-pd-256", assignments=PIPELINE)
    sends = asked.engine().kv_pushes(GLM).sends()
    assert [(send.source_rank, send.target_rank) for send in sends] == [(rank, rank) for rank in range(16)]
    layers = asked.engine().kv.layers(GLM)
    assert {sum(send.units) for send in sends} == {-(-layers // 2), layers // 2}


# ---- comparisons


def compared(tmp_path, capsys, server, gpus, *assignments):
    fabric = fabric_file(tmp_path / f"of-{server}.toml", gpus, server)
    given = [f"gpus={gpus}", "requests.count=24", "load.mode=open", "load.rate_per_s=8", *assignments]
    asked = [part for one in given for part in ("--set", one)]
    command().main(
        ["compare", "glm51-pd-256", "--fabric", fabric, *asked, "--json", "--out", str(tmp_path / f"out-{server}")],
        standalone_mode=False,
    )
    return json.loads(capsys.readouterr().out)["fabrics"][f"of-{server}"]


def nodes_of(size):
    return (
        f"prefill.gpus_per_node={size}", f"decode.gpus_per_node={size}", f"prefill.layout=dp{size}", f"decode.layout=dp{size}",
        f"kv.rank_map=dp{size}-dp{size}", "prefill.nodes=2", "decode.nodes=2",
    )  # fmt: skip


@pytest.mark.usefixtures("one_picture")
@pytest.mark.parametrize(
    ("server", "more"),
    [
        pytest.param(4, nodes_of(4), marks=pytest.mark.slow),
        pytest.param(16, (*nodes_of(16), "compute.device=ascend-910c"), marks=pytest.mark.slow),
        (72, (*nodes_of(8), "decode.nodes=9", "decode.nodes_per_instance=9", "compute.device=gb200-nvl72")),
        (8, PIPELINE),
    ],
)
def test_comparisons_run_to_their_end(tmp_path, capsys, server, more):
    found = compared(tmp_path, capsys, server, server * 8 if server < 72 else 216, *more)
    assert found["requests"]["completed"] == 24
    assert found["ttft_s"]["p50"] > 0


# ---- placement and NICs


def test_placement_and_nic_affinity_of_servers_of_sixteen(tmp_path):
    fabric = load_fabric(fabric_file(tmp_path / "mine.toml", 64, 16))
    load = KvLoad(prefill_nodes=2, decode_nodes=2, rank_map="tp16-tp16", transfers=20)
    report = placement_report(fabric, routing_for, load, trials=3)
    assert {row.transfer_s["mean"] > 0 for row in report.rows} == {True}
    ranks = rank_map("tp16-tp16", prefill_gpus=16, decode_gpus=16)
    found = nic_affinity(fabric, routing_for(fabric), report.best.placed, ranks)
    assert sorted(found.rules) == [(gpu, gpu) for gpu in range(16)]
    assert len(found.nic_names) == 16 * fabric.nic_ports
    with pytest.raises(InputError, match="divides the 16 GPUs"):
        placement_report(fabric, routing_for, load.model_copy(update={"rank_map": "tp12-tp12"}), trials=3)


@pytest.mark.parametrize("name", ["roft-512-a3", "zcube-512-a3"])
def test_a_bundled_scenario_of_servers_of_sixteen(name):
    scenario, fabric = load_scenario("glm51-910c"), load_fabric(name)
    seated = place(fabric, scenario)
    assert (seated.prefill[1], seated.decode[-1], fabric.gpus_per_server) == (16, 496, 16)
    sends = scenario.engine().kv_pushes(GLM).sends(0, 11)
    assert [(send.source_rank, send.target_rank) for send in sends] == [(0, 11)]
    device = load_device(scenario.compute.device)
    assert (fabric.nic_gbps, device.node.gpus) == (device.node.gpu_gbps, 16)
    assert fabric.cables.gbps[fabric.nvlink_cable].max() == pytest.approx(8 * device.peak.nvlink_gbytes_per_s)
