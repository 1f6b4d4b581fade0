"""The packet model on the funnel under lossless back-pressure and on an all-to-all; minutes.

Run ``python -m pytest verification -m slow``; ``python benchmarks/packet_funnel.py`` prints the funnel's table.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "benchmarks"))

from packet_funnel import CASES, IDEAL, crude_table, published_ratios, ratios

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_model import flow_model, run_flows
from zcube.network.packet.model import packet_model
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for

pytestmark = pytest.mark.slow
SEEDS, WITHIN = 10, 0.25


@pytest.fixture(scope="module")
def funnel():
    return dict(crude_table(SEEDS, transfers=1_500, warm_up=100))


@pytest.mark.parametrize("case", CASES[1:], ids=lambda case: case.title)
def test_quantiles_over_the_ideal_core_are_near_the_published_ones(funnel, case):
    found, _ = ratios(funnel[case], funnel[IDEAL])
    np.testing.assert_allclose(found, published_ratios(case.title), rtol=WITHIN)
    assert all(outcome.drops == 0 for outcome in funnel[case])


@pytest.mark.parametrize("quantile", [0, 1], ids=["p50", "p99"])
def test_fabrics_come_in_the_published_order(funnel, quantile):
    found = [ratios(funnel[case], funnel[IDEAL])[0][quantile] for case in CASES]
    core, one_pair, two_pairs, plain, skewed = found
    assert max(core, skewed) < plain < min(one_pair, two_pairs)
    assert skewed == pytest.approx(core, rel=0.1)


def test_an_all_to_all_has_a_tail_that_the_fluid_has_not():
    fabric = load_fabric("zcube-n16")
    routing = routing_for(fabric)
    source, target = (axis.ravel() for axis in np.indices((fabric.gpus, fabric.gpus)))
    pairs = source != target
    count = int(pairs.sum())
    flows = FlowTable(source[pairs], target[pairs], np.full(count, float(1 << 20)), np.zeros(count))
    away = fabric.server_of(flows.source) != fabric.server_of(flows.target)
    fluid = run_flows(flow_model(fabric, routing), flows).finish_s[away]
    model = packet_model(fabric, routing)
    begin = time.process_time()
    packets = run_flows(model, flows).finish_s[away]
    assert time.process_time() - begin < 90
    p50, p99 = np.quantile(packets, [0.5, 0.99])
    assert p99 > p50
    assert p50 == pytest.approx(np.median(fluid), rel=0.15)
    assert model.counts.drops == 0
