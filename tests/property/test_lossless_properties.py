"""Laws of the back-pressure fluid on every link graph, and what holds of totals on fabrics."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from test_flow_properties import QUICK, SPLITS, Traffic, traffic

from zcube.fabric.catalog import load_fabric
from zcube.network.back_pressure import LEVEL_TOLERANCE
from zcube.network.flow_model import FlowModel, ideal_model, run_flows
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream

ISOLATIONS = st.sampled_from([0.0, 0.3, 0.9])


def pressed(case: Traffic, isolation: float, split="pooled") -> FlowModel:
    return FlowModel(case.model().link_set, case, split, isolation=isolation)


@QUICK
@given(traffic(), ISOLATIONS, SPLITS)
def test_all_bytes_arrive_and_no_link_carries_more_than_it_can(case, isolation, split):
    model = pressed(case, isolation, split)
    model.send(case.table())
    now_s, carried = 0.0, np.zeros(len(case.capacity_bps))
    capacity = np.array(case.capacity_bps)
    while np.isfinite(then_s := model.next_event_s()):
        model.advance(then_s)
        bits = model.link_table().size_bytes * 8
        assert np.all(bits - carried <= capacity * (then_s - now_s) * (1 + 1e-9) + 1e-6)
        now_s, carried = then_s, bits
    assert np.all(np.isfinite(model.completions().finish_s))
    if split == "fixed" or all(len(paths) == 1 for paths in case.paths):
        expected = np.zeros(len(capacity))
        for paths, size in zip(case.paths, case.size_bytes):
            for path in paths:
                expected[list(path)] += size / len(paths)
        np.testing.assert_allclose(carried / 8, expected, rtol=1e-9)


@QUICK
@given(traffic(), ISOLATIONS)
def test_rates_at_an_instant_are_the_stated_mean_of_pauses_and_max_min(case, isolation):
    flow = np.arange(case.flows)
    table = FlowTable(flow, flow, np.full(case.flows, 1e6), np.zeros(case.flows))
    found = {}
    for part in (0.0, isolation, 1.0):
        model = pressed(case, part)
        model.send(table)
        model.advance(1e-3)
        found[part] = model.rates_bps()
    np.testing.assert_allclose(found[isolation], isolation * found[1.0] + (1 - isolation) * found[0.0], rtol=1e-3)


@QUICK
@given(traffic(), ISOLATIONS, st.lists(st.floats(0.0, 40.0), max_size=4))
def test_looking_at_it_changes_nothing(case, isolation, moments):
    at_once, in_steps = pressed(case, isolation), pressed(case, isolation)
    expected = run_flows(at_once, case.table()).finish_s
    in_steps.send(case.table())
    for moment in sorted(moments):
        in_steps.advance(moment)
    in_steps.advance(float("inf"))
    # A stop parts what starts within a picosecond of it, which goes together else: levels are then found from others, each time
    # to their tolerance. Without that, sums may come in another order.
    starts = np.array(case.start_s)
    near = [starts[abs(starts - moment) <= 1e-12] - moment for moment in moments]
    parted = any((later > 0).any() and (later <= 0).any() for later in near)
    np.testing.assert_allclose(in_steps.completions().finish_s, expected, rtol=LEVEL_TOLERANCE if parted else 1e-9)


@QUICK
@given(traffic(most_paths=1))
def test_alone_or_isolated_it_is_the_plain_fluid(case):
    plain = run_flows(case.model(), case.table()).finish_s
    assert run_flows(pressed(case, 1.0), case.table()).finish_s.tolist() == plain.tolist()
    for flow in range(case.flows):
        table = FlowTable(np.array([flow]), np.array([flow]), np.array([case.size_bytes[flow]]), np.zeros(1))
        alone = run_flows(pressed(case, 0.0), table).finish_s
        np.testing.assert_allclose(alone, run_flows(case.model(), table).finish_s, rtol=2e-3)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("fabric", ["roft-256", "zcube-n16", "zcube-256"])
def test_totals_are_ordered_on_fabrics(fabric, seed):
    """Ideal, plain, and ever less isolation: the total time of random transfers never falls. On every network it need not."""
    built, rng = load_fabric(fabric), stream(seed, "lossless totals")
    source, target = rng.integers(0, built.gpus, (2, 300))
    kept = built.server_of(source) != built.server_of(target)
    size, start_s = rng.lognormal(18.0, 0.7, 300)[kept], np.cumsum(rng.exponential(3e-5, 300))[kept]
    table = FlowTable(source[kept], target[kept], size, start_s)
    routing, links = routing_for(built, queue_pairs=1, seed=seed), LinkSet.of_fabric(built)
    models = [ideal_model(built), *(FlowModel(links, routing, isolation=part) for part in (1.0, 0.75, 0.5, 0.25, 0.0))]
    totals = [float((run_flows(model, table).finish_s - start_s).sum()) for model in models]
    assert all(before <= after * (1 + 1e-3) for before, after in pairwise(totals)), totals
