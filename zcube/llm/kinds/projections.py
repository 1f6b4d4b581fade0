"""Projections of a layer whose attention was measured by its kernels alone: dense products of fp8 weights.

::

    t = kernels * base + max(parameters / memory rate, 2 * parameters * tokens / FLOP rate)

with the efficiencies fitted to measured products (``gemm``), and the time in which rotation, norms and the cache's writes read
and write queries, keys and values once, at the device's rate of kernels that only move bytes.
"""

from __future__ import annotations

from dataclasses import dataclass

from zcube.llm.devices import Device
from zcube.llm.kinds.efficiencies import GemmEfficiency

_BF16 = 2


@dataclass(frozen=True, slots=True)
class Projections:
    """The projections of one layer on one GPU.

    Attributes
    ----------
    parameters : int
        Weights on the GPU.
    kernels : int
        Products they are computed in.
    values : int
        Values that a token's queries, keys and values have there.
    """

    parameters: int
    kernels: int
    values: int
    base_s: float
    weight_s: float
    token_s: float
    around_base_s: float
    around_token_s: float

    @classmethod
    def of(cls, device: Device, gemm: GemmEfficiency, parameters: int, kernels: int, values: int) -> Projections:
        """Build from a device's efficiencies."""
        peak = device.peak
        return cls(
            parameters=parameters,
            kernels=kernels,
            values=values,
            base_s=kernels * gemm.base_us * 1e-6,
            weight_s=parameters / (gemm.memory_share * peak.memory_gbytes_per_s * 1e9),
            token_s=2.0 * parameters / (gemm.peak_share * peak.fp8_tflops * 1e12),
            around_base_s=device.memory.seconds(0.0),
            around_token_s=device.memory.seconds(2.0 * _BF16 * values) - device.memory.seconds(0.0),
        )

    def seconds(self, tokens: float) -> float:
        """Return the time for some tokens on the GPU."""
        products_s = self.base_s + max(self.weight_s, tokens * self.token_s)
        return products_s + self.around_base_s + tokens * self.around_token_s
