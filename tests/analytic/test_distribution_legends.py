"""Legends of distributions: what is told beside a curve is what the curve shows, and of which seed it is."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
import pytest

from zcube.report.distributions import TPOT, TTFT, plot_distribution
from zcube.report.results import Results


def results(seeds: int) -> Results:
    """Return two fabrics whose requests took 1, 2, ... 101 s, and whose means over the seeds are far from that."""
    taken_s = np.arange(1.0, 102.0)
    requests = pd.DataFrame({"ttft_s": taken_s[::-1], "tpot_s": taken_s / 1000, "counted": True})
    means = {"mean": 500.0, "p50": 500.0, "p80": 500.0, "p90": 500.0, "p99": 500.0}
    fabric = {"network": {"fidelity": "flow", "nic_gbps": None}, "ttft_s": means, "tpot_s": means}
    document: dict[str, Any] = {
        "seed": 7,
        "seeds": seeds,
        "baseline": "one",
        "fabrics": {"one": fabric, "other": fabric},
        "compute": {"model": "a model"},
        "requests": {"requests": 101, "duration_s": 10.0},
    }
    return Results(document, {"load": {"mode": "open"}}, {"one": requests, "other": requests}, {}, {})


@pytest.mark.parametrize(("seeds", "of"), [(1, ""), (3, ", seed 7")])
def test_a_legend_tells_the_drawn_curves_own_values(seeds: int, of: str) -> None:
    for latency, values in ((TTFT, "P50 51.0 s, P90 91.0 s, P99 100 s"), (TPOT, "P50 51.0 ms, P90 91.0 ms, P99 100 ms")):
        (axes,) = plot_distribution(results(seeds), latency).axes
        told = [text.get_text() for text in axes.get_legend().get_texts()]
        assert told == [f"one{of}: {values}", f"other{of}: {values}"]
