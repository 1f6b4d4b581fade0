"""Kernels around a layer's attention and feed-forward blocks, bound by memory: norms, router, sum of both kinds of experts.

Each takes its device's time of a kernel and of the bytes it moves, hidden states in bf16:

* two norms, each with the residual: two hidden states of a token read, two written
* router: hidden states and weights read; its choice: a float32 logit of every expert read. At data-sheet rates its arithmetic
  takes no longer than that.
* sum of shared and routed experts: two hidden states read, one written; where the fused kernel computes the shared expert
  too, there is none.
"""

from __future__ import annotations

from zcube.llm.cards import ModelCard
from zcube.llm.devices import ExpertKernel, Line

_BF16, _FP32 = 2, 4


def norms_s(card: ModelCard, memory: Line, tokens: float) -> float:
    """Return the time of a layer's two norms, for the tokens of one GPU."""
    return 2 * memory.seconds(4 * _BF16 * card.hidden * tokens)


def around_experts_s(card: ModelCard, memory: Line, kernel: ExpertKernel, tokens: float, routed_tokens: float) -> float:
    """Return the time of norms, router and sum in a layer with experts.

    Parameters
    ----------
    card : ModelCard
        The model.
    memory : Line
        Time of a kernel that only moves bytes.
    kernel : ExpertKernel
        What computes the routed experts.
    tokens, routed_tokens : float
        Tokens that one GPU holds, and tokens for which it chooses experts.
    """
    scores_s = memory.seconds(_BF16 * card.hidden * (routed_tokens + card.routed_experts))
    choice_s = memory.seconds(_FP32 * card.routed_experts * routed_tokens)
    is_summed = kernel != "fused" and card.shared_experts > 0
    sum_s = memory.seconds(3 * _BF16 * card.hidden * tokens) if is_summed else 0.0
    return norms_s(card, memory, tokens) + scores_s + choice_s + sum_s
