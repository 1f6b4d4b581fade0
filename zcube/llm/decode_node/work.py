"""Bytes and floating-point operations of the parts of a decode step on one GPU, from the model card.

Weights are fp8, the router and the output head bf16, the caches bf16 as TileRT keeps them (1,152 bytes of latent and 256
bytes of index key a token and layer). Block scales, norms and the embedding lookup are left out.
"""

from __future__ import annotations

from dataclasses import dataclass

from zcube.llm.cards import ModelCard
from zcube.llm.kv import KvLayout, index_row_bytes, latent_row_bytes

_BF16 = 2
_CACHE = KvLayout("bf16")
#: Bytes of a selected token id.
ID_BYTES = 4


@dataclass(frozen=True, slots=True)
class Work:
    """Work of one part on one GPU.

    Attributes
    ----------
    memory_bytes : float
        Read from the GPU's memory.
    fp8_flops, bf16_flops : float
        Multiplications and additions by the format they are done in.
    """

    memory_bytes: float
    fp8_flops: float = 0.0
    bf16_flops: float = 0.0


def weights(parameters: float, queries: int) -> Work:
    """Return the work of multiplying ``queries`` tokens with fp8 weights."""
    return Work(parameters, fp8_flops=2.0 * parameters * queries)


def bf16_weights(parameters: float, queries: int) -> Work:
    """Return the work of multiplying ``queries`` tokens with bf16 weights."""
    return Work(_BF16 * parameters, bf16_flops=2.0 * parameters * queries)


def query_latent_parameters(card: ModelCard) -> int:
    """Return the query's down-projection, held by every GPU."""
    return card.hidden * card.q_lora_rank


def kv_latent_parameters(card: ModelCard) -> int:
    """Return the KV latent's down-projection, held by every GPU with attention heads."""
    return card.hidden * (card.kv_lora_rank + card.qk_rope_head_dim)


def query_up_parameters(card: ModelCard, heads: int) -> int:
    """Return the query's up-projection of some heads."""
    return card.q_lora_rank * heads * (card.qk_nope_head_dim + card.qk_rope_head_dim)


def absorb_parameters(card: ModelCard, heads: int) -> int:
    """Return the keys' up-projection, which multiplies the query instead of the cached latents."""
    return card.kv_lora_rank * heads * card.qk_nope_head_dim


def value_up_parameters(card: ModelCard, heads: int) -> int:
    """Return the values' up-projection of some heads."""
    return card.kv_lora_rank * heads * card.v_head_dim


def output_parameters(card: ModelCard, heads: int) -> int:
    """Return the output projection of some heads."""
    return heads * card.v_head_dim * card.hidden


def is_sparse(card: ModelCard, context_tokens: int, queries: int) -> bool:
    """Return whether there are more tokens than the indexer selects."""
    return context_tokens + queries > card.index_topk


def attention_work(card: ModelCard, heads: int, context_tokens: int, queries: int) -> Work:
    """Return the work of attending to the selected latents.

    Below ``index_topk`` tokens all queries read the same rows; above, each has its own.
    """
    attended = min(context_tokens + queries, card.index_topk)
    rows = attended * (queries if is_sparse(card, context_tokens, queries) else 1)
    width = 2 * card.kv_lora_rank + card.qk_rope_head_dim
    return Work(rows * latent_row_bytes(card, _CACHE), bf16_flops=2.0 * heads * width * attended * queries)


def logits_work(card: ModelCard, context_tokens: int, queries: int) -> Work:
    """Return the work of the index logits: every key is read once and multiplied with every query's index heads."""
    tokens = context_tokens + queries
    flops = 2.0 * card.index_heads * card.index_head_dim * tokens * queries
    return Work(tokens * index_row_bytes(card, _CACHE), bf16_flops=flops)


def distinct_experts(card: ModelCard, tokens: int) -> float:
    """Return the expected number of different routed experts of some tokens, ``E (1 - (1 - k/E)^tokens)``.

    Uniform and independent routing; tokens that follow each other share experts, so this is an upper estimate.
    """
    return card.routed_experts * (1.0 - (1.0 - card.experts_per_token / card.routed_experts) ** tokens)


def all_reduce_bytes(card: ModelCard, queries: int) -> int:
    """Return the bytes one GPU puts into an all-reduce: bf16 hidden states, 12,288 a token for GLM-5.1."""
    return queries * _BF16 * card.hidden


def selected_id_bytes(card: ModelCard, queries: int) -> int:
    """Return the bytes of selected token ids one peer is sent, without flags: 8,192 a query token."""
    return queries * ID_BYTES * card.index_topk
