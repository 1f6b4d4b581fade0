"""The kinds of layer that a model has, as one GPU computes them."""

from __future__ import annotations

from zcube.llm.cards import ModelCard
from zcube.llm.devices import Device
from zcube.llm.kinds.grouped import Grouped
from zcube.llm.kinds.latent import Latent
from zcube.llm.kinds.layer import LayerKind
from zcube.llm.kinds.linear import Linear
from zcube.llm.kinds.sparse import SparseLatent
from zcube.llm.kinds.spread import spread_of
from zcube.llm.kv import KvDtype
from zcube.node import GPUS_PER_NODE


def table_dtype(kv: KvDtype) -> str:
    """Return the KV dtype whose measurements hold: the two bf16 forms share one table."""
    return "fp8" if kv == "fp8" else "bf16"


def layer_kinds(card: ModelCard, device: Device, kv: KvDtype, layout: str, gpus: int = GPUS_PER_NODE) -> tuple[LayerKind, ...]:
    """Return the kinds of a model's layers under a layout of so many GPUs, together ``card.layers`` of them."""
    spread, dtype = spread_of(layout, gpus), table_dtype(kv)
    kinds: list[LayerKind] = []
    if card.index_heads:
        kinds.append(SparseLatent(card, device, dtype, spread, card.indexed_layers))
        if card.indexed_layers < card.layers:
            kinds.append(SparseLatent(card.without_indexer, device, dtype, spread, card.layers - card.indexed_layers))
        return tuple(kinds)
    if card.full_layers:
        latent = card.attention == "latent"
        kinds.append(Latent(card, device, kv, spread) if latent else Grouped(card, device, dtype, spread, "grouped"))
    if card.window_layers:
        kinds.append(Grouped(card, device, dtype, spread, "window"))
    if card.linear_layers:
        kinds.append(Linear(card, device, spread))
    return tuple(kinds)
