"""Model cards: the architecture numbers of a language model, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

from pydantic import Field, model_validator

from zcube.errors import Fault, InputError
from zcube.inputs import Declared, is_file, json_document, read_bounded, read_toml, validate

_FOLDER = Path(__file__).resolve().parent / "models"

#: Bounded so that no product of card numbers leaves 64-bit integers.
Count = Annotated[int, Field(ge=1, le=1 << 20)]

#: Card field -> key of a Hugging Face config.json.
CONFIG_KEYS = {
    "layers": "num_hidden_layers",
    "hidden": "hidden_size",
    "heads": "num_attention_heads",
    "q_lora_rank": "q_lora_rank",
    "kv_lora_rank": "kv_lora_rank",
    "qk_nope_head_dim": "qk_nope_head_dim",
    "qk_rope_head_dim": "qk_rope_head_dim",
    "v_head_dim": "v_head_dim",
    "index_heads": "index_n_heads",
    "index_head_dim": "index_head_dim",
    "index_topk": "index_topk",
    "routed_experts": "n_routed_experts",
    "experts_per_token": "num_experts_per_tok",
    "shared_experts": "n_shared_experts",
    "expert_groups": "n_group",
    "expert_groups_per_token": "topk_group",
    "moe_intermediate": "moe_intermediate_size",
    "dense_intermediate": "intermediate_size",
    "first_dense_layers": "first_k_dense_replace",
    "vocabulary": "vocab_size",
    "mtp_layers": "num_nextn_predict_layers",
    "max_positions": "max_position_embeddings",
}


class ModelCard(Declared):
    """Architecture of a mixture-of-experts model with MLA and a sparse-attention indexer.

    Attributes
    ----------
    name, description, source : str
        ``source`` names the public configuration the numbers were read from.
    layers, hidden, heads : int
        Transformer layers (without MTP), hidden size, attention heads.
    q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim : int
        Multi-head latent attention dimensions.
    index_heads, index_head_dim, index_topk : int
        Sparse-attention indexer; ``index_topk`` tokens are attended to.
    routed_experts, experts_per_token, shared_experts : int
        Expert counts of one MoE layer.
    expert_groups, expert_groups_per_token : int
        Group-limited routing: a token's experts lie in ``expert_groups_per_token`` of ``expert_groups`` groups.
    moe_intermediate, dense_intermediate : int
        Inner size of one expert and of the dense feed-forward block.
    first_dense_layers : int
        Leading layers with a dense feed-forward block.
    vocabulary, mtp_layers, max_positions : int
        Vocabulary, multi-token-prediction layers, longest context in tokens.
    config : str
        Path of the model's ``config.json`` (Hugging Face) from the card's folder, with which every number has to agree; empty:
        not compared.
    """

    name: str
    description: str
    source: str
    layers: Count
    hidden: Count
    heads: Count
    q_lora_rank: Count
    kv_lora_rank: Count
    qk_nope_head_dim: Count
    qk_rope_head_dim: Count
    v_head_dim: Count
    index_heads: Count
    index_head_dim: Count
    index_topk: Count
    routed_experts: Count
    experts_per_token: Count
    shared_experts: Annotated[int, Field(ge=0, le=1 << 20)]
    expert_groups: Count
    expert_groups_per_token: Count
    moe_intermediate: Count
    dense_intermediate: Count
    first_dense_layers: Annotated[int, Field(ge=0, le=1 << 20)]
    vocabulary: Count
    mtp_layers: Annotated[int, Field(ge=0, le=1 << 20)]
    max_positions: Annotated[int, Field(ge=1, le=1 << 30)]
    config: Annotated[str, Field(max_length=4096)] = ""

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        wrong = []
        if self.first_dense_layers > self.layers:
            wrong.append("first_dense_layers at most layers")
        if self.experts_per_token > self.routed_experts:
            wrong.append("experts_per_token at most routed_experts")
        if self.expert_groups_per_token > self.expert_groups:
            wrong.append("expert_groups_per_token at most expert_groups")
        if self.routed_experts % self.expert_groups:
            wrong.append("routed_experts a multiple of expert_groups")
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    @property
    def moe_layers(self) -> int:
        """Layers with routed experts: ``layers - first_dense_layers``."""
        return self.layers - self.first_dense_layers

    @property
    def attention_parameters(self) -> int:
        """MLA weights of one layer: query down and up, KV down and up, output projection."""
        query = self.q_lora_rank * (self.hidden + self.heads * (self.qk_nope_head_dim + self.qk_rope_head_dim))
        latent = self.hidden * (self.kv_lora_rank + self.qk_rope_head_dim)
        up = self.kv_lora_rank * self.heads * (self.qk_nope_head_dim + self.v_head_dim)
        return query + latent + up + self.heads * self.v_head_dim * self.hidden

    @property
    def indexer_parameters(self) -> int:
        """Indexer weights of one layer: queries from the query latent, one key, one weight per head."""
        queries = self.q_lora_rank * self.index_heads * self.index_head_dim
        return queries + self.hidden * (self.index_head_dim + self.index_heads)

    @property
    def expert_parameters(self) -> int:
        """Weights of one expert: gate, up and down, ``3 * hidden * moe_intermediate``."""
        return 3 * self.hidden * self.moe_intermediate

    @property
    def dense_parameters(self) -> int:
        """Weights of one dense feed-forward block, ``3 * hidden * dense_intermediate``."""
        return 3 * self.hidden * self.dense_intermediate

    @property
    def embedding_parameters(self) -> int:
        """Weights of the input embedding, and again of the output head: ``vocabulary * hidden``."""
        return self.vocabulary * self.hidden

    def _parameters(self, experts: int, embeddings: int) -> int:
        attention = self.layers * (self.attention_parameters + self.indexer_parameters)
        dense = self.first_dense_layers * self.dense_parameters
        expert_layer = experts * self.expert_parameters + self.hidden * self.routed_experts
        return attention + dense + self.moe_layers * expert_layer + embeddings * self.embedding_parameters

    @property
    def total_parameters(self) -> int:
        """All weights with input embedding and output head, without MTP and the norms' vectors."""
        return self._parameters(self.routed_experts + self.shared_experts, 2)

    @property
    def active_parameters(self) -> int:
        """Weights one token passes through, with the output head, without the input embedding."""
        return self._parameters(self.experts_per_token + self.shared_experts, 1)

    def check_config(self, config: Mapping[str, Any], source: str) -> None:
        """Compare the card with a Hugging Face ``config.json``.

        Parameters
        ----------
        config : mapping
            The parsed file.
        source : str
            The file's name, for the faults.

        Raises
        ------
        InputError
            With one fault per key that is missing or differs.
        """
        faults = [
            Fault(f"{source}: {key}", repr(config.get(key)), f"{getattr(self, field)} ({self.name}: {field})")
            for field, key in CONFIG_KEYS.items()
            if config.get(key) != getattr(self, field)
        ]
        if faults:
            raise InputError(faults)


def card_names() -> list[str]:
    """Return the names of the bundled cards, sorted."""
    return sorted(path.stem for path in _FOLDER.glob("*.toml"))


def load_card(reference: str) -> ModelCard:
    """Read a bundled card by name, or a card file by path.

    Parameters
    ----------
    reference : str
        A name of :func:`card_names`, or a path to a TOML file with the keys of :class:`ModelCard`.

    Raises
    ------
    InputError
        If there is no such card, the file is not a valid card, or a number differs from the ``config`` that it names.
    """
    path = _FOLDER / f"{reference}.toml" if reference in card_names() else Path(reference)
    if not is_file(str(path)):
        raise InputError(Fault(reference, "no such model card", f"a path to a TOML file or one of {', '.join(card_names())}"))
    card = validate(ModelCard, read_toml(path), path.name)
    if card.config:
        source = path.parent / card.config
        if not is_file(str(source)):
            raise InputError(Fault(f"{path.name}: config", repr(card.config), "a path to the model's config.json"))
        config = json_document(source, read_bounded(source))
        if not isinstance(config, dict):
            raise InputError(Fault(str(source), f"a JSON {type(config).__name__}", "an object"))
        card.check_config(config, card.config)
    return card
