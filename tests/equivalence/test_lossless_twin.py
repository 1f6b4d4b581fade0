"""The kernels of the back-pressure fluid against their plain twin: rates at an instant, and whole runs."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
from lossless_twin import lossless_rates
from oracle_max_min import Transfer, fair_rates, finish_times
from test_flow_oracle import Case, ListedPaths, link_set

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_model import FlowModel
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.seeds import stream


@pytest.mark.parametrize("isolation", [0.0, 0.6])
@pytest.mark.parametrize("seed", range(40))
def test_whole_runs_equal_the_twin(seed, isolation):
    case = Case(seed, subflows=2, delays=True)
    model = FlowModel(link_set(case.capacity, case.delay), ListedPaths(case.paths), isolation=isolation)
    model.send(case.table(np.arange(len(case.start))))
    model.advance(float("inf"))
    transfers = [
        Transfer(float(start), 8 * float(size), paths)
        for start, size, paths in zip(case.start, case.size_bytes, case.paths, strict=True)
    ]
    capacity, delay = ({link: float(value) for link, value in enumerate(values)} for values in (case.capacity, case.delay))
    expected = finish_times(capacity, delay, transfers, True, partial(lossless_rates, isolation=isolation))
    # Where levels do not settle, the turns that are taken carry rounding on.
    np.testing.assert_allclose(model.completions().finish_s, expected, rtol=1e-5)


@pytest.mark.parametrize(("name", "policy"), [("zcube-n16", "zcube-paths"), ("roft-256", "ecmp")])
def test_rates_on_a_real_fabric_equal_the_twin(name, policy):
    fabric = load_fabric(name)
    rng = stream(3, name)
    source, target = rng.integers(0, 256, 60), rng.integers(0, 24, 60)
    source, target = source[source != target], target[source != target]
    routing = routing_for(fabric, policy, queue_pairs=2, seed=1)
    model = FlowModel(LinkSet.of_fabric(fabric), routing, isolation=0.0)
    model.send(FlowTable(source, target, np.full(len(source), 1e12), np.zeros(len(source))))
    model.advance(1e-4)
    routes = routing.routes(source, target)
    paths = {s: routes.link[routes.first_hop[s] : routes.first_hop[s + 1]].tolist() for s in range(len(routes.share))}
    capacity = {link: float(fabric.link_capacity_bps[link]) for path in paths.values() for link in path}
    rate = lossless_rates(capacity, paths)
    first = routes.first_subflow
    expected = [sum(rate[s] for s in range(first[f], first[f + 1])) for f in range(len(source))]
    np.testing.assert_allclose(model.rates_bps(), expected, rtol=1e-6)


def test_the_twin_knows_the_victim_of_an_incast():
    """Three senders into one receiver of rate 1, one of them with a second path to an idle one: all get a third."""
    paths = {"a": "xr", "b": "yr", "c": "zr", "victim": "zv"}
    capacity = dict.fromkeys("xyzrv", 1.0)
    assert lossless_rates(capacity, paths) == pytest.approx(dict.fromkeys(paths, 1 / 3), rel=1e-3)
    assert lossless_rates(capacity, paths, isolation=1.0) == pytest.approx(fair_rates(capacity, paths))
