"""A kind of layer whose time is its roofline's, scaled everywhere by ``measured / roofline``.

The ratio of a kind that was measured whole scales the block; of one that was measured by its kernels alone it scales those,
and the projections stay. In decode the ratio of a GPU is taken at the mean of its contexts.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.llm.kinds.layer import AttentionTime, LayerKind


class Scaled:
    """Layers of a kind that was measured.

    Parameters
    ----------
    kind : LayerKind
        The roofline.
    prefill_ratio : callable
        ``(new_tokens, prefix_tokens)`` of a node's pieces to the ratio.
    decode_ratio : callable
        ``(requests, context)`` of a GPU to the ratio; ``context`` may be an array. Either is 1 if left out.
    """

    def __init__(
        self, kind: LayerKind, prefill_ratio: Callable[[Sequence[int], Sequence[int]], float] = lambda new, prefix: 1.0,
        decode_ratio: Callable[[int, Any], Any] = lambda requests, context: 1.0,
    ):  # fmt: skip
        self._kind, self._prefill_ratio, self._decode_ratio = kind, prefill_ratio, decode_ratio
        self.name, self.layers, self.attended_tokens, self.rates = kind.name, kind.layers, kind.attended_tokens, kind.rates

    def prefill(self, new_tokens: Sequence[int], prefix_tokens: Sequence[int]) -> AttentionTime:
        """Return one layer's time in an iteration of a node."""
        total_s, projection_s, indexer_s = self._kind.prefill(new_tokens, prefix_tokens)
        ratio = self._prefill_ratio(new_tokens, prefix_tokens)
        if self._kind.is_kernel:
            return AttentionTime(projection_s + (total_s - projection_s) * ratio, projection_s, indexer_s)
        return AttentionTime(total_s * ratio, projection_s * ratio, indexer_s * ratio)

    def piece_s(self, new_tokens: int, prefix_tokens: int) -> float:
        """Return the whole of one layer's time in an iteration of one piece."""
        return self.prefill([new_tokens], [prefix_tokens]).total_s

    @property
    def is_kernel(self) -> bool:
        """Whether its projections are beside what was measured."""
        return self._kind.is_kernel

    def fixed_s(self, requests: int) -> float:
        """Return what one layer takes in a decode step whatever the contexts, before it is scaled."""
        return self._kind.fixed_s(requests)

    def projection_s(self, tokens: float) -> float:
        """Return the time beside what was measured, in a decode step."""
        return self._kind.projection_s(tokens)

    def steps_s(self, contexts: IntArray, fixed_s: tuple[float, float], ranks: int, steps: int) -> FloatArray:
        """Return one layer's time in each of the next steps, on the slowest GPU."""
        fuller, grown, seconds = len(contexts) % ranks or ranks, np.arange(steps, dtype=np.float64), np.zeros(steps)
        for rank in range(ranks):
            own = np.ascontiguousarray(contexts[rank::ranks])
            base_s, beside_s = fixed_s[0] if rank < fuller else fixed_s[1], self.projection_s(len(own))
            gpu_s = self._kind.steps_s(own, (base_s - beside_s, base_s - beside_s), 1, steps)
            if gpu_s[0] < 0.0:
                return gpu_s
            gpu_s *= self._decode_ratio(len(own), grown + int(own.sum()) / len(own))
            np.maximum(seconds, gpu_s + beside_s, out=seconds)
        return seconds

    def step_s(self, contexts: Sequence[int], query_tokens: int) -> float:
        """Return one layer's time in one step; tokens verified at once count as requests, as in the roofline."""
        queries = len(contexts) * query_tokens
        beside_s = self.projection_s(queries)
        ratio = float(self._decode_ratio(queries, sum(contexts) / len(contexts)))
        return (self._kind.step_s(contexts, query_tokens) - beside_s) * ratio + beside_s
