"""The one summary of many values, by its definition; ranks that have no NumPy take the same quantiles."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import zcube
from zcube.calibrate.measure.timing import quantile
from zcube.quantiles import QUANTILES, spread


def test_between_two_values_it_is_linear():
    assert spread([10.0, 0.0], maximum=True) == pytest.approx({"mean": 5, "p50": 5, "p80": 8, "p90": 9, "p99": 9.9, "max": 10})


def test_at_whole_places_it_is_a_value():
    assert spread(np.arange(101)) == {"mean": 50.0, "p50": 50.0, "p80": 80.0, "p90": 90.0, "p99": 99.0}


def test_values_that_are_not_finite_are_left_out():
    assert spread([1.0, np.nan, 3.0, np.inf]) == spread([3.0, 1.0])
    assert spread([np.nan], maximum=True) == dict.fromkeys(("mean", "p50", "p80", "p90", "p99", "max"))


@given(st.lists(st.floats(-1e9, 1e9), min_size=1, max_size=60))
def test_ranks_take_the_same_quantiles(values):
    found = spread(values)
    for name, fraction in QUANTILES.items():
        assert found[name] == pytest.approx(quantile(values, fraction), rel=1e-9, abs=1e-6)


def test_quantiles_and_the_gpus_of_a_node_are_defined_once():
    texts = {path.name: path.read_text() for path in Path(zcube.__file__).parent.rglob("*.py")}
    eights = re.compile(r"^[A-Z_]*PER_(NODE|SERVER) = 8\b|default=8, ge=1, le=256", re.MULTILINE)
    assert [name for name, text in texts.items() if eights.search(text)] == ["node.py"]
    summaries = re.compile(r"(quantile|percentile)\([^)\n]*(0\.99|\b99\b)")
    assert [name for name, text in texts.items() if summaries.search(text)] == []
