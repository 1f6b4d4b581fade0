"""What families of models leave out of their ``config.json``, and families that no card describes, by ``model_type``.

Defaults are those of the families' configuration classes in Hugging Face Transformers.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

#: Families whose input embedding and output head are one matrix unless the file says otherwise.
_TIED = ("gemma", "cohere", "command", "recurrent_gemma")
#: Families of which every so many layers keep every token, the others a window, unless the file says otherwise.
_WINDOW_PATTERN = {"gemma2": 2, "gemma3": 6, "gemma3_text": 6, "cohere2": 4}
#: Families whose query projection gives a gate as well, without a key that says so.
_GATED_ATTENTION = ("qwen3_next",)
#: Decoders whose feed-forward blocks have two matrices, where a card's have three.
_TWO_MATRICES = {
    "biogpt", "bloom", "codegen", "falcon", "gpt2", "gpt_bigcode", "gpt_neo", "gpt_neox", "gpt_neox_japanese", "gptj", "mpt",
    "nemotron", "opt", "persimmon", "phi", "starcoder2", "xglm",
}  # fmt: skip

#: Keys that change what a model keeps or computes in a way that a card has no number for.
INEXPRESSIBLE = {
    "attention_k_eq_v": "keys that are values",
    "attn_layer_indices": "attention in some layers only",
    "attn_layer_offset": "attention in some layers only",
    "attn_layer_period": "attention in some layers only",
    "block_configs": "layers that differ one by one",
    "block_types": "recurrent layers in a pattern",
    "compress_ratios": "keys and values compressed by layer",
    "expert_layer_period": "experts in some layers in between",
    "global_head_dim": "heads of two sizes",
    "hybrid_override_pattern": "state-space layers in a pattern",
    "is_encoder_decoder": "an encoder beside the decoder",
    "layer_group_size": "linear attention in a pattern",
    "layers_block_type": "state-space layers in a pattern",
    "linear_attn_config": "linear attention of another kind",
    "moe_latent_size": "experts in a latent space",
    "num_global_key_value_heads": "another number of heads in some layers",
    "num_kv_shared_layers": "layers that share keys and values",
    "o_lora_rank": "an output projection of low rank",
    "parallel_attn_mlp_res": "a dense block beside the experts",
    "residual_moe": "a dense block beside the experts",
    "routed_expert_hidden_size": "experts of another hidden size",
    "share_q_dim": "queries of a shared rank",
    "sparse_attention_config": "attention to chosen blocks",
    "state_size": "state-space layers",
    "use_cla": "layers that share keys and values",
    "zero_expert_num": "experts that compute nothing",
}
#: What keys of state-space and recurrent layers begin with.
_RECURRENT = ("mamba", "ssm_", "rwkv", "lru_")
#: What keys end with that say of every how many layers one has experts.
_PERIODS = ("_step", "_freq", "_frequency", "_period", "_interval")


def family(config: Mapping[str, Any]) -> str:
    """Return the ``model_type``; empty where there is none."""
    kind = config.get("model_type")
    return kind if isinstance(kind, str) else ""


def is_tied(config: Mapping[str, Any]) -> bool:
    """Return whether embedding and head are one matrix in a family, where its file does not say."""
    return family(config).startswith(_TIED)


def is_gated(config: Mapping[str, Any]) -> bool:
    """Return whether attention's output is gated in a family, where its file does not say."""
    return family(config) in _GATED_ATTENTION


def window_pattern(config: Mapping[str, Any]) -> int | None:
    """Return of how many layers one keeps every token in a family, where its file does not say; None: all are alike."""
    return _WINDOW_PATTERN.get(family(config))


def inexpressible(config: Mapping[str, Any]) -> list[tuple[str, str]]:
    """Return the keys of a file that a card cannot express, and what each of them is."""
    told = [(key, what) for key, what in INEXPRESSIBLE.items() if _says(config.get(key))]
    for key, value in config.items():
        if key.startswith(_RECURRENT) and _says(value):
            told.append((key, "state-space layers"))
        elif _says_of_experts(key) and value not in (None, 0, 1) and not isinstance(value, list):
            told.append((key, f"{str(value)[:80]}: experts in some layers in between"))
    if _says(config.get("index_topk_pattern")):
        told.append(("index_topk_pattern", "indexers in a pattern"))
    if config.get("attention_chunk_size") not in (None, 0, config.get("sliding_window")):
        told.append(("attention_chunk_size", "attention in chunks"))
    kinds = config.get("attn_type_list")
    if kinds is not None and not (isinstance(kinds, list) and all(kind == 1 for kind in kinds)):
        told.append(("attn_type_list", "linear attention of another kind"))
    if family(config) in _TWO_MATRICES:
        told.append(("model_type", f"{family(config)}, whose feed-forward blocks have two matrices and not three"))
    elif "bert" in family(config):
        told.append(("model_type", f"{family(config)}, an encoder"))
    return list(dict(told).items())


def _says_of_experts(key: str) -> bool:
    """Return whether a key says of every how many layers one has experts."""
    return key.endswith(_PERIODS) and any(part in key for part in ("moe", "expert", "sparse_step"))


def _says(value: Any) -> bool:
    if isinstance(value, Mapping):
        switches = [one for key, one in value.items() if str(key).startswith("use_sparse")]
        return bool(value) and not (switches and not any(switches))
    return bool(value)
