"""The numbers of a model's ``config.json`` (Hugging Face), under the names of a model card.

Model families name one thing differently: :data:`KEYS` has the names, the first that a file holds counts. What is told by
lists (which layers are sparse, of a window, indexed, linear) is counted. What a card cannot express is refused by its key, and
keys that were not looked at are told, so that nobody takes a number for the whole of a model.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import read_bounded
from zcube.inputs import MAX_DECLARED_BYTES, json_document, short

#: Card field -> keys of a config.json, the usual one first.
KEYS: dict[str, tuple[str, ...]] = {
    "layers": ("num_hidden_layers",),
    "hidden": ("hidden_size",),
    "heads": ("num_attention_heads",),
    "q_lora_rank": ("q_lora_rank",),
    "kv_lora_rank": ("kv_lora_rank",),
    "qk_nope_head_dim": ("qk_nope_head_dim",),
    "qk_rope_head_dim": ("qk_rope_head_dim",),
    "v_head_dim": ("v_head_dim",),
    "kv_heads": ("num_key_value_heads",),
    "head_dim": ("head_dim",),
    "attention_gate": ("attn_output_gate",),
    "index_heads": ("index_n_heads",),
    "index_head_dim": ("index_head_dim",),
    "index_topk": ("index_topk",),
    "window_tokens": ("sliding_window", "sliding_window_size"),
    "window_kv_heads": ("swa_num_key_value_heads",),
    "linear_key_heads": ("linear_num_key_heads",),
    "linear_key_head_dim": ("linear_key_head_dim",),
    "linear_value_heads": ("linear_num_value_heads",),
    "linear_value_head_dim": ("linear_value_head_dim",),
    "linear_conv": ("linear_conv_kernel_dim",),
    "routed_experts": ("n_routed_experts", "num_experts", "num_local_experts"),
    "experts_per_token": ("num_experts_per_tok", "num_experts_per_token", "experts_per_token"),
    "shared_experts": ("n_shared_experts", "num_shared_experts"),
    "expert_groups": ("n_group", "num_expert_group"),
    "expert_groups_per_token": ("topk_group",),
    "moe_intermediate": ("moe_intermediate_size",),
    "shared_intermediate": ("shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim"),
    "dense_intermediate": ("intermediate_size", "dense_intermediate_size"),
    "first_dense_layers": ("first_k_dense_replace",),
    "vocabulary": ("vocab_size",),
    "mtp_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"),
    "max_positions": ("max_position_embeddings",),
    "tied_embeddings": ("tie_word_embeddings",),
}

_LATENT_ONLY = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim")
_FLAGS = ("attention_gate", "tied_embeddings")
_LEAST = {"expert_groups": 1, "expert_groups_per_token": 1}

#: Keys that change what a model keeps or computes in a way that a card has no number for.
INEXPRESSIBLE = {
    "attention_k_eq_v": "keys that are values",
    "block_configs": "layers that differ one by one",
    "compress_ratios": "keys and values compressed by layer",
    "global_head_dim": "heads of two sizes",
    "hybrid_override_pattern": "state-space layers in a pattern",
    "layers_block_type": "state-space layers in a pattern",
    "linear_attn_config": "linear attention of another kind",
    "mamba_num_heads": "state-space layers",
    "moe_latent_size": "experts in a latent space",
    "num_global_key_value_heads": "another number of heads in some layers",
    "num_kv_shared_layers": "layers that share keys and values",
    "o_lora_rank": "an output projection of low rank",
    "routed_expert_hidden_size": "experts of another hidden size",
    "sparse_attention_config": "attention to chosen blocks",
    "ssm_state_size": "state-space layers",
}
#: Keys that say nothing about sizes, and those that :func:`numbers_of` reads by their own names.
_SILENT = {
    "_name_or_path", "activation", "ep_size", "hidden_act", "dtype", "torch_dtype", "use_cache", "pretraining_tp",
    "architectures", "model_type", "transformers_version", "auto_map", "quantization_config", "head_dim", "qk_head_dim",
    "layer_types", "mlp_layer_types", "mlp_only_layers", "moe_layer_freq", "decoder_sparse_step", "hybrid_layer_pattern",
    "indexer_types", "use_sliding_window", "full_attention_interval", "interleave_moe_layer_step", "text_config",
    "index_topk_freq", "index_skip_topk_offset", "swa_head_dim", "swa_v_head_dim", "swa_num_attention_heads",
    "attention_chunk_size", "max_window_layers", "sliding_window_pattern", "initial_context_length",
}  # fmt: skip
_SILENT_PARTS = (
    "rope",
    "rotary",
    "norm",
    "dropout",
    "_token_id",
    "initializer",
    "router",
    "scoring",
    "eps",
    "bias",
    "scaling_factor",
)
_MOST_LAYERS = 1 << 20
_LAYER_TYPES = {"full_attention", "deepseek_sparse_attention", "sliding_attention", "linear_attention"}


@dataclass(frozen=True)
class ConfigNumbers:
    """What a config.json says of a card's numbers.

    Attributes
    ----------
    found : mapping of str to (str, int or bool)
        Card field -> the key that said it, and its value.
    unused : tuple of str
        Keys that were not looked at and may say something of sizes.
    """

    found: Mapping[str, tuple[str, int]]
    unused: tuple[str, ...] = field(default=())


def read_config(path: Path) -> dict[str, Any]:
    """Read a configuration.

    Raises
    ------
    InputError
        If the file is too large, or holds no JSON object.
    """
    config = json_document(path, read_bounded(path, MAX_DECLARED_BYTES))
    if not isinstance(config, dict):
        raise InputError(Fault(str(path), f"a JSON {type(config).__name__}", "an object"))
    return config


def numbers_of(config: Mapping[str, Any], source: str) -> ConfigNumbers:
    """Return a configuration's numbers under a card's names.

    Parameters
    ----------
    config : mapping
        The parsed file; the text model's part of one with several (``text_config``) counts.
    source : str
        The file's name, for the faults.

    Raises
    ------
    InputError
        With every value of a wrong kind, and every key that a card cannot express.
    """
    inner = config.get("text_config")
    if isinstance(inner, Mapping):
        config = {**{key: value for key, value in config.items() if key != "text_config"}, **inner}
    faults = FaultList()
    found: dict[str, tuple[str, int]] = {}
    with faults:
        _refuse(config, source)
    for name, keys in KEYS.items():
        with faults:
            key = next((key for key in keys if config.get(key) is not None), None)
            if key is not None:
                found[name] = key, _number(config[key], f"{source}: {key}", name)
    for derive in (_attention, _layers, _experts):
        with faults:
            derive(config, found, source)
    faults.check()
    taken = {key for keys in KEYS.values() for key in keys} | {key for key, _ in found.values()} | _SILENT
    unused = tuple(
        sorted(
            str(key)
            for key, value in config.items()
            if value and not isinstance(value, str) and key not in taken and not any(part in key for part in _SILENT_PARTS)
        )
    )
    return ConfigNumbers(found, unused)


def _number(value: Any, where: str, name: str) -> int:
    if name in _FLAGS:
        if not isinstance(value, bool):
            raise InputError(Fault(where, short(value), "true or false"))
        return value
    least, most = _LEAST.get(name, 0), 1 << 30 if name == "max_positions" else _MOST_LAYERS
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        raise InputError(Fault(where, short(value), f"a whole number from {least} to {most}"))
    return value


def _refuse(config: Mapping[str, Any], source: str) -> None:
    """Refuse keys that a card cannot express, unless they are empty, 0 or switched off."""
    told = [(key, what) for key, what in INEXPRESSIBLE.items() if _says(config.get(key))]
    if _says(config.get("index_topk_pattern")):
        told.append(("index_topk_pattern", "indexers in a pattern"))
    if config.get("attention_chunk_size") not in (None, 0, config.get("sliding_window")):
        told.append(("attention_chunk_size", "attention in chunks"))
    for key in ("decoder_sparse_step", "interleave_moe_layer_step", "moe_layer_freq"):
        if config.get(key) not in (None, 0, 1) and not isinstance(config[key], list):
            told.append((key, f"{short(config[key])}: experts in some layers in between"))
    if told:
        expected = "a model that a card's keys can express (docs/models.md)"
        raise InputError([Fault(f"{source}: {key}", what, expected) for key, what in told])


def _says(value: Any) -> bool:
    if isinstance(value, Mapping):
        switches = [one for key, one in value.items() if str(key).startswith("use_sparse")]
        return bool(value) and not (switches and not any(switches))
    return bool(value)


def _attention(config: Mapping[str, Any], found: dict[str, tuple[str, int]], source: str) -> None:
    """Keep latent attention's numbers or those of grouped queries, which a file may hold both of."""
    if "kv_lora_rank" in found:
        for name in ("kv_heads", "head_dim", "window_kv_heads"):
            found.pop(name, None)
        return
    for name in _LATENT_ONLY:
        found.pop(name, None)
    heads, hidden = found.get("heads"), found.get("hidden")
    if "kv_heads" not in found and heads is not None:
        found["kv_heads"] = heads
    if "head_dim" not in found and heads is not None and hidden is not None and heads[1]:
        found["head_dim"] = hidden[0], hidden[1] // heads[1]
    for key, like in (
        ("swa_head_dim", "head_dim"),
        ("swa_v_head_dim", "v_head_dim"),
        ("swa_num_attention_heads", "num_attention_heads"),
    ):
        if config.get(key) not in (None, config.get(like)):
            raise InputError(Fault(f"{source}: {key}", short(config[key]), f"the {like} of other layers"))
    if found.get("v_head_dim") is not None and found["v_head_dim"][1] == found.get("head_dim", ("", 0))[1]:
        found.pop("v_head_dim")


def _layers(config: Mapping[str, Any], found: dict[str, tuple[str, int]], source: str) -> None:
    """Count the layers that keep a window, that are linear, and that have an indexer of their own."""
    layers = found.get("layers", ("", 0))[1]
    kinds = _listed(config, "layer_types", layers, source, _LAYER_TYPES)
    pattern = _listed(config, "hybrid_layer_pattern", layers, source, {0, 1})
    if kinds is not None:
        _set(found, "window_layers", "layer_types", kinds.count("sliding_attention"))
        _set(found, "linear_layers", "layer_types", kinds.count("linear_attention"))
    elif pattern is not None:
        _set(found, "window_layers", "hybrid_layer_pattern", pattern.count(1))
    elif found.get("window_tokens", ("", 0))[1]:
        _set(found, "window_layers", *_windowed(config, found["window_tokens"][0], layers, source))
    if "window_layers" not in found:
        for name in ("window_tokens", "window_kv_heads"):
            found.pop(name, None)
    if found.get("window_kv_heads", ("", 0))[1] == found.get("kv_heads", ("", 0))[1]:
        found.pop("window_kv_heads", None)
    if "linear_layers" not in found:
        for name in [name for name in found if name.startswith("linear_")]:
            found.pop(name)
    indexers = _listed(config, "indexer_types", layers, source, {"full", "shared"})
    if indexers is not None and "index_heads" in found:
        if not (own := indexers.count("full")):
            raise InputError(Fault(f"{source}: indexer_types", "no full one", "at least one layer with an indexer"))
        found["index_layers"] = "indexer_types", own


def _windowed(config: Mapping[str, Any], key: str, layers: int, source: str) -> tuple[str, int]:
    """Return how many layers keep a window, and the key that says it, where no list names them.

    All of them (Mistral); all but the first ``max_window_layers`` where ``use_sliding_window`` switches windows on (Qwen2); all
    but every ``sliding_window_pattern``-th (Gemma 3).
    """
    switch = config.get("use_sliding_window")
    if switch is not None and not isinstance(switch, bool):
        raise InputError(Fault(f"{source}: use_sliding_window", short(switch), "true or false"))
    if switch is False:
        return key, 0
    if switch and config.get("max_window_layers") is not None:
        first = _number(config["max_window_layers"], f"{source}: max_window_layers", "")
        return "max_window_layers", max(layers - first, 0)
    if config.get("sliding_window_pattern") is not None:
        every = _number(config["sliding_window_pattern"], f"{source}: sliding_window_pattern", "")
        return "sliding_window_pattern", layers - layers // every if every else layers
    return key, layers


def _experts(config: Mapping[str, Any], found: dict[str, tuple[str, int]], source: str) -> None:
    """Tell dense layers from those with experts, and their inner sizes apart."""
    layers = found.get("layers", ("", 0))[1]
    if not found.get("routed_experts", ("", 0))[1]:
        found["first_dense_layers"] = found.get("layers", ("num_hidden_layers", 0))[0], layers
        for name in ("routed_experts", "experts_per_token", "moe_intermediate", "shared_experts", "shared_intermediate"):
            found.pop(name, None)
        return
    dense = _leading_dense(config, layers, source)
    if dense is not None:
        found["first_dense_layers"] = dense
    shared = found.pop("shared_intermediate", None)
    if shared is not None and shared[1]:
        if not found.get("shared_experts", ("", 0))[1]:
            found["shared_experts"] = shared[0], 1
        found["shared_intermediate"] = shared
    if "moe_intermediate" not in found and "dense_intermediate" in found:
        found["moe_intermediate"] = found["dense_intermediate"]
    if not found.get("first_dense_layers", ("", 0))[1]:
        found.pop("dense_intermediate", None)
    elif config.get("dense_intermediate_size"):
        key = "dense_intermediate_size"
        found["dense_intermediate"] = key, _number(config[key], f"{source}: {key}", "dense_intermediate")
    if found.get("shared_intermediate", ("", 0))[1] == found.get("moe_intermediate", ("", 0))[1]:
        found.pop("shared_intermediate", None)


def _leading_dense(config: Mapping[str, Any], layers: int, source: str) -> tuple[str, int] | None:
    """Return how many layers lead without experts, by a list of all layers; None where no list says."""
    sparse: Sequence[bool] | None = None
    if isinstance(config.get("moe_layer_freq"), list):
        key = "moe_layer_freq"
        sparse = [one == 1 for one in _listed(config, key, layers, source, {0, 1}) or ()]
    elif config.get("mlp_layer_types") is not None:
        key = "mlp_layer_types"
        sparse = [one == "sparse" for one in _listed(config, key, layers, source, {"dense", "sparse"}) or ()]
    elif config.get("mlp_only_layers"):
        key = "mlp_only_layers"
        given = config[key]
        if not isinstance(given, list) or any(type(one) is not int or not 0 <= one < layers for one in given):
            raise InputError(Fault(f"{source}: {key}", short(given), f"a list of layers, 0 to {layers - 1}"))
        dense = set(given)
        if dense != set(range(len(dense))):
            raise InputError(Fault(f"{source}: {key}", short(given), "dense layers in front only"))
        return key, len(dense)
    if sparse is None:
        return None
    leading = next((number for number, one in enumerate(sparse) if one), len(sparse))
    if not all(sparse[leading:]):
        raise InputError(Fault(f"{source}: {key}", "layers without experts behind some with", "dense layers in front only"))
    return key, leading


def _listed(config: Mapping[str, Any], key: str, layers: int, source: str, allowed: set[Any]) -> list[Any] | None:
    value = config.get(key)
    if value is None:
        return None
    right = isinstance(value, list) and len(value) == layers <= _MOST_LAYERS
    if not right:
        found = f"a list of {len(value)}" if isinstance(value, list) else short(value)
        raise InputError(Fault(f"{source}: {key}", found, f"a list of {layers}, one for each layer"))
    other = sorted({short(one) for one in value if isinstance(one, (list, dict)) or one not in allowed})
    if other:
        raise InputError(Fault(f"{source}: {key}", ", ".join(other)[:200], "only " + ", ".join(sorted(map(str, allowed)))))
    return list(value)


def _set(found: dict[str, tuple[str, int]], name: str, key: str, value: int) -> None:
    if value:
        found[name] = key, value
