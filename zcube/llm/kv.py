"""Bytes of a KV cache, and the pieces in which TileRT ships it.

A token's row in one layer is the MLA latent (``kv_lora_rank`` values and ``qk_rope_head_dim`` rotary values) and
one indexer key. With fp8 the latent is vLLM's ``fp8_ds_mla`` row: fp8 values, one fp32 scale per 128 values, and the
rotary part kept in bf16 (656 bytes for GLM-5 and DeepSeek-V3.2). fp8 indexer keys carry one fp32 scale per 128
values and come in whole pages of 64 tokens (8,448 bytes), as in SGLang's token-to-KV pool and TileRT's ``ki`` plane.
With grouped queries a row is the keys and values of each of their heads.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias, get_args

import numpy as np
from numpy.typing import ArrayLike

from zcube.arrays import IntArray
from zcube.errors import Fault, InputError
from zcube.llm.cards import ModelCard

KvDtype: TypeAlias = Literal["fp8", "bf16", "bf16+fp8-index"]

#: Tokens of one page of the indexer's key cache (SGLang and TileRT).
PAGE_TOKENS = 64
#: Values that share one fp32 scale.
SCALE_BLOCK = 128
#: Far above any context; keeps every product inside 64-bit integers.
MAX_TOKENS = 1 << 32


@dataclass(frozen=True, slots=True)
class KvLayout:
    """How the KV cache is stored and shipped.

    Attributes
    ----------
    dtype : {"fp8", "bf16", "bf16+fp8-index"}
        ``"bf16+fp8-index"`` is what SGLang and vLLM keep when asked for a bf16 KV cache.
    with_mtp_layer : bool
        Whether the cache of the multi-token-prediction layers is shipped too (TileRT needs it).
    """

    dtype: KvDtype = "fp8"
    with_mtp_layer: bool = False

    def __post_init__(self) -> None:
        if self.dtype not in get_args(KvDtype):
            raise InputError(Fault("kv dtype", repr(self.dtype), "one of " + ", ".join(get_args(KvDtype))))

    def layers(self, card: ModelCard) -> int:
        """Return the layers whose cache is shipped."""
        return card.layers + (card.mtp_layers if self.with_mtp_layer else 0)


def row_bytes(card: ModelCard, layout: KvLayout) -> int:
    """Return the bytes of one token in one layer that keeps every token, without its indexer key."""
    return latent_row_bytes(card, layout) if card.attention == "latent" else card.kv_heads * _head_row_bytes(card, layout)


def _head_row_bytes(card: ModelCard, layout: KvLayout) -> int:
    """Key and value of one of their heads; fp8 with one scale a tensor (vLLM), whose bytes are none a token."""
    return (card.head_dim + card.value_head_dim) * (1 if layout.dtype == "fp8" else 2)


def state_bytes(card: ModelCard) -> int:
    """Return the bytes that linear layers keep of a request, whatever its length.

    A state of ``linear_key_head_dim x linear_value_head_dim`` fp32 values a value head, and the last ``linear_conv - 1``
    columns of the convolution's input in bf16 (gated delta rule, as Hugging Face Transformers keeps it for Qwen3-Next).
    """
    keys, values = card.linear_key_heads * card.linear_key_head_dim, card.linear_value_heads * card.linear_value_head_dim
    convolution = 2 * max(card.linear_conv - 1, 0) * (2 * keys + values)
    return card.linear_layers * (4 * values * card.linear_key_head_dim + convolution)


def latent_row_bytes(card: ModelCard, layout: KvLayout) -> int:
    """Return the bytes of one token's MLA latent in one layer (656 fp8, 1152 bf16 for GLM-5.1 and DeepSeek's models)."""
    if layout.dtype == "fp8":
        return card.kv_lora_rank + 4 * -(-card.kv_lora_rank // SCALE_BLOCK) + 2 * card.qk_rope_head_dim
    return 2 * (card.kv_lora_rank + card.qk_rope_head_dim)


def index_row_bytes(card: ModelCard, layout: KvLayout) -> int:
    """Return the bytes of one token's indexer key in one layer (132 fp8, 256 bf16 for GLM-5.1 and DeepSeek-V3.2)."""
    if layout.dtype == "bf16":
        return 2 * card.index_head_dim
    return card.index_head_dim + 4 * -(-card.index_head_dim // SCALE_BLOCK)


def bytes_per_token(card: ModelCard, layout: KvLayout) -> int:
    """Return the bytes one token adds over all layers, page rounding and layers with a full window left out."""
    parts = cache_parts(card, layout)
    return sum(part.units * (part.row_bytes + part.index_bytes) for part in parts if not part.window_tokens)


@dataclass(frozen=True, slots=True)
class CachePart:
    """Layers that keep alike what they keep, in units that lie on one GPU: a layer, or one head of keys and values of it.

    Attributes
    ----------
    layers, heads : int
        Layers, and units in each; latents and indexer keys are whole wherever they are held.
    row_bytes, index_bytes : int
        Bytes a token of a unit: its row, and its indexer key.
    window_tokens : int
        Tokens kept; 0: all.
    state_bytes : int
        Bytes a unit keeps of a request whatever its length.
    """

    layers: int
    heads: int
    row_bytes: int = 0
    index_bytes: int = 0
    window_tokens: int = 0
    state_bytes: int = 0

    @property
    def units(self) -> int:
        """Units of one full copy."""
        return self.layers * self.heads

    def unit_bytes(self, tokens: IntArray, layout: KvLayout) -> IntArray:
        """Return what a unit keeps of contexts of some tokens."""
        rows = np.minimum(tokens, self.window_tokens) if self.window_tokens else tokens
        keys = tokens if layout.dtype == "bf16" else PAGE_TOKENS * -(-tokens // PAGE_TOKENS)
        return self.row_bytes * rows + self.index_bytes * keys + self.state_bytes * (tokens > 0)


def cache_parts(card: ModelCard, layout: KvLayout) -> tuple[CachePart, ...]:
    """Return what a model keeps, by kind of layer; MTP layers are as the model's first, with an indexer of their own."""
    more, index = layout.layers(card) - card.layers, index_row_bytes(card, layout)
    indexed = card.indexed_layers + (more if card.index_heads else 0)
    full = card.full_layers + more
    if card.attention == "latent":
        row = latent_row_bytes(card, layout)
        parts = [CachePart(indexed, 1, row, index), CachePart(full - indexed, 1, row)]
    else:
        parts = [CachePart(full, card.kv_heads, _head_row_bytes(card, layout))]
    window_heads = card.window_kv_heads or card.kv_heads or 1
    window_row = _head_row_bytes(card, layout) if card.kv_heads else latent_row_bytes(card, layout)
    parts.append(CachePart(card.window_layers, window_heads, window_row, window_tokens=card.window_tokens))
    if card.linear_layers:
        # A head of keys goes with its heads of values where these divide evenly.
        heads = math.gcd(card.linear_key_heads, card.linear_value_heads)
        parts.append(CachePart(card.linear_layers, heads, state_bytes=state_bytes(card) // card.linear_layers // heads))
    return tuple(part for part in parts if part.layers)


def kv_bytes(card: ModelCard, tokens: ArrayLike, layout: KvLayout | None = None) -> Any:
    """Return the bytes of one full copy of the KV cache.

    ``layers * row * N`` over the layers that keep every token, and for those with an indexer of their own
    ``page * ceil(N / 64)`` with fp8 indexer keys, ``index * N`` else; layers of a window keep at most so many tokens, linear
    ones :func:`state_bytes` as soon as there is a token.

    Parameters
    ----------
    card : ModelCard
        The model.
    tokens : int or array of int
        Context lengths N, 0 .. 2**32.
    layout : KvLayout, optional
        How the cache is stored; fp8 without the MTP layer if left out.

    Returns
    -------
    int64 scalar or array
        Of the shape of ``tokens``.

    Raises
    ------
    InputError
        If a length is not an integer in range.
    """
    layout = layout or KvLayout()
    count = _lengths(tokens)
    return sum((part.units * part.unit_bytes(count, layout) for part in cache_parts(card, layout)), np.zeros_like(count))[()]


def room_tokens(card: ModelCard, tokens: ArrayLike, layout: KvLayout) -> Any:
    """Return the tokens whose rows take as much memory as contexts of some tokens do.

    More than they have themselves where layers of a window or linear ones keep something beside; a model that keeps every token
    alike takes its own tokens. Memory is declared in tokens, so that this is what a request claims of it.
    """
    count = _lengths(tokens)
    beside = [part for part in cache_parts(card, layout) if part.window_tokens or part.state_bytes]
    row = bytes_per_token(card, layout)
    if not beside or not row:
        return count[()]
    kept = sum((part.units * part.unit_bytes(count, layout) for part in beside), np.zeros_like(count))
    return (count - -kept // row)[()]


def tilert_descriptors(card: ModelCard, tokens: int, dtype: Literal["fp8", "bf16"] = "fp8") -> IntArray:
    """Return the sizes of the RDMA writes of one TileRT transfer.

    Per layer, MTP included: latent values, rotary values, indexer key pages. fp8: ``528 N``, ``128 N`` and
    ``8448 * ceil(N / 64)``; bf16: ``1024 N``, ``128 N`` and the same pages (TileRT 0.1.5, ``pd_vllm``).

    Returns
    -------
    int64 array, shape (layers, 3)
        Bytes; GLM-5.1 gives 79 x 3 = 237 writes.
    """
    count = int(_lengths(tokens))
    layout = KvLayout("fp8" if dtype == "fp8" else "bf16+fp8-index", with_mtp_layer=True)
    rotary = 2 * card.qk_rope_head_dim
    latent = latent_row_bytes(card, layout) - rotary
    pages = index_row_bytes(card, layout) * PAGE_TOKENS * -(-count // PAGE_TOKENS)
    return np.tile(np.array([latent * count, rotary * count, pages], dtype=np.int64), (layout.layers(card), 1))


def _lengths(tokens: ArrayLike) -> IntArray:
    given = np.asarray(tokens)
    if given.dtype.kind not in "iu" and given.size:
        raise InputError(Fault("tokens", f"numbers of type {given.dtype}", "whole numbers of tokens"))
    if given.size and (given.min() < 0 or given.max() > MAX_TOKENS):
        raise InputError(Fault("tokens", f"{given.min()} .. {given.max()}", f"0 .. {MAX_TOKENS}"))
    return given.astype(np.int64)
