"""The fast fluid against the plain oracle on random link graphs, all at once and driven in steps."""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from oracle_max_min import Transfer, fair_rates, finish_times

from zcube.fabric.catalog import load_fabric
from zcube.network.flow_model import FlowModel, PathSplit, flow_model
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routes, assemble
from zcube.seeds import stream

CASES = 100


class ListedPaths:
    """A routing in which transfer ``source[i]`` has the paths listed for it."""

    name = "listed"

    def __init__(self, paths: list[list[list[int]]]):
        self.paths = paths

    def routes(self, source: np.ndarray, target: np.ndarray) -> Routes:
        rows = [path for flow in source for path in self.paths[flow]]
        hops = np.full((len(rows), max(len(row) for row in rows)), -1)
        for number, row in enumerate(rows):
            hops[number, : len(row)] = row
        return assemble(np.array([len(self.paths[flow]) for flow in source]), hops)


def link_set(capacity_bps: list[int], delay_s: list[float]) -> LinkSet:
    links = len(capacity_bps)
    names = [str(link) for link in range(links)]
    inner = np.zeros(links, dtype=bool)
    rates = np.array(capacity_bps, dtype=float)
    return LinkSet(names, names, ["switch"] * links, rates, np.array(delay_s), inner, inner)


class Case:
    """A random link graph with transfers on it; sizes, rates and starts are small integers, so that ties happen."""

    def __init__(self, seed: int, subflows: int, delays: bool):
        rng = stream(seed, "oracle")
        links = int(rng.integers(1, 7))
        flows = int(rng.integers(1, 10))
        self.capacity = rng.integers(1, 9, links).tolist()
        self.delay = (rng.integers(0, 4, links) / 8).tolist() if delays else [0.0] * links
        self.paths = [
            [
                rng.permutation(links)[: rng.integers(1, min(links, 4) + 1)].tolist()
                for _ in range(rng.integers(1, subflows + 1))
            ]
            for _ in range(flows)
        ]
        self.size_bytes = rng.integers(1, 10, flows).astype(float)
        self.start = rng.integers(0, 6, flows).astype(float)

    def oracle(self, split: PathSplit) -> np.ndarray:
        transfers = [
            Transfer(Fraction(start), 8 * Fraction(size), paths)
            for start, size, paths in zip(self.start, self.size_bytes, self.paths, strict=True)
        ]
        capacity = {link: Fraction(value) for link, value in enumerate(self.capacity)}
        delay = {link: Fraction(value) for link, value in enumerate(self.delay)}
        return np.array([float(moment) for moment in finish_times(capacity, delay, transfers, split == "pooled")])

    def model(self, split: PathSplit) -> FlowModel:
        return FlowModel(link_set(self.capacity, self.delay), ListedPaths(self.paths), split)

    def table(self, chosen: np.ndarray) -> FlowTable:
        return FlowTable(chosen, chosen, self.size_bytes[chosen], self.start[chosen])


@pytest.mark.parametrize("split", ["pooled", "fixed"])
@pytest.mark.parametrize(("subflows", "delays"), [(1, False), (1, True), (3, False), (3, True)])
def test_all_at_once_equals_the_oracle(split: PathSplit, subflows: int, delays: bool) -> None:
    for seed in range(CASES):
        case = Case(seed, subflows, delays)
        model = case.model(split)
        model.send(case.table(np.arange(len(case.start))))
        completed = model.advance(float("inf"))
        finish = model.completions().finish_s
        np.testing.assert_allclose(finish, case.oracle(split), rtol=1e-9, atol=0, err_msg=f"seed {seed}")
        np.testing.assert_array_equal(np.sort(completed), np.arange(len(finish)))
        assert np.all(np.diff(finish[completed]) >= 0)
        assert model.next_event_s() == float("inf")


@pytest.mark.parametrize("split", ["pooled", "fixed"])
def test_batches_and_arbitrary_steps_change_nothing(split: PathSplit) -> None:
    """Transfers sent in batches as their time comes, the clock moved in steps that do not match events."""
    for seed in range(CASES):
        case = Case(seed, subflows=3, delays=True)
        rng = stream(seed, "steps")
        order = np.argsort(case.start, kind="stable")
        model = case.model(split)
        number: dict[int, int] = {}
        completed: list[int] = []
        now, at = 0.0, 0
        while at < len(order) or np.isfinite(model.next_event_s()):
            due = at
            lead = float(rng.uniform(0, 3))
            while due < len(order) and case.start[order[due]] <= now + lead:
                due += 1
            if due > at:
                for sent, flow in zip(model.send(case.table(order[at:due])), order[at:due], strict=True):
                    number[int(flow)] = int(sent)
                at = due
            latest = case.start[order[at]] if at < len(order) else np.inf
            step = float(rng.choice([0.0, 0.1, 1.7])) if rng.random() < 0.7 else model.next_event_s() - now
            # One event at a time is a step like any other, but no step may pass the next unsent start.
            to_s = min(now + step, latest)
            assert model.next_event_s() >= now
            ended = model.advance(to_s).tolist()
            assert all(now <= model.completions().finish_s[flow] <= to_s for flow in ended)
            completed += ended
            now = to_s
        assert sorted(completed) == list(range(len(order)))
        finish = model.completions().finish_s[[number[flow] for flow in range(len(order))]]
        np.testing.assert_allclose(finish, case.oracle(split), rtol=1e-9, err_msg=f"seed {seed}")


@pytest.mark.parametrize(
    ("name", "policy"), [("zcube-n16", "zcube-paths"), ("zcube-256", "shortest-path"), ("roft-256", "ecmp")]
)
def test_rates_on_a_real_fabric_equal_the_oracle(name: str, policy: str) -> None:
    """Rates of sixty simultaneous transfers that all meet in a few servers."""
    fabric = load_fabric(name)
    rng = stream(3, name)
    source, target = rng.integers(0, 256, 60), rng.integers(0, 24, 60)
    keep = source != target
    source, target = source[keep], target[keep]
    routing = routing_for(fabric, policy, queue_pairs=2, seed=1)
    model = flow_model(fabric, routing)
    model.send(FlowTable(source, target, np.full(len(source), 1e12), np.zeros(len(source))))
    model.advance(1e-4)
    routes = routing.routes(source, target)
    paths = {s: routes.link[routes.first_hop[s] : routes.first_hop[s + 1]].tolist() for s in range(len(routes.share))}
    used = sorted({link for path in paths.values() for link in path})
    rate = fair_rates({link: Fraction(int(fabric.link_capacity_bps[link])) for link in used}, paths)
    first = routes.first_subflow
    expected = [float(sum(rate[s] for s in range(first[f], first[f + 1]))) for f in range(len(source))]
    np.testing.assert_allclose(model.rates_bps(), expected, rtol=1e-9)


def test_the_oracle_knows_the_textbook_example() -> None:
    """Two links of 1 and 2: one path over both, one over each; 1/2, 1/2 and 3/2 (worked by hand)."""
    rate = fair_rates({"x": Fraction(1), "y": Fraction(2)}, {"both": ["x", "y"], "x": ["x"], "y": ["y"]})
    assert rate == {"both": Fraction(1, 2), "x": Fraction(1, 2), "y": Fraction(3, 2)}
