"""Time of one MoE layer's routed experts on the fullest GPU, a roofline with a rounded corner.

::

    t = max(floor, base + (W**p + F**p)**(1/p) + T * experts_per_token * hidden * 2 / activation rate)
    W = touched experts on the GPU * expert bytes / moe_tp / weight rate
    F = T * experts_per_token / moe_ep * 2 * expert parameters / moe_tp * imbalance / FLOP rate

* touched share: ``min(1, T k / E)`` under even routing, else ``1 - (1 - k/E)**(breadth * T**evenness)``
* imbalance of the fullest rank: ``1 + straggler * (moe_ep - 1)**growth``

T is the number of tokens of the whole expert-parallel group, as in NVIDIA aiconfigurator's tables, whose benchmark
moves the activations of all T tokens through every GPU; an engine that dispatches tokens passes only those that
reach the GPU as ``resident_tokens``. Where a load balancer places experts and copies of them
(:mod:`zcube.llm.expert_placement`), its imbalance takes the place of the measured one, and its slots that of E / moe_ep.
"""

from __future__ import annotations

from typing import Any

from zcube.llm.cards import ModelCard
from zcube.llm.devices import ExpertBalance, Experts
from zcube.llm.elementwise import larger, smaller
from zcube.llm.expert_placement import Placed


def expert_layer_s(
    card: ModelCard,
    figures: Experts,
    balance: ExpertBalance,
    tokens: Any,
    moe_tp: Any,
    moe_ep: Any,
    resident_tokens: Any = None,
    placed: Placed | None = None,
) -> Any:
    """Return the time of one layer, elementwise.

    Parameters
    ----------
    card : ModelCard
        The model.
    figures : Experts
        The device's figures of one kernel.
    balance : ExpertBalance
        One of ``figures.balance``.
    tokens : float or array
        Tokens of the whole expert-parallel group.
    moe_tp, moe_ep : int or array
        Ways each expert is sliced, and ranks the experts are spread over.
    resident_tokens : float or array, optional
        Tokens whose activations pass through this GPU; all if left out.
    placed : Placed, optional
        What a load balancer gave the fullest GPU; default: experts in order, as they were measured.
    """
    drawn = card.experts_per_token / card.routed_experts
    share = (
        smaller(1.0, tokens * drawn) if balance.even else 1.0 - (1.0 - drawn) ** (balance.breadth * tokens**balance.evenness)
    )
    held = card.routed_experts / moe_ep if placed is None else placed.slots
    touched = larger(share * held, 1.0)
    weight_s = touched * card.expert_parameters / moe_tp / (figures.weight_gbytes_per_s * 1e9)
    imbalance = 1.0 + balance.straggler * (moe_ep - 1.0) ** balance.growth if placed is None else placed.imbalance
    flops = tokens * card.experts_per_token / moe_ep * 2.0 * card.expert_parameters / moe_tp * imbalance
    flops_s = flops / (figures.tflops * 1e12)
    # The larger of the two is factored out, so that the power cannot underflow.
    high, low = larger(weight_s, flops_s), smaller(weight_s, flops_s)
    roofline_s = high * (1.0 + (low / high) ** figures.corner) ** (1.0 / figures.corner)
    resident = tokens if resident_tokens is None else resident_tokens
    moved_bytes = resident * card.experts_per_token * card.hidden * 2.0
    seconds = figures.base_us * 1e-6 + roofline_s + moved_bytes / (figures.activation_gbytes_per_s * 1e9)
    return larger(figures.floor_us * 1e-6, seconds)
