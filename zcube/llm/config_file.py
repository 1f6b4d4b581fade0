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
from zcube.llm.config_families import inexpressible, is_gated, is_tied, window_pattern

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
    "kv_heads": ("num_key_value_heads", "num_attention_groups"),
    "head_dim": ("head_dim", "attention_head_dim"),
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
    "routed_experts": ("n_routed_experts", "num_experts", "num_local_experts", "moe_num_experts"),
    "experts_per_token": (
        "num_experts_per_tok",
        "num_experts_per_token",
        "experts_per_token",
        "moe_k",
        "moe_top_k",
        "moe_topk",
    ),
    "shared_experts": ("n_shared_experts", "num_shared_experts", "moe_num_shared_experts", "num_shared_expert"),
    "expert_groups": ("n_group", "num_expert_group"),
    "expert_groups_per_token": ("topk_group",),
    "moe_intermediate": ("moe_intermediate_size",),
    "shared_intermediate": ("shared_expert_intermediate_size", "shared_intermediate_size", "share_expert_dim"),
    "dense_intermediate": ("intermediate_size", "dense_intermediate_size"),
    "first_dense_layers": ("first_k_dense_replace", "moe_layer_start_index", "moe_layer_num_skipped"),
    "vocabulary": ("vocab_size",),
    "mtp_layers": ("num_nextn_predict_layers", "mtp_num_hidden_layers", "num_mtp_modules"),
    "max_positions": ("max_position_embeddings",),
    "tied_embeddings": ("tie_word_embeddings",),
}

_LATENT_ONLY = ("q_lora_rank", "kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim")
_FLAGS = ("attention_gate", "tied_embeddings")
_LEAST = {"expert_groups": 1, "expert_groups_per_token": 1}

#: Keys that say nothing about sizes, and those that :func:`numbers_of` reads by their own names.
_SILENT = {
    "_name_or_path", "activation", "ep_size", "hidden_act", "dtype", "torch_dtype", "use_cache", "pretraining_tp",
    "architectures", "model_type", "transformers_version", "auto_map", "quantization_config", "head_dim", "qk_head_dim",
    "layer_types", "mlp_layer_types", "mlp_only_layers", "moe_layer_freq", "decoder_sparse_step", "hybrid_layer_pattern",
    "indexer_types", "use_sliding_window", "full_attention_interval", "interleave_moe_layer_step", "text_config",
    "index_topk_freq", "index_skip_topk_offset", "swa_head_dim", "swa_v_head_dim", "swa_num_attention_heads",
    "attention_chunk_size", "max_window_layers", "sliding_window_pattern", "_sliding_window_pattern", "initial_context_length",
    "attn_type_list", "moe_layer_end_index",
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
                found[name] = key, _number(_alike(config[key]), f"{source}: {key}", name)
    for name, says in (("tied_embeddings", is_tied), ("attention_gate", is_gated)):
        if name not in found and says(config):
            found[name] = "model_type", True
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


def _alike(value: Any) -> Any:
    """Return the one value of a list that holds one value over and over, a layer each; else the value itself."""
    if isinstance(value, list) and value and all(type(one) is int and one == value[0] for one in value):
        return value[0]
    return value


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
    expected = "a model that a card's keys can express (docs/models.md)"
    told = [Fault(f"{source}: {key}", what, expected) for key, what in inexpressible(config)]
    if told:
        raise InputError(told)


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
    if kinds is None and found.get("linear_value_heads", ("", 0))[1]:
        # Qwen3-Next names the layers in between.
        every = _number(config.get("full_attention_interval"), f"{source}: full_attention_interval", "")
        _set(found, "linear_layers", "full_attention_interval", layers - layers // every if every else 0)
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
    named = next((one for one in ("sliding_window_pattern", "_sliding_window_pattern") if config.get(one) is not None), None)
    if named is None and (every := window_pattern(config)) is not None:
        return "model_type", layers - layers // every
    if named is not None:
        every = _number(config[named], f"{source}: {named}", "")
        return named, layers - layers // every if every else layers
    return key, layers


def _experts(config: Mapping[str, Any], found: dict[str, tuple[str, int]], source: str) -> None:
    """Tell dense layers from those with experts, and their inner sizes apart."""
    layers = found.get("layers", ("", 0))[1]
    if not found.get("routed_experts", ("", 0))[1]:
        _refuse_unknown_experts(config, source)
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


def _refuse_unknown_experts(config: Mapping[str, Any], source: str) -> None:
    """Refuse a file that has experts under a name that is not known, which would make a dense model of it."""
    known = {key for keys in KEYS.values() for key in keys} | _SILENT
    unknown = [
        key
        for key, value in config.items()
        if ("expert" in key or key.startswith("moe")) and key not in known and type(value) in (int, list, dict) and value
    ]
    if unknown:
        expected = f"the number of experts under one of {', '.join(KEYS['routed_experts'])}"
        raise InputError([Fault(f"{source}: {key}", short(config[key]), expected) for key in unknown])


def _leading_dense(config: Mapping[str, Any], layers: int, source: str) -> tuple[str, int] | None:
    """Return how many layers lead without experts, by a list of all layers; None where no list says."""
    sparse: Sequence[bool] | None = None
    last = config.get("moe_layer_end_index")
    if last not in (None, -1, layers - 1):
        expected = f"{layers - 1}, the last layer: dense layers in front only"
        raise InputError(Fault(f"{source}: moe_layer_end_index", short(last), expected))
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
