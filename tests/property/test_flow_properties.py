"""Laws of the fluid that hold on every link graph: conservation, capacity, max-min optimality, independence of numbering."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from zcube.network.flow_model import FlowModel, PathSplit, run_flows
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.routes import Routes, assemble

QUICK = settings(max_examples=80)
SPLITS = st.sampled_from(["pooled", "fixed"])


@dataclass(frozen=True)
class Traffic:
    """Links and the transfers on them; ``paths[flow]`` lists the flow's paths as tuples of links."""

    capacity_bps: tuple[float, ...]
    delay_s: tuple[float, ...]
    paths: tuple[tuple[tuple[int, ...], ...], ...]
    size_bytes: tuple[float, ...]
    start_s: tuple[float, ...]

    def routes(self, source: np.ndarray, target: np.ndarray) -> Routes:
        rows = [path for flow in source for path in self.paths[flow]]
        hops = np.full((len(rows), max(len(row) for row in rows)), -1)
        for number, row in enumerate(rows):
            hops[number, : len(row)] = row
        return assemble(np.array([len(self.paths[flow]) for flow in source]), hops)

    @property
    def name(self) -> str:
        return "listed"

    @property
    def flows(self) -> int:
        return len(self.paths)

    def model(self, split: PathSplit = "pooled") -> FlowModel:
        links = len(self.capacity_bps)
        names = [f"l{link}" for link in range(links)]
        inner = np.zeros(links, dtype=bool)
        rates, delays = np.array(self.capacity_bps), np.array(self.delay_s)
        link_set = LinkSet(names, names, ["switch"] * links, rates, delays, inner, inner)
        return FlowModel(link_set, self, split)

    def table(self) -> FlowTable:
        flow = np.arange(self.flows)
        return FlowTable(flow, flow, np.array(self.size_bytes), np.array(self.start_s))


@st.composite
def traffic(draw: st.DrawFn, most_paths: int = 3) -> Traffic:
    links = draw(st.integers(1, 6))
    capacity = st.one_of(st.integers(1, 8).map(float), st.floats(0.5, 100.0))
    path = st.lists(st.integers(0, links - 1), min_size=1, max_size=4, unique=True).map(tuple)
    flow = st.tuples(
        st.lists(path, min_size=1, max_size=most_paths).map(tuple),
        st.one_of(st.integers(1, 8).map(float), st.floats(0.5, 100.0)),
        st.one_of(st.integers(0, 4).map(float), st.floats(0.0, 5.0)),
    )
    flows = draw(st.lists(flow, min_size=1, max_size=8))
    delay = st.sampled_from([0.0, 0.25, 0.3])
    per_link = {"min_size": links, "max_size": links}
    return Traffic(
        tuple(draw(st.lists(capacity, **per_link))),
        tuple(draw(st.lists(delay, **per_link))),
        tuple(paths for paths, _, _ in flows),
        tuple(size for _, size, _ in flows),
        tuple(start for _, _, start in flows),
    )


MOMENTS = st.lists(st.floats(0.0, 40.0), min_size=1, max_size=4).map(sorted)


@QUICK
@given(traffic(most_paths=1))
def test_links_carry_exactly_the_bytes_routed_over_them(case: Traffic) -> None:
    model = case.model()
    run_flows(model, case.table())
    expected = np.zeros(len(case.capacity_bps))
    for paths, size in zip(case.paths, case.size_bytes, strict=True):
        expected[list(paths[0])] += size
    np.testing.assert_allclose(model.link_table().size_bytes, expected, rtol=1e-9, atol=1e-9)


@QUICK
@given(traffic())
def test_fixed_shares_carry_equal_parts(case: Traffic) -> None:
    model = case.model("fixed")
    run_flows(model, case.table())
    expected = np.zeros(len(case.capacity_bps))
    for paths, size in zip(case.paths, case.size_bytes, strict=True):
        for path in paths:
            expected[list(path)] += size / len(paths)
    np.testing.assert_allclose(model.link_table().size_bytes, expected, rtol=1e-9, atol=1e-9)


@QUICK
@given(traffic(), st.integers(1, 3))
def test_pooled_paths_carry_all_bytes_together(case: Traffic, hops: int) -> None:
    """With every path of one length, bytes summed over links are that length times the bytes sent."""
    links = len(case.capacity_bps)
    hops = min(hops, links)
    even = Traffic(
        case.capacity_bps,
        case.delay_s,
        tuple(tuple(tuple((path[0] + step) % links for step in range(hops)) for path in paths) for paths in case.paths),
        case.size_bytes,
        case.start_s,
    )
    model = even.model("pooled")
    run_flows(model, even.table())
    np.testing.assert_allclose(model.link_table().size_bytes.sum(), hops * sum(case.size_bytes), rtol=1e-9)


@QUICK
@given(traffic(), SPLITS, MOMENTS)
def test_no_link_carries_more_than_its_capacity_between_any_two_moments(
    case: Traffic, split: PathSplit, moments: list[float]
) -> None:
    model = case.model(split)
    model.send(case.table())
    before, since = np.zeros(len(case.capacity_bps)), 0.0
    for moment in moments:
        model.advance(moment)
        carried = model.link_table().size_bytes
        # Events within a picosecond count as one, so that much may be carried on the other side of a border.
        room = np.array(case.capacity_bps) * (moment - since + 1e-9) / 8
        assert np.all(carried - before <= room + 1e-9)
        assert np.all(carried >= before - 1e-9)
        before, since = carried, moment


@QUICK
@given(traffic(most_paths=1), MOMENTS)
def test_rates_are_max_min_fair_at_every_moment(case: Traffic, moments: list[float]) -> None:
    """No link above capacity, and every active flow crosses a full link on which no flow is faster: its bottleneck."""
    model = case.model()
    model.send(case.table())
    capacity = np.array(case.capacity_bps)
    crosses = np.zeros((case.flows, len(capacity)), dtype=bool)
    for flow, paths in enumerate(case.paths):
        crosses[flow, list(paths[0])] = True
    for moment in moments:
        model.advance(moment)
        rate, outcome = model.rates_bps(), model.completions()
        done = ~np.isnan(outcome.finish_s)
        begun = np.array(case.start_s) <= moment
        np.testing.assert_array_equal(rate[done | ~begun], 0.0)
        load = rate @ crosses
        assert np.all(load <= capacity * (1 + 1e-9))
        full = load >= capacity * (1 - 1e-9)
        fastest = np.where(crosses, rate[:, None], 0.0).max(axis=0)
        for flow in np.flatnonzero(begun & ~done):
            bottleneck = crosses[flow] & full & (rate[flow] >= fastest * (1 - 1e-9))
            assert bottleneck.any(), f"flow {flow} at {rate[flow]} has no bottleneck; loads {load}"


@QUICK
@given(traffic(), SPLITS, st.randoms(use_true_random=False))
def test_order_of_flows_does_not_matter(case: Traffic, split: PathSplit, rng) -> None:
    order = list(range(case.flows))
    rng.shuffle(order)
    shuffled = Traffic(
        case.capacity_bps,
        case.delay_s,
        tuple(case.paths[flow] for flow in order),
        tuple(case.size_bytes[flow] for flow in order),
        tuple(case.start_s[flow] for flow in order),
    )
    one, other = case.model(split), shuffled.model(split)
    finish, again = run_flows(one, case.table()).finish_s, run_flows(other, shuffled.table()).finish_s
    np.testing.assert_allclose(again, finish[order], rtol=1e-9)
    np.testing.assert_allclose(other.link_table().size_bytes, one.link_table().size_bytes, rtol=1e-6, atol=1e-9)


@QUICK
@given(traffic(), SPLITS, st.randoms(use_true_random=False))
def test_numbers_of_links_do_not_matter(case: Traffic, split: PathSplit, rng) -> None:
    links = len(case.capacity_bps)
    new = list(range(links))
    rng.shuffle(new)
    old = np.argsort(new)
    renamed = Traffic(
        tuple(case.capacity_bps[link] for link in old),
        tuple(case.delay_s[link] for link in old),
        tuple(tuple(tuple(new[link] for link in path) for path in paths) for paths in case.paths),
        case.size_bytes,
        case.start_s,
    )
    one, other = case.model(split), renamed.model(split)
    np.testing.assert_allclose(run_flows(other, renamed.table()).finish_s, run_flows(one, case.table()).finish_s, rtol=1e-9)
    np.testing.assert_allclose(other.link_table().size_bytes[new], one.link_table().size_bytes, rtol=1e-6, atol=1e-9)
    np.testing.assert_array_equal(other.link_table().peak_flows[new], one.link_table().peak_flows)


@QUICK
@given(traffic(), SPLITS)
def test_no_transfer_beats_its_path_and_none_waits_longer_than_all_in_a_row(case: Traffic, split: PathSplit) -> None:
    """Between latency + bytes over all its paths' capacity, and all bytes one after another at the slowest link."""
    finish = run_flows(case.model(split), case.table())
    slowest = min(case.capacity_bps)
    last = max(case.start_s) + finish.latency_s.max() + 8 * sum(case.size_bytes) / slowest
    for flow, paths in enumerate(case.paths):
        fastest = sum(min(case.capacity_bps[link] for link in path) for path in paths)
        soonest = case.start_s[flow] + finish.latency_s[flow] + 8 * case.size_bytes[flow] / fastest
        assert soonest * (1 - 1e-9) <= finish.finish_s[flow] <= last * (1 + 1e-9)


@QUICK
@given(traffic(), SPLITS, st.sampled_from([0.5, 3.0, 1e9]))
def test_time_and_rate_scale_together(case: Traffic, split: PathSplit, factor: float) -> None:
    """All links ``factor`` times as fast, all starts and delays that much shorter: the same run on a faster clock."""
    faster = Traffic(
        tuple(capacity * factor for capacity in case.capacity_bps),
        tuple(delay / factor for delay in case.delay_s),
        case.paths,
        case.size_bytes,
        tuple(start / factor for start in case.start_s),
    )
    slow, fast = run_flows(case.model(split), case.table()), run_flows(faster.model(split), faster.table())
    # Events are told apart down to a picosecond, which bounds the agreement on the faster clock.
    np.testing.assert_allclose(fast.finish_s, slow.finish_s / factor, rtol=1e-9, atol=1e-10)


@QUICK
@given(traffic(), SPLITS, MOMENTS)
def test_looking_does_not_disturb(case: Traffic, split: PathSplit, moments: list[float]) -> None:
    straight, watched = case.model(split), case.model(split)
    expected = run_flows(straight, case.table()).finish_s
    watched.send(case.table())
    for moment in moments:
        watched.advance(moment)
        watched.link_table()
        watched.rates_bps()
        watched.completions()
    watched.advance(float("inf"))
    np.testing.assert_allclose(watched.completions().finish_s, expected, rtol=1e-9)
