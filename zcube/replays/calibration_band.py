"""What a calibration's intervals leave open of a replay: its figures and the time of every transfer, from least to most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from zcube.arrays import FloatArray
from zcube.outputs import flat

#: Figures of a replay that have a band, by the start of their keys.
BANDED = ("makespan_s", "throughput_gbps", "duration_s.", "slowdown.", "max_link_utilisation", "coflows.duration_s.",
          "trace.completion_s", "trace.waiting_for_network_s")  # fmt: skip


@dataclass(frozen=True, eq=False)
class CalibrationBand:
    """Least and most of a replay and of the same with other rounds of the calibration's bootstrap.

    Attributes
    ----------
    said : dict
        How it was made, or why there is none, JSON-ready.
    figures : dict of (float, float)
        By key of the replay's summary, joined by points.
    duration_s : float array [2, flows]
        Of every transfer, in the order of the replay's; no column where there is no band.
    finish_s : float array [2, operations]
        Of every operation of a trace.
    """

    said: dict[str, Any]
    figures: dict[str, tuple[float, float]]
    duration_s: FloatArray
    finish_s: FloatArray

    def document(self) -> dict[str, Any]:
        """Return it JSON-ready, without transfers and operations."""
        return {**self.said, "figures": {key: list(ends) for key, ends in self.figures.items()}}

    def columns(self, values: FloatArray, name: str) -> dict[str, np.ndarray]:
        """Return low and high as columns of a table; none without a band."""
        return {name.replace("_s", f"_{end}_s"): row for end, row in zip(("low", "high"), values, strict=True) if len(row)}


def figures_of(document: Mapping[str, Any]) -> dict[str, float]:
    """Return the figures of a replay's summary that have a band."""
    return {
        key: float(value)
        for key, value in flat(document).items()
        if key.startswith(BANDED) and isinstance(value, int | float) and not isinstance(value, bool)
    }


def widened(band: dict[str, tuple[float, float]], figures: Mapping[str, float]) -> dict[str, tuple[float, float]]:
    """Return a band that holds a run's figures too."""
    return {key: (min(low, figures[key]), max(high, figures[key])) for key, (low, high) in band.items() if key in figures}
