"""The published KV funnel at 45 % load, on shorter runs than ``verification/`` takes; see ``benchmarks/kv_funnel.py``.

Ten seeds of 1,500 transfers leave a standard error of at most 0.01 on a ratio of medians and 0.02 on a ratio of p99, against
the bound of 0.05.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from kv_funnel import PLAIN, PUBLISHED, ROFT_1, SKEWED, Case, Funnel, Published, measure

from zcube.fabric.catalog import load_fabric

WITHIN = 0.05
ROWS = [row for row in PUBLISHED if row.load == 0.45]


@pytest.fixture(scope="module")
def found():
    return measure(Funnel(0.45, transfers=1_500, warm_up=100), [row.case for row in ROWS], seeds=10)


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row.title)
def test_quantiles_over_the_ideal_core_are_the_published_ones(found, row: Published):
    p50, p99 = found[row.case].ratios
    assert found[row.case].standard_errors[0] < 0.02 and found[row.case].standard_errors[1] < 0.02
    assert p50 == pytest.approx(row.p50, abs=WITHIN)
    assert p99 == pytest.approx(row.p99, abs=WITHIN)


def test_skewed_rails_undo_the_collisions_of_plain_ones(found):
    assert found[PLAIN].ratios[0] > 1.1
    assert found[SKEWED].ratios[0] < 1.02


def test_two_queue_pairs_undo_most_collisions(found):
    assert found[ROFT_1].ratios[0] > 1.1
    assert found[Case("roft-1024", 2)].ratios[0] < 1.03


def test_the_funnel_is_as_described():
    fabric = load_fabric("zcube-n32")
    funnel = Funnel(0.45, transfers=40_000)
    flows = funnel.flows(fabric, seed=3)
    assert set(flows.source % 16) == {0}
    assert set(flows.target // 8 % 2) == {1} and set(flows.target % 8) == set(range(8))
    assert flows.size_bytes.mean() == pytest.approx(4.2e9, rel=0.02)
    assert np.log(flows.size_bytes).std() == pytest.approx(0.7, rel=0.02)
    offered_bps = flows.size_bytes.sum() * 8 / flows.start_s[-1]
    assert offered_bps / (64 * 400e9) == pytest.approx(0.45, rel=0.03)
