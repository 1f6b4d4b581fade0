"""What a node's GPUs have to hold, by hand, and nodes that no device can make: named by key, with the sum."""

import re
from pathlib import Path

import pytest

from zcube.cli.app import command
from zcube.errors import InputError
from zcube.llm.cards import load_card
from zcube.llm.devices import load_device
from zcube.llm.kv import KvLayout
from zcube.llm.layout import layout_of
from zcube.llm.node_memory import GpuMemory, gpu_memory
from zcube.node_fit import memory_faults, pool_memory, within_memory
from zcube.prepared import named_by
from zcube.scenario import load_scenario
from zcube.serving.pools import USUAL_KV_TOKENS

H200, H20, GB200 = load_device("h200"), load_device("h20"), load_device("gb200-nvl72")
LLAMA, GLM, QWEN = load_card("llama-3.1-405b"), load_card("glm-5.1"), load_card("qwen3-235b-a22b")


def memory(card, layout, gpus, stages=1, ep_nodes=1, bits=8, kv="bf16"):
    return gpu_memory(card, H200, layout_of(layout, gpus), stages, ep_nodes, KvLayout(kv), bits)


def test_weights_of_a_dense_model_are_dealt_evenly():
    embeddings = 2 * LLAMA.embedding_parameters
    expected = (LLAMA.total_parameters - embeddings) + 2 * embeddings
    assert memory(LLAMA, "tp8", 8).weight_bytes == pytest.approx(expected / 8)
    assert memory(LLAMA, "tp8", 8, stages=2).weight_bytes == pytest.approx(expected / 16)
    assert memory(LLAMA, "tp8", 8, bits=16).weight_bytes == pytest.approx(LLAMA.total_parameters * 2 / 8)


def test_data_parallel_gpus_hold_attention_whole_and_their_part_of_the_experts():
    sliced, spread, over_nodes = (memory(GLM, "tp8", 8), memory(GLM, "dp8", 8), memory(GLM, "dp8", 8, ep_nodes=4))
    attention = GLM.layers * (GLM.attention_parameters + GLM.indexer_parameters)
    experts = GLM.moe_layers * GLM.routed_experts * GLM.expert_parameters
    assert spread.weight_bytes - sliced.weight_bytes == pytest.approx(attention * 7 / 8)
    assert spread.weight_bytes - over_nodes.weight_bytes == pytest.approx(experts / 8 * 3 / 4)


def test_copies_of_experts_are_dealt_out_with_the_experts():
    scenario = load_scenario("glm51-pd-256", assignments=("decode.redundant_experts=16",))
    copies = pool_memory(scenario, "decode", GLM, H200).weight_bytes - memory(GLM, "dp8", 8).weight_bytes
    assert copies == pytest.approx(GLM.moe_layers * 2 * GLM.expert_parameters)


def test_latents_are_whole_on_every_gpu_and_heads_are_sliced_down_to_one():
    assert memory(GLM, "tp8", 8).token_bytes == 109_824
    assert memory(GLM, "dp8", 8).token_bytes == 109_824 / 8
    assert memory(GLM, "dp4", 8).token_bytes == 109_824 / 4
    assert memory(LLAMA, "tp8", 8, stages=2).token_bytes == 516_096 / 16
    # Four heads of keys and values on eight GPUs: each is held twice.
    assert memory(QWEN, "tp4", 4).token_bytes == memory(QWEN, "tp8", 8).token_bytes == 192_512 / 4


def test_tokens_that_weights_leave_memory_for():
    found = memory(LLAMA, "tp8", 8)
    assert found.needed_bytes(found.most_tokens) <= 141e9 < found.needed_bytes(found.most_tokens + 1)
    without = H200.model_copy(update={"peak": H200.peak.model_copy(update={"memory_gbytes": None})})
    assert gpu_memory(LLAMA, without, layout_of("tp8", 8), 1, 1, KvLayout("fp8")).most_tokens is None


def faults_of(*assignments, name="glm51-pd-256"):
    with pytest.raises(InputError) as caught:
        named_by(load_scenario(name, assignments=assignments))
    assert caught.value.exit_status == 2
    return {fault.where: fault for fault in caught.value.faults}


WIDE = (
    "prefill.gpus_per_node=72", "decode.gpus_per_node=72", "prefill.layout=dp72", "decode.layout=dp72", "prefill.nodes=2",
    "decode.nodes=2", "kv.rank_map=dp72-dp72", "gpus=288", "fabrics=['zcube-288-nvl72']", "baseline='zcube-288-nvl72'",
)  # fmt: skip


def test_a_stage_larger_than_the_scale_up_domain_is_a_fault():
    found = faults_of(*WIDE, "compute.device=h20")
    assert set(found) == {
        "prefill.gpus_per_node", "decode.gpus_per_node", "fabric zcube-288-nvl72: gpus_per_server",
    }  # fmt: skip
    fault = found["decode.gpus_per_node"]
    assert fault.found == "72 GPUs of a stage"
    assert fault.expected.startswith("at most 8, the GPUs that NVLink 4 joins (node.scale_up_gpus of h20)")
    named_by(load_scenario("glm51-pd-256", assignments=[*WIDE, "compute.device=gb200-nvl72"]))


def test_stages_of_a_pipeline_are_measured_one_by_one():
    stages = ("gpus_per_node=16", "pipeline_stages=2", "layout=tp8", "nodes=2")
    both = [f"{pool}.{one}" for pool in ("prefill", "decode") for one in stages]
    named_by(load_scenario("glm51-pd-256", assignments=[*both, "kv.rank_map=tp8-tp8"]))


def test_servers_larger_than_the_scale_up_domain_are_a_fault():
    found = faults_of("fabrics=['roft-512-a3']", "baseline='roft-512-a3'", "gpus=512")
    assert found["fabric roft-512-a3: gpus_per_server"].found == "16 GPUs of a server"


def test_a_sweep_is_refused_before_it_runs_if_no_point_has_nodes_that_can_be(tmp_path):
    path = tmp_path / "study.toml"
    path.write_text('scenarios = ["glm51-pd-256"]\n[grid]\n"compute.device" = ["h20", "h100"]\n')
    with pytest.raises(InputError) as caught:
        command().main(["sweep", str(path), "--dry-run"], standalone_mode=False)
    assert {fault.where for fault in caught.value.faults} == {"prefill.layout", "decode.layout"}
    assert ("the 96 GB of a h20" in str(caught.value), "the 80 GB of a h100" in str(caught.value)) == (True, True)


def test_weights_that_do_not_fit_are_a_fault_with_their_sum():
    scenario = load_scenario("glm51-pd-256")
    weights = pool_memory(scenario, "decode", GLM, H20).weight_bytes / 1e9
    assert weights > 96
    found = faults_of("compute.device=h20")
    assert set(found) == {"prefill.layout", "decode.layout"}
    assert f"{weights:.4g} GB of weights (glm-5.1, 8 bits a weight)" in found["decode.layout"].found
    assert "the 96 GB of a h20" in found["decode.layout"].expected
    named_by(load_scenario("glm51-pd-256", assignments=["compute.device=h20", "compute.weight_bits=4"]))


@pytest.mark.parametrize("pool", ["prefill", "decode"])
def test_kv_that_does_not_fit_is_a_fault_with_the_sum(pool):
    memory = pool_memory(load_scenario("glm51-pd-256"), pool, GLM, H200)
    most = memory.most_tokens
    named_by(load_scenario("glm51-pd-256", assignments=[f"{pool}.kv_capacity_tokens={most}"]))
    (fault,) = faults_of(f"{pool}.kv_capacity_tokens={most + 1}").values()
    assert fault.where == f"{pool}.kv_capacity_tokens"
    assert f"{memory.weight_bytes / 1e9:.4g} GB of weights" in fault.found
    assert fault.found.endswith("141 GB")
    assert fault.expected.startswith(f"at most {most}, for the 141 GB of a h200")


def test_capacity_that_nobody_names_is_the_usual_one_or_what_memory_leaves():
    usual = load_scenario("glm51-pd-256")
    assert within_memory(usual, GLM, H200).decode.kv_capacity_tokens == usual.decode.kv_tokens == 8 * USUAL_KV_TOKENS
    large = load_scenario("glm51-pd-256", assignments=["kv.dtype=bf16"])
    most = pool_memory(large, "decode", GLM, H200).most_tokens
    assert within_memory(large, GLM, H200).decode.kv_capacity_tokens == most < 8 * USUAL_KV_TOKENS
    assert not memory_faults(large, GLM, H200)
    named = load_scenario("glm51-pd-256", assignments=["decode.kv_capacity_tokens=1000"])
    assert within_memory(named, GLM, H200) is named
    # TileRT's nodes are B200 whatever the scenario's device.
    other = large.model_copy(update={"decode": large.decode.model_copy(update={"engine": "tilert"})})
    assert within_memory(other, GLM, H200) is other


def test_prefixes_that_decode_nodes_keep_lie_beside_the_kv_of_requests():
    most = pool_memory(load_scenario("glm51-pd-256"), "decode", GLM, H200).most_tokens
    kept = "decode.prefix_cache_tokens=1000000"
    named_by(load_scenario("glm51-pd-256", assignments=[kept, f"decode.kv_capacity_tokens={most - 1_000_000}"]))
    (fault,) = faults_of(kept, f"decode.kv_capacity_tokens={most}").values()
    assert fault.where == "decode.kv_capacity_tokens"
    assert fault.found.startswith(f"{most} beside decode.prefix_cache_tokens = 1000000, with which")
    assert fault.expected.startswith(f"at most {most - 1_000_000} beside decode.prefix_cache_tokens = 1000000, for")
    (fault,) = faults_of(f"decode.prefix_cache_tokens={most + 1}").values()
    assert (fault.where, fault.expected.split(",")[0]) == ("decode.prefix_cache_tokens", f"at most {most}")
    nearly = load_scenario("glm51-pd-256", assignments=[f"decode.prefix_cache_tokens={most - 5}"])
    assert within_memory(nearly, GLM, H200).decode.kv_capacity_tokens == 5
    # Prefill's may lie in its hosts' memory.
    named_by(load_scenario("glm51-pd-256", assignments=[f"prefill.prefix_cache_tokens={10 * most}"]))


@pytest.mark.parametrize(
    ("where", "expected"),
    [
        (["decode.layout=tp8", "kv.rank_map=cp8-tp8"], "a layout of dp with attention_balance = kv, not tp8"),
        (
            ["decode.engine=tilert", "kv.rank_map=tp8-tilert", "kv.push=after-prefill", "prefill.layout=tp8"],
            "attention_balance",
        ),
    ],
)
def test_kv_is_evened_out_only_among_gpus_that_hold_different_requests(where, expected):
    with pytest.raises(InputError, match=expected):
        load_scenario("glm51-pd-256", assignments=[*where, "decode.attention_balance=kv"])


def test_the_tables_of_couplings_and_of_cache_tiers_name_what_fits():
    page = (Path(__file__).resolve().parents[2] / "docs" / "models.md").read_text(encoding="utf-8")
    for heading in ("Couplings", "Cache tiers"):
        section = page.split(f"\n## {heading}\n")[1].split("\n## ")[0]
        (room,) = re.findall(r"memory leaves a node ([\d.]+) million tokens", section)
        assignments = re.findall(r"--set\s+([\w.]+=[^\s`]+)", section)
        pool = pool_memory(load_scenario("glm51-pd-256", assignments=assignments), "decode", GLM, H200)
        assert float(room) == round(pool.most_tokens / 1e6, 2)
        for row in re.findall(r"^\| (.*?) \|", section, flags=re.MULTILINE):
            named = [int(tokens) for tokens in re.findall(r"`(?:prefill|decode)\.\w+_tokens ?= ?(\d+)`", row)]
            assert sum(named) <= pool.most_tokens, row


@pytest.mark.parametrize(("token_bytes", "most"), [(0.0, 0), (1e3, 0)])
def test_weights_beyond_memory_leave_no_token_whatever_one_takes(token_bytes, most):
    assert GpuMemory(weight_bytes=150e9, token_bytes=token_bytes, memory_bytes=141e9).most_tokens == most
    assert GpuMemory(weight_bytes=140e9, token_bytes=token_bytes, memory_bytes=None).most_tokens is None


def test_tokens_that_take_no_memory_are_not_bounded():
    assert GpuMemory(weight_bytes=140e9, token_bytes=0.0, memory_bytes=141e9).most_tokens is None


def test_every_bundled_scenario_fits_its_device():
    for name in ("deepseek-v3-h800", "glm51-910c", "gpt-oss-120b-mi300x", "kimi-k2-gb200", "llama-405b-h200", "nic-cap-32",
                 "qwen3-235b-h20", "zai-2026"):  # fmt: skip
        named_by(load_scenario(name))
