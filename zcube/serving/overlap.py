"""What a layer takes whose exchanges run beside its computation, as DeepSeek's published profile orders the two.

Two microbatches take turns (deepseek-ai/profile-data, assets/prefill.jpg and decode.jpg)::

    prefill   attention 1, shared 0 | combine 0;  attention 0 | dispatch 1;
              experts 1 | dispatch 0;  experts 0, shared 1 | combine 1
    decode    twice:  shared, first half of attention | dispatch;  experts;  second half of attention | combine

Of every pair the longer one counts. Cutting attention in halves is inferred. The SMs that communication takes in prefill are
missing to the computation beside it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Stages:
    """Computation of layers with experts, by what exchanges can run beside; all layers together, seconds.

    Attributes
    ----------
    phase : {"prefill", "decode"}
        Which order.
    attention_s, experts_s, shared_s : float
        Of both microbatches.
    rest_s : float
        What runs beside nothing.
    dispatch_share : float
        Part of the exchanges' time that is dispatch.
    """

    phase: Literal["prefill", "decode"]
    attention_s: float
    experts_s: float
    shared_s: float
    rest_s: float
    dispatch_share: float

    def part(self, share: float) -> Stages:
        """Return the stages of a part of the layers."""
        return Stages(
            self.phase,
            share * self.attention_s,
            share * self.experts_s,
            share * self.shared_s,
            share * self.rest_s,
            self.dispatch_share,
        )

    def seconds(self, exchange_s: float) -> float:
        """Return what the layers take when all dispatches and combines, one after the other, take so long."""
        # Of one microbatch; sums over layers alike, so that the longer of two sums is the sum of the longer.
        attention_s, experts_s, shared_s = self.attention_s / 2, self.experts_s / 2, self.shared_s / 2
        dispatch_s = exchange_s * self.dispatch_share / 2
        combine_s = exchange_s / 2 - dispatch_s
        if self.phase == "prefill":
            beside_attention_s = max(attention_s + shared_s, combine_s) + max(attention_s, dispatch_s)
            return self.rest_s + beside_attention_s + max(experts_s, dispatch_s) + max(experts_s + shared_s, combine_s)
        half_s = attention_s / 2
        return self.rest_s + 2 * (max(shared_s + half_s, dispatch_s) + experts_s + max(half_s, combine_s))


def stages_of(
    phase: Literal["prefill", "decode"], layers: int, layer_s: tuple[float, float, float], compute_s: float,
    dispatch_share: float, sm_share: float = 0.0,
) -> Stages:  # fmt: skip
    """Return the stages of an iteration or of steps.

    Parameters
    ----------
    phase : {"prefill", "decode"}
        Which order.
    layers : int
        Layers with experts.
    layer_s : tuple of float
        Attention, routed experts, and the rest of such a layer, both microbatches.
    compute_s : float
        All computation; what the layers leave of it runs beside nothing.
    dispatch_share : float
        Part of the exchanges' time that is dispatch.
    sm_share : float
        SMs that exchanges take, as a part of all.
    """
    slower = 1.0 / (1.0 - sm_share)
    attention_s, experts_s, shared_s = (layers * one for one in layer_s)
    rest_s = max(0.0, compute_s - attention_s - experts_s - shared_s)
    return Stages(phase, slower * attention_s, slower * experts_s, slower * shared_s, rest_s, dispatch_share)
