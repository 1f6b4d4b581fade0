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

from dataclasses import dataclass
from typing import Any, Self

from zcube.llm.cards import ModelCard
from zcube.llm.devices import ExpertBalance, Experts
from zcube.llm.elementwise import larger, power, smaller
from zcube.llm.expert_placement import Placed


@dataclass(frozen=True, slots=True)
class ExpertForm:
    """The form with the model's sizes, the device's figures and the spread of the experts put in.

    Attributes
    ----------
    balance : ExpertBalance
        Of the load.
    drawn : float
        Share of the experts that a token chooses.
    held : float or array
        Experts of a GPU.
    chosen, expert_parameters, hidden : int
        Experts of a token, weights of one, values of a hidden state.
    moe_tp, moe_ep : int or array
        Ways each expert is sliced, and ranks the experts are spread over.
    imbalance : float or array
        Load of the fullest rank over the mean.
    weight_bytes_per_s, flops_per_s, activation_bytes_per_s : float
        Rates.
    base_s, floor_s : float
        Fixed and least time.
    corner : float
        Power of the roofline's corner.
    """

    balance: ExpertBalance
    drawn: float
    held: Any
    chosen: int
    expert_parameters: int
    hidden: int
    moe_tp: Any
    moe_ep: Any
    imbalance: Any
    weight_bytes_per_s: float
    flops_per_s: float
    activation_bytes_per_s: float
    base_s: float
    floor_s: float
    corner: float

    @classmethod
    def of(
        cls, card: ModelCard, figures: Experts, balance: ExpertBalance, moe_tp: Any, moe_ep: Any, placed: Placed | None = None
    ) -> Self:
        """Return the form of one kernel; parameters as :func:`expert_layer_s`."""
        return cls(
            balance=balance,
            drawn=card.experts_per_token / card.routed_experts,
            held=card.routed_experts / moe_ep if placed is None else placed.slots,
            chosen=card.experts_per_token,
            expert_parameters=card.expert_parameters,
            hidden=card.hidden,
            moe_tp=moe_tp,
            moe_ep=moe_ep,
            imbalance=1.0 + balance.straggler * (moe_ep - 1.0) ** balance.growth if placed is None else placed.imbalance,
            weight_bytes_per_s=figures.weight_gbytes_per_s * 1e9,
            flops_per_s=figures.tflops * 1e12,
            activation_bytes_per_s=figures.activation_gbytes_per_s * 1e9,
            base_s=figures.base_us * 1e-6,
            floor_s=figures.floor_us * 1e-6,
            corner=figures.corner,
        )

    def seconds(self, tokens: Any, resident_tokens: Any = None) -> Any:
        """Return the time of one layer, elementwise; parameters as :func:`expert_layer_s`."""
        balance, drawn, parameters, moe_tp = self.balance, self.drawn, self.expert_parameters, self.moe_tp
        if balance.even:
            share = smaller(1.0, tokens * drawn)
        else:
            share = 1.0 - power(1.0 - drawn, balance.breadth * power(tokens, balance.evenness))
        weight_s = larger(share * self.held, 1.0) * parameters / moe_tp / self.weight_bytes_per_s
        flops = tokens * self.chosen / self.moe_ep * 2.0 * parameters / moe_tp * self.imbalance
        flops_s = flops / self.flops_per_s
        # The larger of the two is factored out, so that the power cannot underflow.
        high, low = larger(weight_s, flops_s), smaller(weight_s, flops_s)
        roofline_s = high * power(1.0 + power(low / high, self.corner), 1.0 / self.corner)
        resident = tokens if resident_tokens is None else resident_tokens
        moved_s = resident * self.chosen * self.hidden * 2.0 / self.activation_bytes_per_s
        return larger(self.floor_s, self.base_s + roofline_s + moved_s)


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
    return ExpertForm.of(card, figures, balance, moe_tp, moe_ep, placed).seconds(tokens, resident_tokens)
