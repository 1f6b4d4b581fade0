"""Measured tiles in decode: what a node, the batched engine and a generated trace take of them, and what a band is made of."""

import json
from pathlib import Path

import numpy as np
import pytest

import zcube as zc
from zcube.calibrate.marked_files import write_model
from zcube.calibrate.tile_choices import TileChoices
from zcube.calibrate.tile_figures import conventional_figures, node_figures
from zcube.calibrate.tile_parts import AllReduceTimes, Part, TileParts
from zcube.calibrate.tile_run import AppliedTiles
from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.compute import roofline
from zcube.llm.decode_node.figures import NodeFigures, load_node
from zcube.llm.decode_node.step import step
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.scenario import load_scenario

pytestmark = pytest.mark.usefixtures("one_picture")

CARD = load_card("glm-5.1")
TP8 = {"prefill.layout": "tp8", "decode.layout": "tp8", "kv.rank_map": "tp8-tilert", "kv.push": "after-prefill"}


def part(value, spread=0.1):
    return Part(value=value, low=value * (1 - spread), high=value * (1 + spread), source="made up")


def parts(hardware="2x NVIDIA B200", spread=0.1, **changed):
    values = {
        "put_us": 1.2, "fenced_put_us": 2.2, "stage_us": 2.0, "early_stage_us": 1.0, "kernel_us": 4.0,
        "dependent_kernel_us": 3.5, "stream_kernel_us": 6.0, "select_us": 9.0,
        "memory_gbytes_per_s": 5600.0, "index_tflops": 400.0,
    }  # fmt: skip
    found = {name: part(value, spread) for name, value in values.items()} | changed
    return TileParts(hardware=hardware, **found)


def among_eight(time_us):
    return AllReduceTimes(gpus=8, size_bytes=12288, persistent_us=part(time_us), graph_us=part(time_us + 2))


@pytest.fixture
def file(tmp_path):
    def written(made):
        write_model(made, tmp_path / "parts.json")
        return tmp_path / "parts.json"

    return written


def test_every_choice_moves_the_figure_it_is_of():
    node, made = load_node("tilert-b200"), parts()
    assert node_figures(node, made).values == {
        "signal_us": 1.2, "stage_us": 2.0, "kernel_us": 4.0, "select_us": 9.0,
        "memory_share": pytest.approx(5600 / node.device.peak.memory_gbytes_per_s),
        "index_share": pytest.approx(400 / node.device.peak.bf16_tflops),
    }  # fmt: skip
    for choice, figure, value in (
        ({"launch": "dependent"}, "kernel_us", 3.5),
        ({"launch": "stream"}, "kernel_us", 6.0),
        ({"put": "flag-a-block"}, "signal_us", 2.2),
        ({"stage": "early"}, "stage_us", 1.0),
    ):
        assert node_figures(node, made, TileChoices(**choice)).values[figure] == value


def test_figures_asked_for_go_before_measured_ones():
    found = node_figures(load_node("tilert-b200"), parts(), given=NodeFigures(stage_us=7.0))
    assert "stage_us" not in found.values
    assert found.kept["stage_us"] == "asked for by the scenario"
    applied = AppliedTiles(parts(), TileChoices(), load_node("tilert-b200"), None, NodeFigures(stage_us=7.0))
    assert (applied.node_figures().stage_us, applied.node_figures().signal_us) == (7.0, 1.2)


def test_an_all_reduce_among_eight_is_its_bytes_and_its_start():
    node = load_node("tilert-b200")
    plain, slow = (step(CARD, load_node("tilert-b200", figures=NodeFigures(all_reduce_us=us)), 1024) for us in (None, 21.5))
    assert plain.total_s == step(CARD, node, 1024).total_s
    # 156 all-reduces, each 20 us longer than a signal of 1.5; weights that stream meanwhile hide some of it.
    more_us = (slow.total_s - plain.total_s) * 1e6
    assert 0.5 * 156 * 20.0 < more_us <= 156 * 20.0 + 1e-6


@pytest.mark.parametrize(("value", "taken"), [(0.0, 1e-6), (1e9, None)])
def test_parts_at_their_ends_are_taken_or_refused_by_name(value, taken):
    figure = part(value, 0.0)
    applied = AppliedTiles(parts(put_us=figure), TileChoices(), load_node("tilert-b200"), None, NodeFigures())
    if taken is None:
        with pytest.raises(InputError, match=r"tiles.parts: signal_us: found 1000000000"):
            applied.check()
    else:
        applied.check()
        assert applied.node_figures().signal_us == taken


def engine(layout):
    return EngineLayout("tp8", layout)


@pytest.mark.parametrize("layout", ["tp8", "dp8"])
def test_the_batched_engine_takes_a_kernels_start(layout):
    device = load_device("b200")
    plain = roofline(CARD, device, engine(layout))
    slow = plain.with_decode_starts(device.memory.base_us + 1.0, None)
    contexts = np.array([4096, 9000])
    # Two norms in every layer; router, its choice and a sum in those with experts, where the fused kernel has no sum.
    fused = engine(layout).decode_experts == "fused"
    kernels = 2 * CARD.layers + (2 if fused else 3) * CARD.moe_layers
    more_s = slow.decode_steps_s(contexts, 3) - plain.decode_steps_s(contexts, 3)
    assert more_s == pytest.approx(kernels * 1e-6)
    assert slow.prefill_iteration_s([512], [0]) == plain.prefill_iteration_s([512], [0])


def test_the_batched_engine_takes_an_all_reduce_that_was_measured_among_eight():
    device = load_device("b200")
    eight = parts(all_reduces=(among_eight(3.0),))
    found = conventional_figures(device, eight)
    start_us = 5.0 - 7 * 12288 / device.peak.nvlink_gbytes_per_s * 1e-3
    assert found.values == {"memory.base_us": 4.0, "links.decode_all_reduce": pytest.approx(start_us)}
    plain = roofline(CARD, device, engine("tp8"))
    more_s = plain.with_decode_starts(None, 12.222).decode_steps_s(np.array([4096]), 1) - plain.decode_steps_s(
        np.array([4096]), 1
    )
    assert more_s == pytest.approx(2 * CARD.layers * (12.222 - device.links.decode_all_reduce.base_us) * 1e-6)


def test_the_batched_engine_keeps_its_all_reduce_unless_fewer_may_stand_for_eight():
    device = load_device("b200")
    fewer = tuple(
        AllReduceTimes(gpus=gpus, size_bytes=12288, persistent_us=part(1.0), graph_us=part(time))
        for gpus, time in ((2, 3.6), (4, 4.8))
    )
    kept = conventional_figures(device, parts(all_reduces=fewer))
    assert "links.decode_all_reduce" not in kept.values
    assert "among 8" in kept.kept["links.decode_all_reduce"]
    asked = conventional_figures(device, parts(all_reduces=fewer), TileChoices(conventional_all_reduce="extrapolated"))
    assert asked.values["links.decode_all_reduce"] > 4.8
    streamed = TileChoices(conventional_all_reduce="extrapolated", launch="stream")
    assert "links.decode_all_reduce" not in conventional_figures(device, parts(all_reduces=fewer), streamed).values


def served(changes, file=None, draws=2):
    """Return the comparison document of a few requests on both engines."""
    given = {
        "fabrics": ["roft-256", "roft-256+tilert"],
        "baseline": None,
        "requests.count": 12,
        "compute.device": "b200",
        **TP8,
    }
    given |= {} if file is None else {"tiles.parts": str(file), "network.calibration_draws": draws}
    given |= changes
    return zc.compare(load_scenario("glm51-pd-256", given)).document()


def test_a_run_takes_the_parts_and_says_so(file):
    plain, made = served({}), served({}, file(parts()))
    assert plain["tiles"] is None
    assert all(fabric["tiles"] is None for fabric in plain["fabrics"].values())
    said = made["tiles"]
    assert said["name"] == "2x NVIDIA B200"
    assert {one["figure"]: one["value"] for one in said["tilert"]["applied"]}["stage_us"] == 2.0
    assert said["tilert"]["kept"]["overlap"] == "not measured"
    assert [one["figure"] for one in said["batched"]["applied"]] == ["memory.base_us"]
    assert "among 8" in said["batched"]["kept"]["links.decode_all_reduce"]
    assert said["warnings"] == []
    # What the file states of its own figures holds of others no longer.
    assert "tilert_step" in plain["compute"]["stated_error"]
    assert "tilert_step" not in made["compute"]["stated_error"]
    for name in made["fabrics"]:
        before, after = (document["fabrics"][name]["tpot_s"]["mean"] for document in (plain, made))
        assert after != before, name
        low, high = made["fabrics"][name]["tiles"]["band"]["figures"]["tpot_s.mean"]
        assert low < after < high, name
    # The band of TileRT's nodes is of TileRT's nodes.
    band = made["fabrics"]["roft-256+tilert"]["tiles"]["band"]["figures"]["tpot_s.mean"]
    assert band[1] < made["fabrics"]["roft-256"]["tpot_s"]["mean"]


def test_no_interval_and_no_draw_give_no_band_and_say_why(file):
    exact = served({}, file(parts(spread=0.0)))["fabrics"]["roft-256"]["tiles"]["band"]
    assert (exact["figures"], exact["why_none"]) == ({}, "no step takes a time that has an interval")
    undrawn = served({}, file(parts()), draws=0)["fabrics"]["roft-256"]["tiles"]["band"]
    assert undrawn["why_none"] == "calibration_draws is 0"


def test_the_command_tells_calibrations_apart(run, file, tmp_path):
    made = file(parts("1x NVIDIA A100-SXM4-80GB", put_us=None))
    words = [word for key, value in {**TP8, "requests.count": 4}.items() for word in ("--set", f"{key}={value}")]
    command = ["compare", "glm51-pd-256", "--fabric", "roft-256+tilert", *words, "--calibration", made]
    status, out, err = run(*command, "--json")
    assert status == 0, err
    said = json.loads(out)["tiles"]
    assert said["tilert"]["kept"]["signal_us"] == "no put was measured"
    assert "tiles.peak_memory_gbytes_per_s" in said["tilert"]["kept"]["memory_share"]
    assert said["batched"] is None
    assert "decode is of b200, the tiles are of 1x NVIDIA A100" in said["warnings"][0]
    status, out, _ = run(*command, "--out", tmp_path / "out")
    assert status == 0
    words = " ".join(out.split())
    assert "defaults that stay" in words
    assert "signal_us (no put was measured)" in words
    assert "signal_us (no put was measured)" in (tmp_path / "out" / "report.html").read_text()
    status, _, err = run(*command, "--calibration", made)
    assert (status, "a second one of tiles" in err) == (2, True)
    kept = Path(__file__).resolve().parents[2] / "calibrations" / "tiles-2x-h200.json"
    status, _, err = run("compare", "glm51-pd-256", "--calibration", kept)
    assert (status, "what zcube calibrate fit makes of them" in err) == (2, True)


def test_choices_without_parts_are_refused(run):
    status, _, err = run("compare", "glm51-pd-256", "--set", "tiles.launch=stream")
    assert status == 2
    assert "tiles: found" in err


def test_a_generated_trace_takes_the_parts(run, file, tmp_path):
    made, out_path = file(parts()), tmp_path / "trace.jsonl"
    command = ["trace", "generate", "--engine", "tilert", "--prefill-nodes", "0", "--out", out_path]
    status, _, err = run(*command, "--calibration", made, "--json")
    assert status == 0, err
    metadata = json.loads(out_path.read_text().splitlines()[0])["metadata"]
    said = {one["figure"]: one["value"] for one in metadata["compute"]["tiles"]["tilert"]["applied"]}
    assert said["stage_us"] == 2.0
    figures = NodeFigures.model_validate(said)
    expected = step(CARD, load_node("tilert-b200", figures=figures), 8192)
    assert metadata["decode_step"]["step_ms"] == pytest.approx(1e3 * expected.total_s)
    assert metadata["options"]["tilert_figures"]["stage_us"] == 2.0
    status, _, err = run(*command, "--set", "tiles.launch=stream")
    assert (status, "no --calibration" in err) == (2, True)


def test_a_step_that_a_trace_tells_is_of_its_device(run, tmp_path):
    out_path = tmp_path / "trace.jsonl"
    command = ["trace", "generate", "--engine", "tilert", "--prefill-nodes", "0", "--set", "device=h200", "--out", out_path]
    assert run(*command)[0] == 0
    told = json.loads(out_path.read_text().splitlines()[0])["metadata"]["decode_step"]["step_ms"]
    assert told == pytest.approx(1e3 * step(CARD, load_node("tilert-b200", load_device("h200")), 8192).total_s)


def test_a_conventional_trace_takes_a_kernels_start(run, file, tmp_path):
    seconds = []
    for words in ([], ["--calibration", file(parts())]):
        out_path = tmp_path / "trace.jsonl"
        status, _, err = run("trace", "generate", "--engine", "sglang", "--prefill-nodes", "0", *words, "--out", out_path)
        assert status == 0, err
        metadata = json.loads(out_path.read_text().splitlines()[0])["metadata"]
        seconds.append(float(np.nansum(zc.load_trace(out_path).duration_s)))
    assert metadata["compute"]["tiles"]["batched"]["applied"][0]["figure"] == "memory.base_us"
    assert metadata["options"]["decode_kernel_us"] == 4.0
    # A start of 4 us in place of 3 for every kernel around the blocks, on eight GPUs of one node under dp8.
    kernels = 2 * CARD.layers + 3 * CARD.moe_layers
    assert seconds[1] - seconds[0] == pytest.approx(8 * kernels * 1e-6)


def test_a_generated_trace_does_not_write_over_the_parts(run, file, tmp_path):
    made = file(parts())
    before = made.read_text()
    command = ["trace", "generate", "--engine", "tilert", "--prefill-nodes", "0", "--out", tmp_path / "trace.jsonl"]
    status, _, err = run(*command, "--calibration", made, "--chrome", made)
    assert (status, made.read_text()) == (2, before)
    assert "--chrome" in err


@pytest.mark.parametrize("verb", ["compare", "trace"])
def test_parts_that_no_node_can_have_at_an_end_are_refused_by_every_verb(run, file, tmp_path, verb):
    made = file(parts(put_us=Part(value=1.2, low=1.0, high=1e9, source="made up")))
    changes = [word for key, value in TP8.items() for word in ("--set", f"{key}={value}")]
    commands = {
        "compare": ["compare", "glm51-pd-256", "--fabric", "roft-256+tilert", *changes],
        "trace": ["trace", "generate", "--engine", "tilert", "--prefill-nodes", "0", "--out", tmp_path / "trace.jsonl"],
    }
    status, _, err = run(*commands[verb], "--calibration", made)
    assert status == 2
    assert "tiles.parts: signal_us: found 1000000000" in err
