"""What follows from a model card, as plain text and as a document."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from zcube.llm.cards import ModelCard
from zcube.llm.kv import KvDtype, KvLayout, bytes_per_token, kv_bytes, state_bytes
from zcube.report.columns import aligned
from zcube.report.names import printable
from zcube.report.quantities import bytes_text

#: Contexts at which the whole cache is given, tokens.
CONTEXTS = (4_096, 32_768, 131_072)
_DTYPES: tuple[KvDtype, ...] = ("bf16", "fp8")


def card_document(card: ModelCard) -> dict[str, Any]:
    """Return a card with its parameters, KV bytes and what of it has no compute times, JSON-ready."""
    return {
        "card": card.model_dump(mode="json"),
        "attention": attention_text(card),
        "parameters": {"total": card.total_parameters, "active": card.active_parameters},
        "kv_bytes_per_token": {dtype: bytes_per_token(card, KvLayout(dtype)) for dtype in _DTYPES},
        "kv_bytes_per_token_with_mtp_layer": {dtype: bytes_per_token(card, KvLayout(dtype, True)) for dtype in _DTYPES},
        "kv_bytes": {
            dtype: {str(tokens): int(kv_bytes(card, tokens, KvLayout(dtype))) for tokens in CONTEXTS} for dtype in _DTYPES
        },
        "state_bytes": state_bytes(card),
        "not_served": list(card.untimed),
    }


def attention_text(card: ModelCard) -> str:
    """Return in words how the layers attend."""
    if card.attention == "latent":
        full = f"latent attention of {card.kv_lora_rank} + {card.qk_rope_head_dim}"
        if card.indexed_layers:
            full += f", {card.index_topk:,} tokens chosen by {card.indexed_layers} indexers"
    else:
        full = f"{card.heads} heads on {card.kv_heads} of keys and values of {card.head_dim}"
    parts = [full if card.full_layers == card.layers else f"{card.full_layers} layers: {full}"]
    if card.window_layers:
        parts.append(f"{card.window_layers} layers: a window of {card.window_tokens:,} tokens")
    if card.linear_layers:
        parts.append(f"{card.linear_layers} layers: linear, {card.linear_value_heads} heads")
    return "; ".join(parts)


def card_text(card: ModelCard) -> str:
    """Return what follows from a card as aligned lines with a final newline."""
    experts = "none (dense)"
    if card.routed_experts:
        experts = f"{card.experts_per_token} of {card.routed_experts} routed and {card.shared_experts} shared"
        experts += f", in {card.moe_layers} of {card.layers} layers"
    rows = [
        ("Model", printable(f"{card.name}: {card.description}")),
        ("Source", printable(card.source)),
        ("Layers", f"{card.layers}, hidden {card.hidden:,}; multi-token prediction {card.mtp_layers}"),
        ("Attention", attention_text(card)),
        ("Experts", experts),
        ("Parameters", f"{card.total_parameters / 1e9:,.2f} billion, {card.active_parameters / 1e9:,.2f} a token"),
        *(_cache(card, dtype) for dtype in _DTYPES),
    ]
    if card.mtp_layers:
        shipped = (f"{bytes_per_token(card, KvLayout(dtype, True)):,} ({dtype})" for dtype in _DTYPES)
        rows.append(
            ("KV shipped", f"{', '.join(shipped)} bytes a token: with kv.with_mtp_layer, the default, the draft layer's too")
        )
    if card.linear_layers:
        rows.append(("State", f"{bytes_text(state_bytes(card))} a request, of linear layers"))
    served = f"not simulated: no times for {', '.join(card.untimed)}" if card.untimed else "zcube compare, zcube trace generate"
    rows.append(("Serving", served))
    return "\n".join(aligned(rows, left=2)) + "\n"


def cards_text(cards: Sequence[ModelCard]) -> str:
    """Return a line a card with its parameters and KV bytes a token."""
    head = ("Model", "Attention", "Parameters", "a token", "KV a token, bf16", "fp8", "Served")
    rows = [
        (
            card.name,
            attention_text(card),
            f"{card.total_parameters / 1e9:,.1f} B",
            f"{card.active_parameters / 1e9:,.1f} B",
            *(f"{bytes_per_token(card, KvLayout(dtype)):,} B" for dtype in _DTYPES),
            "no" if card.untimed else "yes",
        )
        for card in cards
    ]
    note = "KV: of the layers without the draft layer (kv.with_mtp_layer), whose bytes zcube model show adds."
    return "\n".join([*aligned([head, *rows], left=2), note]) + "\n"


def _cache(card: ModelCard, dtype: KvDtype) -> tuple[str, str]:
    layout = KvLayout(dtype)
    whole = ", ".join(f"{bytes_text(int(kv_bytes(card, tokens, layout)))} of {tokens:,}" for tokens in CONTEXTS)
    return f"KV, {dtype}", f"{bytes_per_token(card, layout):,} bytes a token; {whole}"
