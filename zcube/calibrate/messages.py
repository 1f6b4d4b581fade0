"""Messages of a run that a calibration times, and how long they take alone by it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from zcube.arrays import FloatArray, IntArray
from zcube.calibrate.apply import AppliedCalibration
from zcube.fabric.measured import NO_START, MessageStart
from zcube.fabric.model import Fabric


class Sizes(NamedTuple):
    """Different sizes and how many messages have each."""

    size_bytes: FloatArray
    messages: FloatArray

    @classmethod
    def of(cls, size_bytes: FloatArray) -> Sizes:
        """Return those of messages."""
        sizes, count = np.unique(size_bytes, return_counts=True)
        return cls(sizes, count.astype(np.float64))


@dataclass(frozen=True, eq=False)
class CalibratedMessages:
    """Messages by what carries them.

    Attributes
    ----------
    nvlink, nic : Sizes
        Transfers inside servers and between them.
    operations : tuple of (str, int, int, Sizes)
        Whole collectives: name, ranks, servers, bytes that a rank puts in.
    nvlink_gbps, nic_gbps : float
        A GPU's rates where the calibration has none; with one, ``nic_gbps`` is what its efficiency is part of.
    """

    nvlink: Sizes
    nic: Sizes
    operations: tuple[tuple[str, int, int, Sizes], ...]
    nvlink_gbps: float
    nic_gbps: float

    @classmethod
    def of(
        cls,
        fabric: Fabric,
        source: IntArray,
        target: IntArray,
        size_bytes: FloatArray,
        operations: Sequence[tuple[str, int, int, Sizes]] = (),
    ) -> CalibratedMessages:
        """Return transfers on a fabric without measured links, and whole collectives."""
        inside = fabric.server_of(source) == fabric.server_of(target)
        rates = fabric.cables.gbps
        nvlink_gbps = float(rates[fabric.nvlink_cable].max(initial=1.0))
        nic_gbps = float(rates[fabric.nic_cable].sum(axis=1).max())
        return cls(Sizes.of(size_bytes[inside]), Sizes.of(size_bytes[~inside]), tuple(operations), nvlink_gbps, nic_gbps)

    def seconds(self, measured: AppliedCalibration) -> float:
        """Return what all of them take alone, one after the other, by a calibration."""
        nic_gbps = self.nic_gbps * (measured.nic_efficiency or 1.0)
        total = _sum_s(self.nvlink, measured.nvlink_start, measured.nvlink_gbps or self.nvlink_gbps)
        total += _sum_s(self.nic, measured.nic_start, nic_gbps)
        for name, ranks, hosts, sizes in self.operations:
            seconds = measured.operation_s(name, ranks, sizes.size_bytes, hosts)
            total += 0.0 if seconds is None else float(seconds @ sizes.messages)
        return total


def _sum_s(sizes: Sizes, start: MessageStart | None, gbps: float) -> float:
    if not len(sizes.messages):
        return 0.0
    seconds = (start or NO_START).of(sizes.size_bytes) + sizes.size_bytes * 8e-9 / gbps
    return float(seconds @ sizes.messages)
