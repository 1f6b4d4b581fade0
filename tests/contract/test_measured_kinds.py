"""The installed package's tables of every kind of attention: units, errors on points held out, and what each model takes."""

import numpy as np
import pytest

from zcube.llm.cards import card_names, load_card
from zcube.llm.compute_choice import compute_model, described
from zcube.llm.devices import load_device
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.kinds.efficiencies import load_efficiencies
from zcube.llm.kinds.latent import measured_step_s
from zcube.llm.tables.held_shapes import KINDS, held_shapes
from zcube.llm.tables.kernels import halves, read_blocks, read_heads, read_states

#: Of all measured devices and kinds the one that misses 6 %: H200's table of linear prefill takes longer for 64 pieces of 1,024
#: tokens than for 64 of 2,048, and other such; H100's table of the same kernels is met at 2 %.
UNEVEN = ("h200", "linear", "prefill")


@pytest.mark.parametrize("device", ["h200", "gb200-nvl72"])
def test_units_are_those_that_the_data_sheet_allows(package, device):
    """Milliseconds: the largest points take longer than the data sheet's rates allow, and less than 20 times that."""
    peak = load_device(device).peak
    for kv, rate in (("fp8", peak.fp8_tflops), ("bf16", peak.bf16_tflops)):
        points = read_heads(package, "context", device, kv)
        flops = 4 * points.heads * points.head_dim * points.batch * points.tokens * (points.tokens + 1) / 2
        long = (points.window == 0) & (flops > 1e12)
        assert (points.seconds[long] > flops[long] / (rate * 1e12)).all()
        assert np.median(points.seconds[long] * rate * 1e12 / flops[long]) < 20
        steps = read_heads(package, "generation", device, kv)
        size = 2 * steps.kv_heads * steps.head_dim * steps.batch * steps.tokens * (1 if kv == "fp8" else 2)
        large = (steps.window == 0) & (size > 1e9)
        assert (steps.seconds[large] > size[large] / (peak.memory_gbytes_per_s * 1e9)).all()
        assert np.median(steps.seconds[large] * peak.memory_gbytes_per_s * 1e9 / size[large]) < 20
    blocks, states = read_blocks(package, "context", device), read_states(package, "generation", device)
    flops = 2 * blocks.heads * 320 * blocks.batch * blocks.tokens**2 / 2
    long = flops > 1e12
    assert (blocks.seconds[long] > flops[long] / (peak.bf16_tflops * 1e12)).all()
    moved = 8 * states.batch * states.value_heads * states.key_dim * states.value_dim
    large = moved > 3e8
    assert (states.seconds[large] > moved[large] / (peak.memory_gbytes_per_s * 1e9)).all()


@pytest.mark.parametrize("device", ["h200", "b200"])
def test_held_out_error_of_every_kind(package, device):
    for kind in KINDS:
        for phase, (ours, measured) in held_shapes(kind, load_device(device), package).items():
            error = np.abs(ours / measured - 1)
            assert np.median(error) < (0.09 if (device, kind, phase) == UNEVEN else 0.06), (kind, phase)
            stated = load_efficiencies(device, kind).stated_error[f"{phase}_{kind}"]
            assert stated.median <= 0.15, (kind, phase)
            assert np.median(error) < stated.median, (kind, phase)


def test_stated_errors_are_over_points_that_the_fit_was_not_given(package):
    points = read_blocks(package, "generation", "h200")
    fitted, others = halves(points)
    assert not (fitted & others).any() and (fitted | others).all()
    stated = load_efficiencies("h200", "latent").stated_error["decode_latent"]
    assert stated.points == others.sum()
    rest = points.rows(others)
    figures = load_efficiencies("h200", "latent").latent.decode
    ours = measured_step_s(load_card("deepseek-v3"), figures, load_device("h200").peak, rest.heads, rest.batch, rest.tokens)
    assert np.median(np.abs(ours / rest.seconds - 1)) == pytest.approx(stated.median, rel=0.02)


@pytest.mark.parametrize("name", card_names())
def test_every_model_is_priced_from_tables_and_says_where_it_has_none(package, name):
    card = load_card(name)
    node = compute_model("measured", card, load_device("b200"), EngineLayout("dp8", "tp8"))
    steps = node.decode_steps_s(np.full(64, 8192), 4)
    assert (steps > 0).all() and node.prefill_iteration_s([8192, 100], [0, 4000]) > 0
    found = described(node)
    assert {operation.split("_", 2)[0] for operation in found["range"]} == {"prefill", "decode"}
    attention = {operation: text for operation, text in found["range"].items() if "attention" in operation}
    plain = compute_model("roofline", card, load_device("b200"), EngineLayout("dp8", "tp8"))
    for operation, text in attention.items():
        assert operation in node.stated_error or operation.startswith(("prefill_attention", "decode_attention"))
        if text.startswith("no table"):
            assert node.stated_error[operation] == plain.stated_error[operation]
        else:
            assert "held out" in node.stated_error[operation].against


def test_the_fastest_of_kernels_measured_side_by_side_is_not_mixed_with_others(package):
    """B200's table has FlashInfer's, Triton's and TensorRT-LLM's kernels at the same points: one of them is read a size."""
    for phase in ("context", "generation"):
        points = read_heads(package, phase, "b200", "bf16")
        keys = np.column_stack(
            [getattr(points, field) for field in ("batch", "tokens", "heads", "kv_heads", "head_dim", "window")]
        )
        assert len(np.unique(keys, axis=0)) > 0.99 * len(keys)
