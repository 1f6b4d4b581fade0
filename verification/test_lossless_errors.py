"""The back-pressure fluid beside packets without congestion control, case by case; minutes.

Run ``python -m pytest verification -m slow``; ``python benchmarks/lossless_errors.py`` prints the table, DCQCN with it.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from lossless_errors import CASES, errors

from zcube.network.fluid_state import MAX_MIN

MEDIAN_WITHIN, P99_WITHIN, SEEDS = 0.15, 0.25, 2
#: Of the cases, those that take seconds.
QUICK = {"incasts, roft-256, 1 QP", "incasts, zcube-n16, 1 QP", "permutation, roft-256, 2 QP"}


@pytest.mark.parametrize(
    "case",
    [pytest.param(case, id=case.title, marks=() if case.title in QUICK else pytest.mark.slow) for case in CASES],
)
def test_quantiles_are_near_those_of_packets(case):
    median, p99 = abs(errors(case, "none", 0.0, SEEDS, None))
    assert median < MEDIAN_WITHIN
    assert p99 < P99_WITHIN


def test_the_plain_fluid_is_not():
    """What pauses do to a victim is what the plain fluid leaves out: its median is less than half of that of packets."""
    case = next(case for case in CASES if case.title == "incasts, roft-256, 1 QP")
    median, _ = errors(case, "none", MAX_MIN, SEEDS, None)
    assert median < -0.5
