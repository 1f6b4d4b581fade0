"""The fluid against times and rates worked by hand, and against published max-min shares of traffic patterns.

Line rate is 400 Gb/s = 50 GB/s a GPU, each link delays 0.5 us, NVLink carries 450 GB/s and delays 25 ns.
"""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest

from zcube.fabric.catalog import load_fabric
from zcube.fabric.model import Fabric
from zcube.network.flow_model import FlowModel, flow_model, ideal_model, run_flows
from zcube.network.link_set import LinkSet
from zcube.network.protocol import FlowTable
from zcube.routing.catalog import routing_for
from zcube.routing.routes import Routes, assemble
from zcube.seeds import stream

NIC_BYTES_PER_S = 50e9
US = 1e-6


@cache
def fabric_of(name: str) -> Fabric:
    return load_fabric(name)


def on_fabric(name: str, policy: str = "default", queue_pairs: int = 1, seed: int = 0) -> FlowModel:
    fabric = fabric_of(name)
    return flow_model(fabric, routing_for(fabric, policy, queue_pairs=queue_pairs, seed=seed))


def table(source, target, size_bytes, start_s=0.0) -> FlowTable:
    source, target = np.atleast_1d(source), np.atleast_1d(target)
    return FlowTable(source, target, np.broadcast_to(size_bytes, source.shape), np.broadcast_to(start_s, source.shape))


class ListedPaths:
    name = "listed"

    def __init__(self, paths: list[list[list[int]]]):
        self.paths = paths

    def routes(self, source: np.ndarray, target: np.ndarray) -> Routes:
        rows = [path for flow in source for path in self.paths[flow]]
        hops = np.full((len(rows), max(len(row) for row in rows)), -1)
        for number, row in enumerate(rows):
            hops[number, : len(row)] = row
        return assemble(np.array([len(self.paths[flow]) for flow in source]), hops)


def on_links(bytes_per_s: list[float], paths: list[list[list[int]]], split: str = "pooled") -> FlowModel:
    links = len(bytes_per_s)
    names, inner = [str(link) for link in range(links)], np.zeros(links, dtype=bool)
    rates = 8.0 * np.array(bytes_per_s)
    link_set = LinkSet(names, names, ["switch"] * links, rates, np.zeros(links), inner, inner)
    return FlowModel(link_set, ListedPaths(paths), split)


def finish(model: FlowModel, size_bytes: list[float], start_s: list[float]) -> list[float]:
    flow = np.arange(len(size_bytes))
    return run_flows(model, FlowTable(flow, flow, np.array(size_bytes), np.array(start_s))).finish_s.tolist()


@pytest.mark.parametrize("size_bytes", [1.0, 1e6, 4.2e9])
@pytest.mark.parametrize(
    ("name", "source", "target", "latency_s"),
    [
        ("roft-1024", 0, 8, 1 * US),  # same leaf: two links
        ("roft-1024", 0, 9, 2 * US),  # other rail: leaf, spine, leaf
        ("roft-1024", 0, 1016, 2 * US),  # other scalable unit
        ("zcube-1024", 0, 8, 1.5 * US),  # same segment; two switches, three links, whatever the pair
        ("zcube-1024", 0, 64, 1.5 * US),  # same rail
        ("zcube-1024", 0, 1023, 1.5 * US),
        ("zcube-n16", 0, 8, 1.5 * US),
        ("zcube-n16", 0, 16, 1.5 * US),
        ("zcube-n16", 3, 250, 1.5 * US),
    ],
)
@pytest.mark.parametrize("queue_pairs", [1, 2])
def test_one_transfer_alone(name: str, source: int, target: int, latency_s: float, size_bytes: float, queue_pairs: int) -> None:
    outcome = run_flows(on_fabric(name, queue_pairs=queue_pairs), table(source, target, size_bytes, 0.25))
    assert outcome.latency_s[0] == pytest.approx(latency_s, rel=1e-12)
    expected = latency_s + size_bytes / NIC_BYTES_PER_S
    assert outcome.finish_s[0] - 0.25 == pytest.approx(expected, rel=1e-9, abs=1e-15)


@pytest.mark.parametrize("name", ["roft-1024", "zcube-1024", "zcube-n16"])
def test_one_transfer_inside_a_server(name: str) -> None:
    outcome = run_flows(on_fabric(name), table(9, 14, 9e9))
    assert outcome.finish_s[0] == pytest.approx(50e-9 + 9e9 / 450e9, rel=1e-12)


def test_shortest_path_halves_a_same_rail_transfer() -> None:
    outcome = run_flows(on_fabric("zcube-n16", "shortest-path"), table(0, 16, 5e9))
    assert outcome.finish_s[0] == pytest.approx(1 * US + 5e9 / 25e9, rel=1e-12)


@pytest.mark.parametrize("name", ["roft-1024", "zcube-1024", "zcube-n16"])
def test_four_transfers_out_of_one_nic_get_a_quarter_each(name: str) -> None:
    """Their targets lie apart, so that only the source's NIC is shared."""
    target = np.array([17, 34, 51, 68]) if name != "zcube-1024" else np.array([65, 130, 195, 260])
    model = on_fabric(name)
    model.send(table(np.zeros(4, dtype=int), target, 1e12))
    model.advance(1e-3)
    np.testing.assert_allclose(model.rates_bps(), 100e9, rtol=1e-12)


def test_four_transfers_over_one_trunk_get_a_quarter_of_it_each() -> None:
    """(0, i) -> (i, 15) on ZCube(16,2): all P1 cross A[0]-B[15] at 200G / 4; all P2 are alone at 200G."""
    rail = np.array([1, 2, 3, 4])
    model = on_fabric("zcube-n16")
    model.send(table(rail, 16 * rail + 15, 1e12))
    model.advance(1e-3)
    np.testing.assert_allclose(model.rates_bps(), 250e9, rtol=1e-12)


@pytest.mark.parametrize("senders", [2, 5, 15])
@pytest.mark.parametrize("name", ["roft-1024", "zcube-1024", "zcube-n16"])
def test_incast(name: str, senders: int) -> None:
    """m equal transfers into one GPU end together after m times one transfer."""
    per_switch = {"zcube-1024": 64, "zcube-n16": 16, "roft-1024": 64}[name]
    source = np.arange(1, senders + 1) * (per_switch + 1)
    model = on_fabric(name)
    outcome = run_flows(model, table(source, np.zeros(senders, dtype=int), 1e9))
    np.testing.assert_allclose(outcome.finish_s, outcome.latency_s + senders * 1e9 / NIC_BYTES_PER_S, rtol=1e-9)
    carried = model.link_table()
    into = np.flatnonzero((np.array(carried.target) == "s0g0") & (np.array(carried.kind) == "nic"))
    np.testing.assert_allclose(carried.size_bytes[into].sum(), senders * 1e9, rtol=1e-9)
    assert set(carried.peak_flows[into]) == {senders}


def test_incast_drains_as_each_sender_ends() -> None:
    """1, 2 and 3 GB into one NIC: all thirds until 3 GB have passed, then halves until 5, then alone until 6."""
    outcome = run_flows(on_fabric("zcube-n16"), table([17, 34, 51], [0, 0, 0], np.array([1e9, 2e9, 3e9])))
    np.testing.assert_allclose(outcome.finish_s, 1.5 * US + np.array([3e9, 5e9, 6e9]) / NIC_BYTES_PER_S, rtol=1e-12)


def test_max_min_with_three_bottlenecks() -> None:
    """Links of 10, 4 and 9. The second is tightest: 4/2 for both its flows. The first then has 8 for two: 4 each.

    The third has 9 - 4 = 5 left for its last flow.
    """
    model = on_links([10.0, 4.0, 9.0], [[[0, 1]], [[1]], [[0, 2]], [[2]], [[0]]])
    flow = np.arange(5)
    model.send(FlowTable(flow, flow, np.full(5, 1e3), np.zeros(5)))
    model.advance(0.0)
    np.testing.assert_allclose(model.rates_bps() / 8, [2, 2, 4, 5, 4], rtol=1e-12)


def test_a_chain_of_bottlenecks_cascades() -> None:
    """One flow over links of 1, 2, .., 5 and one more flow on each: 1/2 everywhere for the long one, c - 1/2 for the others."""
    model = on_links([1.0, 2.0, 3.0, 4.0, 5.0], [[[0, 1, 2, 3, 4]], [[0]], [[1]], [[2]], [[3]], [[4]]])
    flow = np.arange(6)
    model.send(FlowTable(flow, flow, np.full(6, 1e3), np.zeros(6)))
    model.advance(0.0)
    np.testing.assert_allclose(model.rates_bps() / 8, [0.5, 0.5, 1.5, 2.5, 3.5, 4.5], rtol=1e-12)


def test_paths_of_one_transfer_pooled_and_fixed() -> None:
    """8 bytes over links of 1 and 3 bytes/s: pooled 8 / 4; fixed 4 bytes each, the slow link needs 4 s."""
    assert finish(on_links([1.0, 3.0], [[[0], [1]]]), [8.0], [0.0]) == pytest.approx([2.0], rel=1e-12)
    assert finish(on_links([1.0, 3.0], [[[0], [1]]], "fixed"), [8.0], [0.0]) == pytest.approx([4.0], rel=1e-12)


def test_pooled_and_fixed_beside_a_competitor() -> None:
    """As before, with 4 bytes of another transfer on the slow link.

    Pooled: 1/2 + 3 bytes/s, done at 16/7; the other has moved 8/7 and ends 20/7 later. Fixed: both share the slow link to 8 s.
    """
    paths = [[[0], [1]], [[0]]]
    pooled = finish(on_links([1.0, 3.0], paths), [8.0, 4.0], [0.0, 0.0])
    assert pooled == pytest.approx([16 / 7, 36 / 7], rel=1e-12)
    assert finish(on_links([1.0, 3.0], paths, "fixed"), [8.0, 4.0], [0.0, 0.0]) == pytest.approx([8, 8], rel=1e-12)


def test_arrivals_during_a_transfer() -> None:
    """One link of 1 byte/s. 10 bytes at 0, 4 at 4, 1 at 6.

    At 4 the first has 6 left; at 6, on halves, 5 and 3; on thirds the last ends at 9, leaving 4 and 2; halves again to
    13, leaving 2 for the first, which ends at 15.
    """
    model = on_links([1.0], [[[0]], [[0]], [[0]]])
    assert finish(model, [10.0, 4.0, 1.0], [0.0, 4.0, 6.0]) == pytest.approx([15, 13, 9], rel=1e-12)


@pytest.mark.parametrize("name", ["roft-1024", "zcube-n16"])
def test_arrivals_during_a_transfer_on_a_fabric(name: str) -> None:
    """The same through one NIC: 500 MB at 0, 200 MB at 4 ms, 50 MB at 6 ms, to GPUs apart of each other."""
    flows = table([0, 0, 0], [17, 34, 51], np.array([500e6, 200e6, 50e6]), np.array([0.0, 4e-3, 6e-3]))
    outcome = run_flows(on_fabric(name), flows)
    np.testing.assert_allclose(outcome.finish_s - outcome.latency_s, [15e-3, 13e-3, 9e-3], rtol=1e-12)


@pytest.mark.parametrize("first", [0, 1])
def test_a_transfer_that_starts_as_another_ends_never_shares_the_link(first: int) -> None:
    """Whichever has the lower number: one active at a time, so the most together is one."""
    starts = [0.0, 1.0] if first == 0 else [1.0, 0.0]
    model = on_links([1.0], [[[0]], [[0]]])
    ends = finish(model, [1.0, 1.0], starts)
    assert ends == pytest.approx([start + 1 for start in starts], rel=1e-12)
    assert model.link_table().peak_flows.tolist() == [1]


def test_links_report_bytes_in_the_middle_of_a_transfer() -> None:
    model = on_links([2.0, 5.0], [[[0, 1]]])
    model.send(FlowTable(np.array([0]), np.array([0]), np.array([10.0]), np.array([1.0])))
    model.advance(2.5)
    np.testing.assert_allclose(model.link_table().size_bytes, [3.0, 3.0], rtol=1e-12)
    assert model.next_event_s() == pytest.approx(6.0, rel=1e-12)
    np.testing.assert_allclose(model.link_table().utilisation(2.5), [3 / 5, 3 / 12.5], rtol=1e-12)


@pytest.mark.parametrize("to_s", [5.0, float("inf")])
def test_no_transfer_starts_in_the_past(to_s: float) -> None:
    """What starts before a time already simulated would find a link idle that was busy."""
    model = on_links([1.0], [[[0]]])
    model.send(FlowTable(np.array([0]), np.array([0]), np.array([4.0]), np.array([0.0])))
    model.advance(to_s)
    with pytest.raises(ValueError):
        model.send(FlowTable(np.array([0]), np.array([0]), np.array([4.0]), np.array([1.0])))


@pytest.mark.parametrize(("size_bytes", "start_s"), [(0.0, 0.0), (-1.0, 0.0), (np.nan, 0.0), (1.0, np.inf), (1.0, -1.0)])
def test_refuses_impossible_transfers(size_bytes: float, start_s: float) -> None:
    model = on_links([1.0], [[[0]]])
    with pytest.raises(ValueError):
        model.send(FlowTable(np.array([0]), np.array([0]), np.array([size_bytes]), np.array([start_s])))


@pytest.mark.parametrize("name", ["zcube-n16", "roft-256"])
def test_nothing_to_send_is_sent(name: str) -> None:
    model = on_fabric(name)
    none = np.zeros(0, dtype=np.int64)
    assert len(model.send(FlowTable(none, none, np.zeros(0), np.zeros(0)))) == 0
    assert model.next_event_s() == float("inf")
    assert len(model.advance(1.0)) == 0


def random_transfers(count: int) -> FlowTable:
    rng = stream(11, "transfers")
    source = rng.integers(0, 1024, count)
    target = (source + rng.integers(1, 1024, count)) % 1024
    return FlowTable(source, target, rng.lognormal(20, 1, count), rng.uniform(0, 0.05, count))


@pytest.mark.parametrize("nic_gbps", [400.0, 100_000.0])
def test_the_ideal_core_knows_no_fabric(nic_gbps: float) -> None:
    """Same transfers, same NICs, same times, on every fabric."""
    flows = random_transfers(2_000)
    fabrics = [fabric_of(name).with_nic_rate(nic_gbps) for name in ("roft-1024", "zcube-1024", "zcube-n32")]
    times = [run_flows(ideal_model(fabric), flows).finish_s for fabric in fabrics]
    assert np.all(np.isfinite(times[0]))
    for other in times[1:]:
        np.testing.assert_allclose(other, times[0], rtol=1e-12)


@pytest.mark.parametrize("name", ["roft-1024", "zcube-1024"])
def test_a_100_tbps_nic_in_an_ideal_core_and_behind_real_trunks(name: str) -> None:
    """12.5 TB/s ideally; 400 Gb/s of trunk remain: one 400G uplink of the ROFT, two 200G paths of the ZCube."""
    fabric = fabric_of(name).with_nic_rate(100_000.0)
    ideal = run_flows(ideal_model(fabric), table(0, 1001, 1e9))
    assert ideal.finish_s[0] == pytest.approx(1 * US + 1e9 / 12.5e12, rel=1e-12)
    real = run_flows(flow_model(fabric, routing_for(fabric, queue_pairs=1)), table(0, 1001, 1e9))
    assert real.finish_s[0] - real.latency_s[0] == pytest.approx(1e9 / NIC_BYTES_PER_S, rel=1e-12)


N = 32
GPU = np.arange(N * N)
SEEDS = range(5)


def shuffled_within(segment: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Target of every GPU when segment s sends to ``segment[s]``, its members in random order."""
    return (segment[:, None] * N + rng.permuted(np.tile(np.arange(N), (N, 1)), axis=1)).ravel()


def pattern(name: str, seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return the targets of all 1,024 GPUs; self-pairs and pairs inside a server are left out."""
    rng = stream(seed, name)
    if name == "same-rail shift":
        target = (GPU + N) % (N * N)
    elif name == "segment to segment":
        target = shuffled_within(rng.permutation(N), rng)
    elif name == "segment cycle":
        # Through all segments in random order: none sends to itself, within which ports would be shared.
        order, following = rng.permutation(N), np.empty(N, dtype=np.int64)
        following[order] = np.roll(order, -1)
        target = shuffled_within(following, rng)
    elif name == "permutation":
        target = rng.permutation(N * N)
    else:
        target = GPU % N * N + GPU // N
    keep = target // 8 != GPU // 8
    return GPU[keep], target[keep]


def mean_share(fabric: str, policy: str, queue_pairs: int, name: str) -> float:
    """Mean over flows and seeds of the max-min rate over the line rate."""
    shares = []
    for seed in SEEDS:
        model = on_fabric(fabric, policy, queue_pairs, seed)
        model.send(table(*pattern(name, seed), 1e12))
        model.advance(1e-3)
        shares.append(float(model.rates_bps().mean()) / 400e9)
    return float(np.mean(shares))


@pytest.mark.parametrize(
    ("policy", "name", "share"),
    [
        ("zcube-paths", "same-rail shift", 1.0),
        ("shortest-path", "same-rail shift", 0.5),
        ("zcube-paths", "segment to segment", 1.0),
        # The 31 GPUs of a segment that are off the diagonal share both of the links they may use.
        ("zcube-paths", "transpose", 1 / 31),
        ("shortest-path", "transpose", 1 / 31),
    ],
)
def test_structural_shares_of_zcube_32_2(policy: str, name: str, share: float) -> None:
    assert mean_share("zcube-n32", policy, 1, name) == pytest.approx(share, rel=1e-9)


def test_shortest_path_loses_half_of_the_pairs_that_keep_their_rail() -> None:
    """One pair in 32 keeps its rail and has one port: 1 - 1/64 = 0.984 in the mean, published as 0.985."""
    assert mean_share("zcube-n32", "shortest-path", 1, "segment cycle") == pytest.approx(0.984, abs=0.005)


@pytest.mark.parametrize(
    ("fabric", "policy", "queue_pairs", "name", "share"),
    [
        ("zcube-n32", "zcube-paths", 1, "permutation", 0.65),
        ("zcube-n32", "shortest-path", 1, "permutation", 0.66),
        ("roft-1024", "ecmp", 1, "same-rail shift", 0.997),
        ("roft-1024", "ecmp", 4, "same-rail shift", 1.0),
        ("roft-1024", "ecmp", 1, "segment to segment", 0.54),
        ("roft-1024", "ecmp", 4, "segment to segment", 0.83),
        ("roft-1024", "ecmp", 1, "permutation", 0.535),
        ("roft-1024", "ecmp", 4, "permutation", 0.82),
        ("roft-1024", "ecmp", 1, "transpose", 0.50),
        ("roft-1024", "ecmp", 4, "transpose", 0.82),
    ],
)
def test_shares_of_random_patterns(fabric: str, policy: str, queue_pairs: int, name: str, share: float) -> None:
    """Independently computed means over flows, given to two or three digits."""
    assert mean_share(fabric, policy, queue_pairs, name) == pytest.approx(share, abs=0.03)
