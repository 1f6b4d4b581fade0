"""TileRT's decode node against published speeds, and against times and bytes worked out by hand."""

import importlib.util
import itertools
from pathlib import Path

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.decode_node.figures import CONVENTIONAL, TILERT, Ideas, load_node
from zcube.llm.decode_node.published import TILERT_POINTS
from zcube.llm.decode_node.step import CHAIN, ideas, speed, step
from zcube.llm.decode_node.work import distinct_experts
from zcube.llm.devices import load_device

CARD = load_card("glm-5.1")
NODE = load_node("tilert-b200")
#: Input in units of 1,024 tokens, drafts, tokens per second: chart of TileRT 0.1.5, output 1K, 3.2 tokens a step with drafts.
CHART = [
    (1, 0, 301), (32, 0, 197), (64, 0, 184), (192, 0, 169),
    (1, 3, 618), (32, 3, 429), (64, 3, 406), (192, 3, 352),
]  # fmt: skip


@pytest.mark.parametrize("ktokens, drafts, published", CHART)
def test_published_speeds(ktokens, drafts, published):
    mean = np.mean([speed(CARD, NODE, 1024 * ktokens + made, drafts, 3.2 if drafts else 1) for made in range(0, 1024, 64)])
    assert mean == pytest.approx(published, rel=0.10)


def test_points_of_the_fit_are_the_chart():
    assert [(point.input_ktokens, point.drafts, point.tokens_per_s) for point in TILERT_POINTS] == CHART


def test_fit_gives_the_figures_of_the_file_and_predicts_what_is_left_out():
    path = Path(__file__).resolve().parents[2] / "benchmarks" / "fit_tilert.py"
    spec = importlib.util.spec_from_file_location("fit_tilert", path)
    script = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(script)
    made = script.fit(NODE.model_copy(update={"stage_us": 2.0, "select_us": 10.0}), TILERT_POINTS)
    assert {name: getattr(made, name) for name in script.BOUNDS} == pytest.approx(
        {name: getattr(NODE, name) for name in script.BOUNDS}, rel=0.02
    )
    inside = np.abs(script.errors(NODE, TILERT_POINTS))
    assert inside.mean() == pytest.approx(NODE.stated_error["in-sample"].mape, abs=0.001)
    # The points at the ends of both rows, where leaving out is extrapolation.
    for left_out in (TILERT_POINTS[0], TILERT_POINTS[3], TILERT_POINTS[7]):
        rest = [point for point in TILERT_POINTS if point is not left_out]
        assert abs(script.errors(script.fit(NODE, rest), [left_out])[0]) < 0.10


def test_fitted_figures_are_plausible():
    assert 0.3 <= NODE.memory_share <= 1
    assert 0.01 <= NODE.index_share <= 1
    assert 0.5 <= NODE.stage_us <= 10
    assert 1 <= NODE.select_us <= 50


def test_step_below_topk_is_a_sum_by_hand():
    """GLM-5.1, 1,000 tokens: nothing is selected and GPUs 1-7 set the pace."""
    gbytes_per_s = NODE.memory_share * 7700e9
    stage_s, put_s = 2.66e-6, 1.5e-6 + 7 * 12288 / 900e9
    latent = 6144 * (2048 + 576)
    rows = 1001 * 1152
    attention = 10 * (2048 * 256 + 512 * 192 + 512 * 256 + 256 * 6144) + rows
    router, shared, routed = 2 * 6144 * 256, 3 * 6144 * 2048 / 8, 8 * 3 * 6144 * 2048 / 8
    dense = 3 * 6144 * 12288 / 8
    head = 2 * 154880 * 6144 / 8
    # What streams while an all-reduce is under way is free as far as the all-reduce lasts.
    hidden = lambda early: min(put_s, 0.8 * early / gbytes_per_s)  # noqa: E731
    attention_s = 6 * stage_s + (latent + attention) / gbytes_per_s
    expert_s = 3 * stage_s + (router + shared + routed) / gbytes_per_s + put_s - hidden(router + shared * 2 / 3)
    dense_s = 2 * stage_s + dense / gbytes_per_s + put_s - hidden(dense * 2 / 3)
    incoming_s = put_s - hidden(latent)
    head_s = 2 * stage_s + head / gbytes_per_s + put_s - hidden(head)
    total_s = 78 * attention_s + 77 * incoming_s + 3 * dense_s + 75 * expert_s + head_s
    assert step(CARD, NODE, 1000).total_s == pytest.approx(total_s, rel=1e-9)


def test_selection_costs_what_the_index_worker_takes_longer():
    """From 2,048 to 2,049 tokens: index logits, top-k and broadcast come before attention, less what runs beside them."""
    gbytes_per_s = NODE.memory_share * 7700e9
    stage_s = 2.66e-6
    index = 4 * stage_s + NODE.select_us * 1e-6
    index += (6144 * 160 + 2048 * 4096 + 2049 * 256) / gbytes_per_s + 2 * 32 * 128 * 2049 / (NODE.index_share * 2250e12)
    index += 1.5e-6 + 7 * 16384 / 900e9
    beside = 3 * stage_s + (6144 * 576 + 10 * (2048 * 256 + 512 * 192)) / gbytes_per_s
    added_s = step(CARD, NODE, 2048).total_s - step(CARD, NODE, 2047).total_s
    # The first query latent streams nothing early; both rows' early parts differ by less than an all-reduce.
    assert added_s == pytest.approx(78 * (index - stage_s - (beside - stage_s)), rel=0.02)


@pytest.mark.parametrize("name, layers, hidden", [("glm-5.1", 78, 6144), ("deepseek-v3.2", 61, 7168)])
@pytest.mark.parametrize("drafts", [0, 1, 3])
@pytest.mark.parametrize("context", [100, 50_000])
def test_bytes_and_counts(name, layers, hidden, drafts, context):
    made = step(load_card(name), NODE, context, drafts)
    tokens = drafts + 1
    assert made.all_reduces == 2 * layers + 3 * drafts
    assert made.broadcasts == layers + drafts
    assert made.all_reduce_bytes == 2 * hidden * (2 * layers * tokens + 3 * drafts)
    assert made.broadcast_bytes == 7 * 2 * 8192 * (layers * tokens + drafts)
    alike = step(load_card(name), NODE, context, drafts, ideas=Ideas(heterogeneous_workers=False))
    assert (alike.broadcasts, alike.broadcast_bytes) == (0, 0)
    assert alike.all_reduce_bytes == made.all_reduce_bytes


def test_distinct_experts_by_counting():
    small = CARD.model_copy(update={"routed_experts": 5, "experts_per_token": 2})
    choices = list(itertools.combinations(range(5), 2))
    counted = np.mean([len({*one, *two, *three}) for one, two, three in itertools.product(choices, repeat=3)])
    assert distinct_experts(small, 3) == pytest.approx(counted)
    assert distinct_experts(CARD, 1) == 8
    assert distinct_experts(CARD, 4) == pytest.approx(30.5, abs=0.05)


def test_index_worker_below_and_above_topk():
    below, above = (step(CARD, NODE, context).workers for context in (1500, 30_000))
    # Below, attention sets the pace; above, it waits for the ids.
    assert below[1].waiting_s == pytest.approx(0, abs=1e-9)
    assert above[1].waiting_s > 1e-3
    assert below[0].waiting_s > above[0].waiting_s
    assert above[0].index_s - below[0].index_s == pytest.approx(
        78
        * (
            2 * NODE.stage_us * 1e-6
            + NODE.select_us * 1e-6
            + 30_001 * 256 / (NODE.memory_share * 7700e9)
            + 8192 * 30_001 / (NODE.index_share * 2250e12)
        ),
        rel=1e-9,
    )


def test_chain_of_ideas_goes_from_conventional_to_tilert():
    assert CHAIN[0][1] == CONVENTIONAL and CHAIN[-1][1] == TILERT
    for context, drafts in ((1000, 0), (65_536, 0), (190_000, 3)):
        chain = ideas(CARD, NODE, context, drafts)
        assert all(effect.saved_s > 0 for effect in chain[1:])
        saved = sum(effect.saved_s for effect in chain)
        assert chain[0].step.total_s - saved == pytest.approx(chain[-1].step.total_s)
        assert chain[-1].step == step(CARD, NODE, context, drafts)


def test_conventional_engine_beside_the_published_bars():
    """SGLang 0.5.9 and vLLM 0.16 without drafts: nothing is fitted, so a factor of 1.6 is what the docs state."""
    for context, bars in ((1536, (52, 59)), (192 * 1024 + 512, (33, 44))):
        made = speed(CARD, NODE, context, ideas=CONVENTIONAL)
        for bar in bars:
            assert 1 / 1.6 < made / bar < 1.6


def test_another_device_has_its_own_peaks():
    slower = load_node("tilert-b200", load_device("h200"))
    assert slower.device.name == "h200"
    assert step(CARD, slower, 65_536).total_s > step(CARD, NODE, 65_536).total_s


@pytest.mark.parametrize(
    "arguments, faults",
    [
        ({"context_tokens": -1}, 1),
        ({"context_tokens": 202_752}, 1),
        ({"context_tokens": 1.5}, 1),
        ({"context_tokens": 10**9, "drafts": 99, "query_tokens": 0}, 2),
        ({"context_tokens": 10, "drafts": -1, "query_tokens": 500}, 2),
    ],
)
def test_arguments_out_of_range(arguments, faults):
    with pytest.raises(InputError) as error:
        step(CARD, NODE, **arguments)
    assert len(error.value.faults) == faults


def test_drafts_need_a_prediction_layer_and_accepted_tokens_a_range():
    with pytest.raises(InputError, match="multi-token-prediction"):
        step(CARD.model_copy(update={"mtp_layers": 0}), NODE, 100, 3)
    with pytest.raises(InputError, match="accepted"):
        speed(CARD, NODE, 100, 0, 3.2)
