"""What a GPU's memory has to hold: its part of a model's weights, and of the KV cache of a node.

The least that a layout allows, so that what is refused fits under no engine:

* attention's weights sliced by tensor parallelism alone, those of experts over all GPUs that share them, everything else over
  all GPUs of a stage; layers dealt evenly to stages
* latents and indexer keys whole on every GPU of a group that slices heads, keys and values by heads, no less than one head;
  tokens dealt evenly to groups, and under context parallelism to the GPUs of a group
* copies of experts where they are named; nothing for activations, buffers or the CUDA context
"""

from __future__ import annotations

from dataclasses import dataclass

from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device
from zcube.llm.kv import KvLayout, cache_parts
from zcube.llm.layout import Layout

#: Bytes of a weight of input embedding and output head.
EMBEDDING_BYTES = 2


@dataclass(frozen=True, slots=True)
class GpuMemory:
    """Of one GPU.

    Attributes
    ----------
    weight_bytes : float
        Its part of the weights.
    token_bytes : float
        What it holds of a token that its node keeps, the mean over the node's GPUs.
    memory_bytes : float or None
        What it has; None where its card does not say.
    """

    weight_bytes: float
    token_bytes: float
    memory_bytes: float | None

    def needed_bytes(self, tokens: int) -> float:
        """Return what weights and so many tokens of a node take."""
        return self.weight_bytes + tokens * self.token_bytes

    @property
    def most_tokens(self) -> int | None:
        """Tokens of a node for which weights leave memory; None where that is not known, or a token takes none."""
        if self.memory_bytes is None:
            return None
        if self.weight_bytes >= self.memory_bytes:
            return 0
        return int((self.memory_bytes - self.weight_bytes) / self.token_bytes) if self.token_bytes else None


def gpu_memory(
    card: ModelCard, device: Device, sizes: Layout, stages: int, ep_nodes: int, kv: KvLayout, weight_bits: float = 8.0,
    redundant_experts: int = 0,
) -> GpuMemory:  # fmt: skip
    """Return what a GPU of a node has to hold.

    Parameters
    ----------
    card, device : ModelCard, Device
        Model and GPU.
    sizes : Layout
        Of a stage.
    stages, ep_nodes : int
        Pipeline stages of the node; nodes over which experts are spread.
    kv : KvLayout
        How the cache is stored.
    weight_bits : float
        Of a weight, but for input embedding and output head.
    redundant_experts : int
        Copies of experts in every layer that has experts.
    """
    gpus = sizes.tp * sizes.cp * sizes.dp
    attention = card.full_layers * card.attention_parameters + card.indexed_layers * card.indexer_parameters
    attention += card.window_layers * card.window_parameters + card.linear_layers * card.linear_parameters
    experts = card.moe_layers * card.routed_experts * card.expert_parameters
    embeddings = (1 if card.tied_embeddings else 2) * card.embedding_parameters
    rest = card.total_parameters - attention - experts - embeddings
    experts += card.moe_layers * redundant_experts * card.expert_parameters
    weights = (attention / sizes.tp + experts / (gpus * ep_nodes) + rest / gpus) * weight_bits / 8
    weights += embeddings * EMBEDDING_BYTES / gpus
    token_bytes = sum(
        part.layers * (part.row_bytes + part.index_bytes) * max(1.0, part.heads / sizes.tp)
        for part in cache_parts(card, kv)
        if not part.window_tokens
    )
    memory = device.peak.memory_gbytes
    return GpuMemory(weights / stages, token_bytes / (sizes.cp * sizes.dp * stages), None if memory is None else memory * 1e9)
