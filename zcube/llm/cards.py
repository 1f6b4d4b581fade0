"""Model cards: the architecture numbers of a language model, and what follows from them."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Literal, TypeAlias

from pydantic import Field, model_validator

from zcube.errors import Fault, FaultList, InputError
from zcube.input_files import is_file
from zcube.inputs import Declared, read_toml, validate
from zcube.llm.config_file import KEYS, numbers_of, read_config

_FOLDER = Path(__file__).resolve().parent / "models"

#: How a layer that keeps every token attends: MLA, or keys and values of groups of heads.
Attention: TypeAlias = Literal["latent", "grouped"]

#: Bounded so that no product of card numbers leaves 64-bit integers.
Count = Annotated[int, Field(ge=1, le=1 << 20)]
#: The same, where the model may have none of it.
CountOrNone = Annotated[int, Field(ge=0, le=1 << 20)]

#: Tokens attended to where there is no choice: more than any context; products with it stay far inside 64-bit integers.
NO_CHOICE = 1 << 31

_LATENT = ("kv_lora_rank", "qk_nope_head_dim", "qk_rope_head_dim", "v_head_dim")
_GROUPED = ("kv_heads", "head_dim")
_INDEXER = ("index_heads", "index_head_dim", "index_topk")
_LINEAR = ("linear_key_heads", "linear_key_head_dim", "linear_value_heads", "linear_value_head_dim", "linear_conv")
_EXPERTS = ("routed_experts", "experts_per_token", "moe_intermediate")


class ModelCard(Declared):
    """Architecture of a language model: what its ``config.json`` says, under one set of names.

    A layer attends by latent attention (MLA: ``kv_lora_rank`` above 0) or by grouped queries (``kv_heads`` above 0; as many
    as ``heads`` is multi-head attention), but for ``window_layers``, which see ``window_tokens`` back, and
    ``linear_layers``, which keep a state of constant size. A kind that a model has not is 0.

    Attributes
    ----------
    name, description, source : str
        ``source`` names the public configuration the numbers were read from.
    layers, hidden, heads : int
        Transformer layers (without MTP), hidden size, attention heads.
    q_lora_rank, kv_lora_rank, qk_nope_head_dim, qk_rope_head_dim, v_head_dim : int
        Multi-head latent attention; ``q_lora_rank`` 0: queries straight from the hidden state.
    kv_heads, head_dim : int
        Grouped queries: heads of keys and values, their size; values of ``v_head_dim`` where that is given.
    attention_gate : bool
        Whether the query projection gives as many values again, which gate the output (Qwen3.5).
    index_heads, index_head_dim, index_topk : int
        Sparse-attention indexer; ``index_topk`` tokens are attended to.
    index_layers : int
        Layers with an indexer and keys of their own; others take an earlier layer's choice. 0: all, where there are
        indexers.
    window_layers, window_tokens, window_kv_heads : int
        Layers of sliding-window attention, the tokens they keep, their heads of keys and values where these differ.
    linear_layers : int
        Layers of linear attention (gated delta rule).
    linear_key_heads, linear_key_head_dim, linear_value_heads, linear_value_head_dim, linear_conv : int
        Heads and sizes of these, and the width of the short convolution.
    routed_experts, experts_per_token, shared_experts : int
        Expert counts of one MoE layer; 0 routed: a dense model.
    expert_groups, expert_groups_per_token : int
        Group-limited routing: a token's experts lie in ``expert_groups_per_token`` of ``expert_groups`` groups.
    moe_intermediate, shared_intermediate, dense_intermediate : int
        Inner size of one expert, of one shared expert (0: as the others), and of the dense feed-forward block.
    first_dense_layers : int
        Leading layers with a dense feed-forward block.
    vocabulary, mtp_layers, max_positions : int
        Vocabulary, multi-token-prediction layers, longest context in tokens.
    tied_embeddings : bool
        Whether input embedding and output head are one matrix.
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
    q_lora_rank: CountOrNone = 0
    kv_lora_rank: CountOrNone = 0
    qk_nope_head_dim: CountOrNone = 0
    qk_rope_head_dim: CountOrNone = 0
    v_head_dim: CountOrNone = 0
    kv_heads: CountOrNone = 0
    head_dim: CountOrNone = 0
    attention_gate: bool = False
    index_heads: CountOrNone = 0
    index_head_dim: CountOrNone = 0
    index_topk: CountOrNone = 0
    index_layers: CountOrNone = 0
    window_layers: CountOrNone = 0
    window_tokens: CountOrNone = 0
    window_kv_heads: CountOrNone = 0
    linear_layers: CountOrNone = 0
    linear_key_heads: CountOrNone = 0
    linear_key_head_dim: CountOrNone = 0
    linear_value_heads: CountOrNone = 0
    linear_value_head_dim: CountOrNone = 0
    linear_conv: CountOrNone = 0
    routed_experts: CountOrNone = 0
    experts_per_token: CountOrNone = 0
    shared_experts: CountOrNone = 0
    expert_groups: Count = 1
    expert_groups_per_token: Count = 1
    moe_intermediate: CountOrNone = 0
    shared_intermediate: CountOrNone = 0
    dense_intermediate: CountOrNone = 0
    first_dense_layers: CountOrNone = 0
    vocabulary: Count
    mtp_layers: CountOrNone = 0
    max_positions: Annotated[int, Field(ge=1, le=1 << 30)]
    tied_embeddings: bool = False
    config: Annotated[str, Field(max_length=4096)] = ""

    @model_validator(mode="after")
    def _consistent(self) -> ModelCard:
        wrong = [*self._wrong_attention(), *self._wrong_experts()]
        if wrong:
            raise ValueError("; ".join(wrong))
        return self

    def _wrong_attention(self) -> list[str]:
        wrong = []
        if bool(self.kv_lora_rank) == bool(self.kv_heads):
            wrong.append("either kv_lora_rank (latent attention) or kv_heads (grouped queries)")
        needed = _LATENT if self.kv_lora_rank else _GROUPED
        wrong += self._all_or_none("attention", needed, True)
        wrong += self._all_or_none("an indexer", _INDEXER, any(getattr(self, name) for name in _INDEXER))
        wrong += self._all_or_none(
            "window_layers", ("window_layers", "window_tokens"), bool(self.window_layers or self.window_tokens)
        )
        wrong += self._all_or_none("linear_layers", ("linear_layers", *_LINEAR), bool(self.linear_layers))
        if self.kv_heads and self.heads % self.kv_heads:
            wrong.append("heads a multiple of kv_heads")
        if self.window_kv_heads and (not self.window_layers or not self.kv_heads or self.heads % self.window_kv_heads):
            wrong.append("window_kv_heads only with window_layers of grouped queries, a divisor of heads")
        if self.index_heads and not self.kv_lora_rank:
            wrong.append("an indexer only with latent attention")
        if self.index_layers > self.layers * bool(self.index_heads):
            wrong.append("index_layers at most layers, with an indexer")
        if self.window_layers + self.linear_layers > self.layers:
            wrong.append("window_layers and linear_layers together at most layers")
        if (self.window_layers or self.linear_layers) and self.index_heads:
            wrong.append("no indexer beside window_layers or linear_layers")
        return wrong

    def _wrong_experts(self) -> list[str]:
        wrong = []
        if self.first_dense_layers > self.layers:
            wrong.append("first_dense_layers at most layers")
        wrong += self._all_or_none("routed_experts", _EXPERTS, bool(self.routed_experts))
        if not self.routed_experts and (self.first_dense_layers != self.layers or self.shared_experts):
            wrong.append("first_dense_layers equal to layers and no shared_experts without routed_experts")
        if self.first_dense_layers and not self.dense_intermediate:
            wrong.append("dense_intermediate above 0 with first_dense_layers")
        if self.experts_per_token > self.routed_experts:
            wrong.append("experts_per_token at most routed_experts")
        if self.expert_groups_per_token > self.expert_groups:
            wrong.append("expert_groups_per_token at most expert_groups")
        if self.routed_experts % self.expert_groups:
            wrong.append("routed_experts a multiple of expert_groups")
        return wrong

    def _all_or_none(self, what: str, names: tuple[str, ...], has: bool) -> list[str]:
        """Return what is wrong with numbers that are all above 0 where a model has what they describe, else all 0."""
        odd = [name for name in names if bool(getattr(self, name)) != has]
        return [f"{', '.join(odd)} {'above 0 with' if has else '0 without'} {what}"] if odd else []

    @property
    def attention(self) -> Attention:
        """How layers attend that are neither of a window nor linear."""
        return "latent" if self.kv_lora_rank else "grouped"

    @property
    def row_values(self) -> float:
        """Values that a token adds to a layer's cache, indexer keys left out: the mean over the layers."""
        if self.attention == "latent":
            return float(self.kv_lora_rank + self.qk_rope_head_dim)
        heads = self.full_layers * self.kv_heads + self.window_layers * (self.window_kv_heads or self.kv_heads)
        return heads * (self.head_dim + self.value_head_dim) / self.layers

    @property
    def indexed_layers(self) -> int:
        """Layers with an indexer of their own."""
        return self.index_layers or (self.layers if self.index_heads else 0)

    @property
    def without_indexer(self) -> ModelCard:
        """The model as its layers are that take an earlier layer's choice: as many tokens attended to, no indexer."""
        return self.model_copy(update={"index_heads": 0, "index_head_dim": 0})

    @property
    def full_layers(self) -> int:
        """Layers that keep every token: neither of a window nor linear."""
        return self.layers - self.window_layers - self.linear_layers

    @property
    def moe_layers(self) -> int:
        """Layers with routed experts: ``layers - first_dense_layers``."""
        return self.layers - self.first_dense_layers

    @property
    def attention_parameters(self) -> int:
        """Weights of one full layer's attention: of the query, of keys and values (latent: down and up), of the output."""
        if self.attention == "grouped":
            return self._grouped_parameters(self.kv_heads)
        per_head = self.qk_nope_head_dim + self.qk_rope_head_dim
        down = self.q_lora_rank or self.hidden
        query = self.q_lora_rank * self.hidden + down * self.heads * per_head
        latent = self.hidden * (self.kv_lora_rank + self.qk_rope_head_dim)
        up = self.kv_lora_rank * self.heads * (self.qk_nope_head_dim + self.v_head_dim)
        return query + latent + up + self.heads * self.v_head_dim * self.hidden

    @property
    def value_head_dim(self) -> int:
        """Values of one head of grouped queries: ``v_head_dim``, else ``head_dim``."""
        return self.v_head_dim or self.head_dim

    def _grouped_parameters(self, kv_heads: int) -> int:
        query = self.hidden * self.heads * self.head_dim * (2 if self.attention_gate else 1)
        keys_and_values = self.hidden * kv_heads * (self.head_dim + self.value_head_dim)
        return query + keys_and_values + self.heads * self.value_head_dim * self.hidden

    @property
    def window_parameters(self) -> int:
        """Weights of one sliding-window layer's attention."""
        return self._grouped_parameters(self.window_kv_heads or self.kv_heads) if self.kv_heads else self.attention_parameters

    @property
    def linear_parameters(self) -> int:
        """Weights of one linear layer: keys, queries, values and gate, two numbers a value head, convolution, output."""
        keys, values = self.linear_key_heads * self.linear_key_head_dim, self.linear_value_heads * self.linear_value_head_dim
        into = self.hidden * (2 * keys + 2 * values + 2 * self.linear_value_heads)
        return into + self.linear_conv * (2 * keys + values) + values * self.hidden

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
    def shared_parameters(self) -> int:
        """Weights of one shared expert."""
        return 3 * self.hidden * (self.shared_intermediate or self.moe_intermediate)

    @property
    def dense_parameters(self) -> int:
        """Weights of one dense feed-forward block, ``3 * hidden * dense_intermediate``."""
        return 3 * self.hidden * self.dense_intermediate

    @property
    def embedding_parameters(self) -> int:
        """Weights of the input embedding, and again of the output head: ``vocabulary * hidden``."""
        return self.vocabulary * self.hidden

    def _parameters(self, experts: int, embeddings: int) -> int:
        attention = self.full_layers * self.attention_parameters + self.indexed_layers * self.indexer_parameters
        attention += self.window_layers * self.window_parameters + self.linear_layers * self.linear_parameters
        dense = self.first_dense_layers * self.dense_parameters
        expert_layer = experts * self.expert_parameters + self.shared_experts * self.shared_parameters
        expert_layer += self.hidden * self.routed_experts
        return attention + dense + self.moe_layers * expert_layer + embeddings * self.embedding_parameters

    @property
    def total_parameters(self) -> int:
        """All weights with input embedding and output head, without MTP, biases and the norms' vectors."""
        return self._parameters(self.routed_experts, 1 if self.tied_embeddings else 2)

    @property
    def active_parameters(self) -> int:
        """Weights one token passes through, with the output head, without the input embedding."""
        return self._parameters(self.experts_per_token, 1)

    @property
    def attended_tokens(self) -> int:
        """Tokens that a query attends to at most: those the indexer chooses, else more than any context."""
        return self.index_topk or NO_CHOICE

    @property
    def untimed(self) -> tuple[str, ...]:
        """Parts without compute times: windows and linear layers beside latent attention, which no public model has."""
        beside = [("sliding windows", self.window_layers), ("linear attention", self.linear_layers)]
        return tuple(f"{part} beside latent attention" for part, layers in beside if layers and self.kv_lora_rank)

    def check_served(self, where: str = "compute.model") -> None:
        """Refuse a model of which a part has no times.

        Raises
        ------
        InputError
            Naming each part.
        """
        if self.untimed:
            expected = "latent attention in every layer, or grouped queries (zcube model list)"
            raise InputError(Fault(where, f"{self.name}, of which there are no times: {', '.join(self.untimed)}", expected))

    def check_indexed(self, where: str) -> None:
        """Refuse a model without indexers for what is described with them alone, TileRT's node and its connector.

        Raises
        ------
        InputError
        """
        if not self.index_heads or self.indexed_layers != self.layers:
            has = (
                f"which has indexers in {self.indexed_layers} of {self.layers} layers"
                if self.index_heads
                else "which has no indexer"
            )
            raise InputError(Fault(where, f"{self.name}, {has}", "a model with an indexer in every layer"))

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
        found, faults = numbers_of(config, source).found, FaultList()
        for field in (*KEYS, "index_layers", "window_layers", "linear_layers"):
            mine = self.indexed_layers if field == "index_layers" and field in found else getattr(self, field)
            key, value = found.get(field, (KEYS.get(field, ("",))[0], None))
            if value is None and (not mine or field not in self.model_fields_set):
                continue
            if value != mine:
                faults.faults.append(Fault(f"{source}: {key}", repr(value), f"{mine} ({self.name}: {field})"))
        faults.check()


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
        raise InputError(
            Fault(reference or "''", "no such model card", f"a path to a TOML file or one of {', '.join(card_names())}")
        )
    card = validate(ModelCard, read_toml(path), path.name)
    if card.config:
        source = path.parent / card.config
        if not is_file(str(source)):
            raise InputError(Fault(f"{path.name}: config", repr(card.config), "a path to the model's config.json"))
        card.check_config(read_config(source), card.config)
    return card
