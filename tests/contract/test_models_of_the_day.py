"""Configurations of published models, and odd ones: each gives the published size within 1 %, or is refused by its key.

Numbers are those of the models' config.json on Hugging Face; parameters those of model pages and reports, in billions.
"""

import json

import pytest

from zcube.errors import InputError
from zcube.llm.card_import import import_card


def config(kind, layers, hidden, heads, kv_heads, intermediate, vocab, **more):
    numbers = {
        "model_type": kind, "num_hidden_layers": layers, "hidden_size": hidden, "num_attention_heads": heads,
        "num_key_value_heads": kv_heads, "intermediate_size": intermediate, "vocab_size": vocab,
        "max_position_embeddings": 131072,
    }  # fmt: skip
    return {key: value for key, value in {**numbers, **more}.items() if value is not None}


def latent(kind, layers, heads, dense, experts, expert, first, vocab, **more):
    ranks = {"q_lora_rank": 1536, "kv_lora_rank": 512, "qk_nope_head_dim": 128, "qk_rope_head_dim": 64, "v_head_dim": 128}
    moe = {"n_routed_experts": experts, "num_experts_per_tok": 8, "n_shared_experts": 1, "moe_intermediate_size": expert}
    return config(kind, layers, 7168, heads, heads, dense, vocab, first_k_dense_replace=first, **ranks, **moe) | more


QWEN3_NEXT = config(
    "qwen3_next", 48, 2048, 16, 2, 5120, 151936, head_dim=256, full_attention_interval=4, linear_conv_kernel_dim=4,
    linear_key_head_dim=128, linear_num_key_heads=16, linear_num_value_heads=32, linear_value_head_dim=128, num_experts=512,
    num_experts_per_tok=10, moe_intermediate_size=512, shared_expert_intermediate_size=512, decoder_sparse_step=1,
    mlp_only_layers=[], tie_word_embeddings=False,
)  # fmt: skip
ERNIE = config(
    "ernie4_5_moe", 54, 8192, 64, 8, 28672, 103424, moe_num_experts=64, moe_k=8, moe_intermediate_size=3584,
    moe_layer_start_index=3, moe_layer_end_index=53, moe_layer_interval=1, moe_num_shared_experts=0, tie_word_embeddings=False,
)  # fmt: skip
HUNYUAN = config(
    "hunyuan_v1_moe", 32, 4096, 32, 8, 3072, 128167, attention_head_dim=128, num_experts=64, moe_topk=[8] * 32,
    moe_intermediate_size=[3072] * 32, num_shared_expert=[1] * 32, moe_layer_num_skipped=0, use_cla=False, cla_share_factor=2,
    tie_word_embeddings=True,
)  # fmt: skip
GEMMA3 = config("gemma3_text", 62, 5376, 32, 16, 21504, 262208, head_dim=128, sliding_window=1024)
JAMBA = config(
    "jamba", 32, 4096, 32, 8, 14336, 65536, num_experts=16, num_experts_per_tok=2, attn_layer_period=8, expert_layer_period=2,
    mamba_d_state=16,
)  # fmt: skip
STEP3 = config(
    "step3_text", 61, 7168, 64, None, 18432, 128815, num_attention_groups=1, head_dim=256, share_q_dim=2048, moe_num_experts=48,
    moe_top_k=3, moe_intermediate_size=5120, share_expert_dim=5120, moe_layers_enum="4,5,6",
)  # fmt: skip


@pytest.mark.parametrize(
    ("model", "billions", "active"),
    [
        (QWEN3_NEXT, 80, None),
        (ERNIE, 300, 47),
        (
            config(
                "ernie4_5_moe", 28, 2560, 20, 4, 12288, 103424, moe_num_experts=64, moe_k=6, moe_intermediate_size=1536,
                moe_layer_start_index=1, moe_layer_end_index=27, moe_num_shared_experts=2, tie_word_embeddings=True,
            ),
            21.83, None,
        ),
        (HUNYUAN, 80.4, 13),
        (GEMMA3, 27.0, None),
        (config("seed_oss", 64, 5120, 80, 8, 27648, 155136, head_dim=128, tie_word_embeddings=False), 36.15, None),
        (
            config(
                "glm4_moe", 92, 5120, 96, 8, 12288, 151552, head_dim=128, n_routed_experts=160, num_experts_per_tok=8,
                n_shared_experts=1, moe_intermediate_size=1536, first_k_dense_replace=3, num_nextn_predict_layers=1,
            ),
            355, None,
        ),
        (
            config("minimax_m2", 62, 3072, 48, 8, 1536, 200064, head_dim=128, num_local_experts=256, num_experts_per_tok=8,
                   attn_type_list=[1] * 62, shared_intermediate_size=0),
            230, 10,
        ),
        (latent("deepseek_v3", 61, 128, 18432, 256, 2048, 3, 129280, n_group=8, topk_group=4), 671, 37),
        (config("llama", 80, 8192, 64, 8, 28672, 128256, tie_word_embeddings=False), 70.55, None),
        (config("llama", 16, 2048, 32, 8, 8192, 128256, head_dim=64, tie_word_embeddings=True), 1.24, None),
        (config("mixtral", 56, 6144, 48, 8, 16384, 32000, num_local_experts=8, num_experts_per_tok=2), 140.6, 39),
        (
            config("dots1", 62, 4096, 32, 32, 10944, 152064, n_routed_experts=128, num_experts_per_tok=6, n_shared_experts=2,
                   moe_intermediate_size=1408, first_k_dense_replace=1),
            142, 14,
        ),
        (config("gemma2", 46, 4608, 32, 16, 36864, 256000, head_dim=128, sliding_window=4096), 27.2, None),
        (config("qwen2", 80, 8192, 64, 8, 29568, 152064, use_sliding_window=False, sliding_window=131072), 72.7, None),
    ],
    ids=lambda value: value["model_type"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_published_sizes_are_met(tmp_path, model, billions, active):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(model))
    card = import_card(path).card
    assert card.total_parameters / 1e9 == pytest.approx(billions, rel=0.01)
    # What is counted of a token's differs: some count the embedding, DeepSeek and others round.
    assert active is None or card.active_parameters / 1e9 == pytest.approx(active, rel=0.05)


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (QWEN3_NEXT, {"linear_layers": 36, "full_layers": 12, "attention_gate": True}),
        (GEMMA3, {"window_layers": 52, "full_layers": 10, "tied_embeddings": True}),
        (GEMMA3 | {"_sliding_window_pattern": 2}, {"window_layers": 31}),
        (GEMMA3 | {"model_type": "gemma2"}, {"window_layers": 31}),
        (GEMMA3 | {"tie_word_embeddings": False}, {"tied_embeddings": False}),
        (ERNIE, {"first_dense_layers": 3, "shared_experts": 0, "experts_per_token": 8}),
        (HUNYUAN, {"experts_per_token": 8, "shared_experts": 1, "head_dim": 128, "first_dense_layers": 0}),
    ],
)  # fmt: skip
def test_what_families_leave_out_is_their_default(tmp_path, model, expected):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(model))
    card = import_card(path).card
    assert {name: getattr(card, name) for name in expected} == expected


DENSE = config("llama", 4, 512, 8, 2, 1024, 1000)
EXPERTS = DENSE | {"num_experts": 8, "num_experts_per_tok": 2, "moe_intermediate_size": 64}


@pytest.mark.parametrize(
    ("model", "where"),
    [
        (JAMBA, "attn_layer_period"),
        (JAMBA, "mamba_d_state"),
        (STEP3, "share_q_dim"),
        (HUNYUAN | {"use_cla": True}, "use_cla"),
        (HUNYUAN | {"moe_topk": [8] * 31 + [4]}, "moe_topk"),
        (ERNIE | {"moe_layer_interval": 2}, "moe_layer_interval"),
        (ERNIE | {"moe_layer_end_index": 40}, "moe_layer_end_index"),
        (ERNIE | {"moe_num_experts": [64, 32]}, "moe_num_experts"),
        ({key: value for key, value in QWEN3_NEXT.items() if key != "full_attention_interval"}, "full_attention_interval"),
        (config("nemotron", 96, 18432, 96, 8, 73728, 256000, hidden_act="relu2"), "model_type"),
        (config("gpt_neox", 44, 6144, 64, None, 24576, 50432), "model_type"),
        (config("bert", 12, 768, 12, None, 3072, 30522), "model_type"),
        (config("t5", 24, 1024, 16, None, 4096, 32128, is_encoder_decoder=True), "is_encoder_decoder"),
        ({"model_type": "t5", "d_model": 1024, "num_layers": 24, "num_heads": 16, "d_ff": 4096}, "hidden_size"),
        ({"model_type": "mamba", "hidden_size": 4096, "num_hidden_layers": 64, "state_size": 16}, "state_size"),
        (config("minimax", 80, 6144, 64, 8, 9216, 200064, attn_type_list=[0] * 7 + [1]), "attn_type_list"),
        (config("bailing_moe_linear", 32, 4096, 32, 4, 1024, 157184, layer_group_size=5), "layer_group_size"),
        (config("arctic", 35, 7168, 56, 8, 4864, 32000, moe_layer_frequency=2, num_local_experts=128), "moe_layer_frequency"),
        (DENSE | {"n_expert_units": 64, "expert_top": 4}, "n_expert_units"),
        (DENSE | {"num_attention_heads": 0}, "num_attention_heads"),
        (DENSE | {"num_key_value_heads": 0}, ""),
        (DENSE | {"num_key_value_heads": 3}, ""),
        (DENSE | {"hidden_size": "512"}, "hidden_size"),
        (DENSE | {"vocab_size": 10**15}, "vocab_size"),
        (DENSE | {"num_hidden_layers": None}, "num_hidden_layers"),
        ({"text_config": None}, "hidden_size"),
        ({"text_config": DENSE | {"num_attention_heads": 0}, "vision_config": {}}, "num_attention_heads"),
        ({"rope_theta": 1e6, "rope_scaling": {"type": "yarn"}}, "hidden_size"),
        (DENSE | {"n_routed_experts": 64}, ""),
        (EXPERTS | {"num_experts_per_tok": 9}, ""),
        (EXPERTS | {"moe_intermediate_size": 0}, ""),
        (DENSE | {"quantization_config": {"quant_method": "fp8"}, "hidden_size": -512}, "hidden_size"),
        (DENSE | {"kv_lora_rank": 64}, ""),
    ],
)  # fmt: skip
def test_what_would_be_a_wrong_number_is_refused_by_its_key(tmp_path, model, where):
    path = tmp_path / "config.json"
    path.write_text(json.dumps(model))
    with pytest.raises(InputError) as caught:
        import_card(path)
    assert any(fault.where.startswith(f"config.json: {where}" if where else "config.json") for fault in caught.value.faults)
    assert caught.value.exit_status == 2


def test_a_quantised_file_is_the_model_that_it_is_of(tmp_path):
    path = tmp_path / "config.json"
    sizes = []
    for more in (
        {},
        {"quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}},
    ):
        path.write_text(json.dumps(DENSE | more))
        sizes.append(import_card(path).card.total_parameters)
    assert sizes[0] == sizes[1]
