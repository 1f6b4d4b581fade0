"""The all-to-all of DeepEP's normal mode in closed form."""

from __future__ import annotations

import numpy as np

from zcube.llm.cards import ModelCard
from zcube.llm.expert_traffic import hit_probability, normal_combine_bytes, normal_dispatch_bytes


def bytes_between_nodes(card: ModelCard, tokens_per_node) -> np.ndarray:
    """Return the expected bytes from node i to node j over a prefill iteration: all MoE layers, dispatch and combine."""
    tokens = np.asarray(tokens_per_node, dtype=float)
    dispatch = normal_dispatch_bytes(card.hidden, card.experts_per_token)
    combine = normal_combine_bytes(card.hidden, card.experts_per_token)
    # i -> j carries the dispatch of i's tokens and the combine of j's.
    chance = hit_probability(card, len(tokens))
    traffic = card.moe_layers * chance * (dispatch * tokens[:, None] + combine * tokens[None, :])
    np.fill_diagonal(traffic, 0.0)
    return traffic
