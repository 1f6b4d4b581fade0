"""Weights, caps, changing capacities, bins of time and the time quantum, against plain Python or arithmetic."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.network.flow_model import FlowModel
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.routes import assemble
from zcube.seeds import stream

CASES = 150


class ListedPaths:
    """Routing that gives flow i (source i) the listed path i."""

    name = "listed"

    def __init__(self, paths):
        self.paths = paths

    def routes(self, source, target):
        rows = np.full((len(source), max(len(path) for path in self.paths)), -1)
        for row, flow in enumerate(source):
            rows[row, : len(self.paths[flow])] = self.paths[flow]
        return assemble(np.ones(len(source), dtype=int), rows)


def network(capacity_bps, paths, **keys):
    links = len(capacity_bps)
    no = np.zeros(links, dtype=bool)
    names = [f"link{link}" for link in range(links)]
    return FlowModel(
        LinkSet(names, names, ["switch"] * links, np.array(capacity_bps, float), np.zeros(links), no, no),
        ListedPaths(paths),
        **keys,
    )


def fair(capacity, paths, weight, cap):
    """Weighted max-min with caps, written from its definition: all levels rise together until a link or cap stops them."""
    rate, rising = {}, set(paths)
    while rising:
        stops = [(cap[flow] / weight[flow], [flow]) for flow in rising if cap[flow] < np.inf]
        for link, limit in capacity.items():
            on = [flow for flow in rising if link in paths[flow]]
            if on:
                left = limit - sum(rate[flow] for flow in rate if link in paths[flow])
                stops.append((max(left, 0.0) / sum(weight[flow] for flow in on), on))
        level, stopped = min(stops, key=lambda stop: stop[0])
        for flow in stopped:
            rate[flow] = level * weight[flow]
            rising.discard(flow)
    return rate


def finishes(capacity_at, paths, bits, start, weight, cap):
    """Finish times under capacities that change at given times: [(time, {link: capacity}), ...], the first at 0."""
    left, finish, active, now = dict(enumerate(bits)), {}, set(), 0.0
    waiting = set(range(len(bits)))
    changes = sorted(capacity_at, key=lambda change: change[0])
    capacity = {}
    while waiting or active:
        while changes and changes[0][0] <= now:
            capacity = {**capacity, **changes.pop(0)[1]}
        active |= {flow for flow in waiting if start[flow] <= now}
        waiting -= active
        rate = fair(capacity, {flow: paths[flow] for flow in active}, weight, cap)
        ends = {flow: now + left[flow] / rate[flow] for flow in active if rate[flow] > 0}
        then = min([*ends.values(), *(start[flow] for flow in waiting), *(change[0] for change in changes)])
        for flow in active:
            left[flow] -= rate[flow] * (then - now)
        for flow in [flow for flow, end in ends.items() if end == then]:
            finish[flow] = then
            active.remove(flow)
        now = then
    return np.array([finish[flow] for flow in range(len(bits))])


def draw(seed, changing=False):
    rng = stream(seed, "features")
    links, flows = int(rng.integers(2, 7)), int(rng.integers(2, 12))
    capacity = rng.integers(1, 12, links).astype(float)
    paths = [list(rng.choice(links, int(rng.integers(1, min(links, 4) + 1)), replace=False)) for _ in range(flows)]
    bits, start = rng.integers(8, 80, flows).astype(float), rng.integers(0, 6, flows).astype(float)
    weight = rng.choice([0.5, 1.0, 2.0, 3.0], flows)
    cap = np.where(rng.random(flows) < 0.4, rng.choice([0.3, 1.0, 2.5], flows), np.inf)
    changes = [(0.0, dict(enumerate(capacity)))]
    if changing:
        for time_s in sorted(rng.choice(np.arange(1, 40), 4, replace=False) / 2):
            link = int(rng.integers(links))
            changes.append((float(time_s), {link: float(rng.choice([0.0, 0.5, 4.0, 20.0]))}))
        changes.append((30.0, dict.fromkeys(range(links), 5.0)))
    return capacity, paths, bits, start, weight, cap, changes


@pytest.mark.parametrize("changing", [False, True])
def test_weights_caps_and_capacity_changes_equal_plain_python(changing):
    for seed in range(CASES):
        capacity, paths, bits, start, weight, cap, changes = draw(seed, changing)
        model = network(capacity, paths)
        flow = np.arange(len(bits))
        model.send(FlowTable(flow, flow, bits / 8, start, cap_bps=cap, weight=weight))
        for time_s, links in changes[1:]:
            model.change_capacity(np.array(list(links)), np.array(list(links.values())), time_s)
        model.advance(float("inf"))
        expected = finishes(changes, paths, bits, start, weight, cap)
        np.testing.assert_allclose(model.completions().finish_s, expected, rtol=1e-9, err_msg=f"seed {seed}")


def test_bytes_are_conserved_and_bins_add_up_through_changes():
    for seed in range(40):
        capacity, paths, bits, start, weight, cap, changes = draw(seed, changing=True)
        model = network(capacity, paths, bin_s=0.7)
        flow = np.arange(len(bits))
        model.send(FlowTable(flow, flow, bits / 8, start, cap_bps=cap, weight=weight))
        for time_s, links in changes[1:]:
            model.change_capacity(np.array(list(links)), np.array(list(links.values())), time_s)
        model.advance(float("inf"))
        carried = np.zeros(len(capacity))
        for path, size in zip(paths, bits / 8, strict=True):
            carried[path] += size
        table = model.link_table()
        np.testing.assert_allclose(table.size_bytes, carried, rtol=1e-12)
        bins = model.binned_bytes()
        np.testing.assert_allclose(bins.sum(axis=0), carried, rtol=1e-9)
        most = max([20.0, *capacity])
        assert bins.max() <= most * 0.7 / 8 * (1 + 1e-9)


def test_a_failure_stops_a_flow_and_a_repair_lets_it_end():
    model = network([8.0], [[0]])
    model.send(FlowTable(np.array([0]), np.array([0]), np.array([10.0]), np.array([0.0])))
    model.change_capacity(np.array([0]), np.array([0.0]), 4.0)
    assert model.next_event_s() == float("inf")
    model.change_capacity(np.array([0]), np.array([4.0]), 7.0)
    model.advance(float("inf"))
    # 4 s at 8 b/s leave 48 bits, which take 12 s at 4 b/s.
    assert model.completions().finish_s[0] == pytest.approx(19.0)


def test_bound_link_and_mean_rate():
    # Flow 0 is bounded by link 1 (4 b/s) while flow 1 runs, then by link 0 alone for less time.
    model = network([8.0, 4.0], [[0, 1], [1]])
    flow = np.arange(2)
    model.send(FlowTable(flow, flow, np.array([10.0, 2.0]), np.zeros(2)))
    model.advance(float("inf"))
    outcome = model.completions()
    assert list(outcome.bound_link) == [1, 1]
    np.testing.assert_allclose(outcome.mean_rate_bps, [80 / outcome.finish_s[0], 2.0])


def test_quantum_is_exact_at_zero_and_its_error_is_bounded_by_the_changes_it_delays():
    rng = stream(1, "quantum")
    flows, links = 400, 12
    paths = [list(rng.choice(links, 3, replace=False)) for _ in range(flows)]
    bits, start = rng.lognormal(3, 1, flows), np.sort(rng.uniform(0, 200, flows))
    flow = np.arange(flows)

    def run(quantum_s):
        model = network(np.full(links, 10.0), paths, quantum_s=quantum_s)
        model.send(FlowTable(flow, flow, bits / 8, start))
        model.advance(float("inf"))
        return model.completions().finish_s, model.events

    exact, events = run(0.0)
    tiny, _ = run(1e-13)
    np.testing.assert_allclose(tiny, exact, rtol=1e-12)
    coarse, fewer = run(0.05)
    assert fewer < events
    assert np.isfinite(coarse).all()
    assert np.max(np.abs(coarse - exact)) < 0.05 * 40


@pytest.mark.parametrize(
    ("column", "value", "words"),
    [
        ("size_bytes", [np.nan], "sizes"),
        ("size_bytes", [0.0], "sizes"),
        ("size_bytes", [-1.0], "sizes"),
        ("start_s", [np.inf], "start"),
        ("cap_bps", [0.0], "caps"),
        ("weight", [0.0], "weights"),
        ("weight", [1.0, 2.0], "entries"),
    ],
)
def test_impossible_transfers_are_refused(column, value, words):
    table = {"source": np.array([0]), "target": np.array([0]), "size_bytes": np.array([1.0]), "start_s": np.array([0.0])}
    with pytest.raises(ValueError, match=words):
        network([1.0], [[0]]).send(FlowTable(**{**table, column: np.array(value)}))
