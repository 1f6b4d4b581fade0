"""A model's config.json as a card: what each family says, and what is refused by its key."""

import importlib.util
import json
from pathlib import Path

import pytest

from zcube.errors import InputError
from zcube.llm.card_import import import_card
from zcube.llm.cards import load_card

GROUPED = {
    "architectures": ["LlamaForCausalLM"],
    "num_hidden_layers": 4,
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "intermediate_size": 1024,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
    "tie_word_embeddings": False,
    "rope_theta": 500000.0,
}
LATENT = {
    "num_hidden_layers": 4,
    "hidden_size": 512,
    "num_attention_heads": 8,
    "num_key_value_heads": 8,
    "q_lora_rank": 128,
    "kv_lora_rank": 64,
    "qk_nope_head_dim": 32,
    "qk_rope_head_dim": 16,
    "v_head_dim": 32,
    "n_routed_experts": 16,
    "num_experts_per_tok": 4,
    "n_shared_experts": 1,
    "moe_intermediate_size": 128,
    "intermediate_size": 1024,
    "first_k_dense_replace": 1,
    "vocab_size": 1000,
    "max_position_embeddings": 4096,
}
SPARSE = LATENT | {"index_n_heads": 4, "index_head_dim": 64, "index_topk": 256}
EXPERTS = {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}
#: Files of the package `aiconfigurator-core` (extra `measured`) behind the bundled cards.
BUNDLED = {
    "glm-5.1": "zai-org--GLM-5.1",
    "glm-5.2": "zai-org--GLM-5.2",
    "deepseek-v3": "deepseek-ai--DeepSeek-V3",
    "deepseek-v3.2": "deepseek-ai--DeepSeek-V3.2",
    "kimi-k2": "moonshotai--Kimi-K2-Instruct",
    "qwen3-235b-a22b": "Qwen--Qwen3-235B-A22B",
    "gpt-oss-120b": "openai--gpt-oss-120b",
    "llama-3.1-405b": "meta-llama--Meta-Llama-3.1-405B",
    "minimax-m2.5": "MiniMaxAI--MiniMax-M2.5",
    "qwen3.5-397b-a17b": "Qwen--Qwen3.5-397B-A17B",
}


@pytest.fixture
def write(tmp_path):
    def written(config) -> Path:
        folder = tmp_path / "tiny"
        folder.mkdir(exist_ok=True)
        path = folder / "config.json"
        path.write_text(config if isinstance(config, str) else json.dumps(config))
        return path

    return written


def test_a_dense_model_of_grouped_queries(write):
    card = import_card(write(GROUPED)).card
    assert (card.name, card.attention, card.kv_heads, card.head_dim) == ("tiny", "grouped", 2, 64)
    assert (card.routed_experts, card.first_dense_layers, card.dense_intermediate) == (0, 4, 1024)
    attention = 512 * 512 + 512 * 2 * 64 * 2 + 512 * 512
    assert card.total_parameters == 4 * (attention + 3 * 512 * 1024) + 2 * 1000 * 512
    assert card.active_parameters == card.total_parameters - 1000 * 512


def test_heads_of_keys_and_values_not_named_are_those_of_queries(write):
    config = {key: value for key, value in GROUPED.items() if key != "num_key_value_heads"}
    assert import_card(write(config)).card.kv_heads == 8


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (LATENT, {"attention": "latent", "indexed_layers": 0, "moe_layers": 3, "kv_heads": 0}),
        (LATENT | {"q_lora_rank": None}, {"q_lora_rank": 0}),
        (SPARSE, {"indexed_layers": 4, "index_topk": 256}),
        (SPARSE | {"indexer_types": ["full", "shared", "shared", "full"]}, {"indexed_layers": 2}),
        (SPARSE | {"layer_types": ["deepseek_sparse_attention"] * 4}, {"window_layers": 0, "full_layers": 4}),
        (GROUPED | {"tie_word_embeddings": True}, {"tied_embeddings": True}),
        (GROUPED | {"sliding_window": 64}, {"window_layers": 4, "window_tokens": 64}),
        (GROUPED | {"sliding_window": 64, "use_sliding_window": False}, {"window_layers": 0, "window_tokens": 0}),
        (GROUPED | {"sliding_window": 64, "use_sliding_window": True, "max_window_layers": 3}, {"window_layers": 1}),
        (GROUPED | {"sliding_window": 64, "sliding_window_pattern": 2}, {"window_layers": 2, "full_layers": 2}),
        (GROUPED | {"sliding_window": 0}, {"window_layers": 0}),
        (
            GROUPED | {"sliding_window": 64, "layer_types": ["sliding_attention", "full_attention"] * 2},
            {"window_layers": 2, "full_layers": 2},
        ),
        (
            GROUPED | {"sliding_window": 64, "hybrid_layer_pattern": [0, 1, 1, 0], "swa_num_key_value_heads": 4},
            {"window_layers": 2, "window_kv_heads": 4},
        ),
        (
            GROUPED
            | {
                "layer_types": ["linear_attention"] * 3 + ["full_attention"],
                "linear_num_key_heads": 4,
                "linear_key_head_dim": 32,
                "linear_num_value_heads": 8,
                "linear_value_head_dim": 32,
                "linear_conv_kernel_dim": 4,
                "attn_output_gate": True,
            },
            {"linear_layers": 3, "full_layers": 1, "attention_gate": True},
        ),
        (
            GROUPED | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 128, "mlp_only_layers": [0]},
            {"first_dense_layers": 1, "moe_layers": 3, "moe_intermediate": 128},
        ),
        (
            GROUPED | {"num_local_experts": 8, "num_experts_per_tok": 2},
            {"first_dense_layers": 0, "moe_intermediate": 1024, "dense_intermediate": 0},
        ),
        (
            GROUPED | EXPERTS | {"shared_expert_intermediate_size": 96},
            {"shared_experts": 1, "shared_intermediate": 96},
        ),
        (
            GROUPED | EXPERTS | {"moe_layer_freq": [0, 0, 1, 1]},
            {"first_dense_layers": 2},
        ),
        ({"text_config": GROUPED, "vision_config": {"depth": 3}}, {"layers": 4}),
    ],
)  # fmt: skip
def test_what_families_say(write, config, expected):
    card = import_card(write(config)).card
    assert {name: getattr(card, name) for name in expected} == expected


def test_what_was_not_looked_at_is_told(write):
    found = import_card(write(GROUPED | {"vision_config": {"depth": 3}, "flux_rank": 7, "use_flux": False, "rope_theta": 1e6}))
    assert found.unused == ("flux_rank", "vision_config")


@pytest.mark.parametrize(
    ("config", "wheres"),
    [
        ("{", [""]),
        ("[]", [""]),
        ({}, ["hidden_size", "num_attention_heads", "num_hidden_layers", "vocab_size", "max_position_embeddings"]),
        (GROUPED | {"num_hidden_layers": "four", "hidden_size": -1}, ["num_hidden_layers", "hidden_size"]),
        (GROUPED | {"num_hidden_layers": 1 << 40, "vocab_size": 1.5}, ["num_hidden_layers", "vocab_size"]),
        (GROUPED | {"compress_ratios": [4, 128, 4, 128]}, ["compress_ratios"]),
        (GROUPED | {"linear_attn_config": {"kda_layers": [1]}, "ssm_state_size": 8}, ["linear_attn_config", "ssm_state_size"]),
        (GROUPED | {"layer_types": ["chunked_attention"] * 4}, ["layer_types"]),
        (GROUPED | {"layer_types": ["full_attention"] * 3}, ["layer_types"]),
        (GROUPED | {"layer_types": [["full_attention"]] * 4}, ["layer_types"]),
        (SPARSE | {"indexer_types": ["full"] * 5}, ["indexer_types"]),
        (SPARSE | {"indexer_types": ["shared"] * 4}, ["indexer_types"]),
        (SPARSE | {"index_topk_pattern": "FFSS"}, ["index_topk_pattern"]),
        (GROUPED | {"num_experts": 8, "num_experts_per_tok": 2, "decoder_sparse_step": 2}, ["decoder_sparse_step"]),
        (GROUPED | {"num_experts": 8, "num_experts_per_tok": 2, "mlp_only_layers": [2]}, ["mlp_only_layers"]),
        (GROUPED | EXPERTS | {"mlp_only_layers": [0, 9]}, ["mlp_only_layers"]),
        (GROUPED | EXPERTS | {"mlp_only_layers": [0], "num_hidden_layers": 1 << 30}, ["num_hidden_layers"]),
        (GROUPED | EXPERTS | {"decoder_sparse_step": 2.0}, ["decoder_sparse_step"]),
        (GROUPED | {"sliding_window": 64, "use_sliding_window": "false"}, ["use_sliding_window"]),
        (GROUPED | {"attention_chunk_size": 8192}, ["attention_chunk_size"]),
        (GROUPED | {"tie_word_embeddings": "yes"}, ["tie_word_embeddings"]),
        (GROUPED | {"sliding_window": 64, "swa_head_dim": 32, "head_dim": 64}, ["swa_head_dim"]),
    ],
)  # fmt: skip
def test_broken_or_unknown_configurations_are_refused_by_key(write, run, config, wheres):
    path = write(config)
    with pytest.raises(InputError) as caught:
        import_card(path)
    told = [fault.where for fault in caught.value.faults]
    assert all(any(where in one for one in told) for where in wheres), told
    status, out, err = run("model", "import", str(path))
    assert (status, out) == (2, "")
    assert all(where in err for where in wheres)


def test_keys_that_were_not_looked_at_cannot_steer_the_terminal(write, run):
    _, _, err = run("model", "import", str(write(GROUPED | {"\x1b[2Jkey": 7} | {f"rank_{number}": 3 for number in range(40)})))
    assert "\x1b" not in err
    assert "and 11 more" in err


def test_dense_layers_by_a_list_take_no_time(write):
    big = GROUPED | EXPERTS | {"num_hidden_layers": 1 << 20, "mlp_only_layers": list(range(100_000))}
    assert import_card(write(big)).card.first_dense_layers == 100_000


def test_numbers_that_disagree_are_refused(write):
    with pytest.raises(InputError, match="heads a multiple of kv_heads"):
        import_card(write(GROUPED | {"num_key_value_heads": 3}))


def test_an_imported_card_is_written_and_read(write, run, tmp_path):
    out = tmp_path / "mine.toml"
    status, text, err = run("model", "import", str(write(SPARSE)), "--out", str(out), "--name", "mine")
    assert (status, "written" in err) == (0, True)
    assert "latent attention of 64 + 16, 256 tokens chosen by 4 indexers" in text
    card = load_card(str(out))
    assert card == import_card(write(SPARSE), "mine").card
    status, text, _ = run("model", "show", str(out), "--json")
    assert json.loads(text)["parameters"]["total"] == card.total_parameters
    status, text, _ = run("model", "list", "--json")
    assert json.loads(text)["glm-5.1"]["not_served"] == []


def test_a_card_is_refused_where_its_configuration_says_more(write):
    """A card with an indexer in every layer does not hold a configuration that shares them."""
    card = import_card(write(SPARSE)).card
    with pytest.raises(InputError, match="indexer_types"):
        card.check_config(SPARSE | {"indexer_types": ["full", "shared", "shared", "shared"]}, "config.json")
    with pytest.raises(InputError, match="compress_ratios"):
        card.check_config(SPARSE | {"compress_ratios": [4, 4, 4, 4]}, "config.json")


@pytest.mark.parametrize("name", BUNDLED)
def test_a_bundled_card_is_what_its_configuration_says(name):
    spec = importlib.util.find_spec("aiconfigurator_core")
    if spec is None or spec.origin is None:
        pytest.skip("aiconfigurator-core, which has the configurations, is not installed")
    path = Path(spec.origin).parent / "model_configs" / f"{BUNDLED[name]}_config.json"
    told, card = ("name", "description", "source"), load_card(name)
    assert import_card(path).card.model_dump(exclude=set(told)) == card.model_dump(exclude=set(told))
