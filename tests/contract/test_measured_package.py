"""The installed package's tables, read without its code, against the CSV extracts of the same tables."""

import subprocess
import sys
from importlib.metadata import version

import numpy as np
import pytest

from zcube.llm.cards import load_card
from zcube.llm.compute_choice import compute_model, described
from zcube.llm.devices import load_device, measured_device_names
from zcube.llm.engine_layout import EngineLayout
from zcube.llm.measured import measure_deepep_errors
from zcube.llm.tables.grids import expert_points
from zcube.llm.tables.held_out import held_out_experts
from zcube.llm.tables.read import read_attention, read_deepep_experts, read_experts, table_model
from zcube.llm.tables.source import CsvSource


@pytest.mark.parametrize("device", measured_device_names())
def test_package_holds_the_points_of_the_extracts(package, device, shared_data):
    extract = CsvSource(shared_data / "aiconfigurator-glm5")
    for table in ("context", "generation"):
        for kv in ("fp8", "bf16"):
            ours, theirs = (_points(read_attention(source, table, device, kv)) for source in (extract, package))
            assert ours.items() <= theirs.items()
    ours, theirs = (read_experts(source, device, load_card("glm-5.1")) for source in (extract, package))
    assert np.sort(ours.seconds) == pytest.approx(np.sort(theirs.seconds))


def _points(table):
    keys = zip(table.heads, table.batch, table.new_tokens, table.prefix_tokens)
    return dict(zip(keys, table.seconds))


@pytest.mark.parametrize("device", measured_device_names())
@pytest.mark.parametrize("card", ["glm-5.1", "deepseek-v3.2"])
def test_models_and_devices_of_the_package(package, card, device):
    node = compute_model("measured", load_card(card), load_device(device), EngineLayout("cp8", "dp8"))
    found = described(node)
    assert found["tables"]["source"] == f"aiconfigurator-core {version('aiconfigurator-core')}"
    assert {"nccl", "deepep_normal", "deepep_low_latency", "all_reduce"} < set(found["tables"])
    assert "SGLang" in found["model"] and "NCCL" in found["model"]
    for operation, median in (
        ("prefill_attention", 0.03),
        ("decode_attention", 0.02),
        ("prefill_moe", 0.05),
        ("decode_moe", 0.05),
    ):
        assert node.stated_error[operation].median < median
    assert node.stated_error["prefill_attention_many_pieces"].median < 0.05
    context = read_attention(package, "context", device, "fp8", table_model(load_card(card)))
    assert load_card(card).heads in context.heads


@pytest.mark.parametrize("device", measured_device_names())
def test_stated_error_of_experts_behind_deepep_is_what_the_tables_give(package, device):
    card = load_device(device)
    found = measure_deepep_errors(card, package)
    assert set(found) == {"moe_deepep_normal", "moe_deepep_low_latency"}
    for operation, error in found.items():
        stated = card.stated_error[operation]
        assert (error.points, error.against) == (stated.points, stated.against)
        for key in ("median", "p90", "mape"):
            assert getattr(error, key) == pytest.approx(getattr(stated, key), rel=0.1), (operation, key)


@pytest.mark.parametrize("device", measured_device_names())
@pytest.mark.parametrize("kernel", ["deepep_normal", "deepep_low_latency"])
def test_held_out_experts_behind_deepep(package, device, kernel):
    figures, table = load_device(device).experts[kernel], read_deepep_experts(package, device, kernel)
    predicted, measured = held_out_experts(figures, table)
    error = np.abs(predicted / measured - 1)
    assert len(error) > 80
    # The loads behind neighbouring points were drawn anew, so that the interpolation cannot follow every point.
    assert np.median(error) < 0.05
    assert np.quantile(error, 0.9) < 0.15


@pytest.mark.parametrize(("device", "median"), [("h200", 0.08), ("b200", 0.05)])
def test_carrying_a_ratio_between_the_models_where_both_were_measured(package, device, median):
    # The fused kernel was measured in both sizes: DeepSeek's ratio to the roofline in place of GLM-5's own, experts sliced.
    figures, ratios = load_device(device).experts["fused"], []
    for name in ("glm-5.1", "deepseek-v3.2"):
        table = read_experts(package, device, load_card(name))
        table = table.rows(table.moe_tp == 8)
        ratios.append(dict(zip(zip(table.tokens, table.balance), expert_points(figures, table)[1])))
    assert ratios[0].keys() == ratios[1].keys()
    error = np.abs([ratios[1][point] / ratio - 1 for point, ratio in ratios[0].items()])
    assert np.median(error) < median


def test_none_of_the_packages_code_is_imported(package):
    script = (
        "import sys\n"
        "from zcube.llm.cards import load_card\n"
        "from zcube.llm.devices import load_device\n"
        "from zcube.llm.compute_choice import compute_model\n"
        "from zcube.llm.engine_layout import EngineLayout\n"
        "compute_model('measured', load_card('glm-5.1'), load_device('h200'), EngineLayout('tp8', 'tp8'))\n"
        "print([name for name in sys.modules if name.startswith('aiconfigurator')])\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
