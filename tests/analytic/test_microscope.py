"""The worst windows of a run by hand: which they are, what was left of what was under way, what packets make of it."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from serving_by_hand import fabric_of

from zcube.microscope import worst
from zcube.microscope.rebuild import packet_hops, rebuild
from zcube.microscope.sent import Sent
from zcube.microscope.worst import worst_windows
from zcube.network.carrier import Carrier
from zcube.network.protocol import FlowTable
from zcube.network.settings import Network
from zcube.progress import silent

#: 64 MiB on a link of 50 GB/s.
SIZE = float(1 << 26)
ALONE_S = SIZE / 50e9
#: 82 bytes of headers in front of 4,096 of payload.
HEADERS = 4178 / 4096


def carrier_of(**network) -> Carrier:
    packets = {"congestion_control": "none", **network.pop("packet", {})}
    return Network.model_validate({"packet": packets, "queue_pairs": 1, **network}).on(fabric_of("roft-256"))


def sent_over(carrier: Carrier, *transfers: tuple[int, int, float, float]) -> Sent:
    """Return transfers (source, target, bytes, start) as a run over the carrier had them."""
    source, target, size, start_s = (np.array(column) for column in zip(*transfers, strict=True))
    flows = FlowTable(source.astype(np.int64), target.astype(np.int64), size.astype(float), start_s.astype(float))
    model = carrier.fluid()
    model.send(flows)
    model.advance(float("inf"))
    done = model.completions()
    number = np.arange(len(flows))
    longer_s = done.sending_s(flows.start_s) - flows.size_bytes / 50e9
    return Sent(
        flows, number, (flows.source, flows.target), flows.start_s, done.finish_s - done.latency_s, done.finish_s,
        np.where(longer_s > 1e-9, longer_s, 0.0),
    )  # fmt: skip


def rebuilt(carrier: Carrier, sent: Sent, start_s: float, end_s: float, most_hops: float = 1e7):
    (left,) = sent.left_at(carrier, [start_s])
    return rebuild(carrier, sent, (start_s, end_s), left, most_hops, silent)


def test_two_transfers_into_one_egress_lose_a_time_alone_each_spread_over_both():
    carrier = carrier_of()
    sent = sent_over(carrier, (0, 16, SIZE, 0.0), (8, 16, SIZE, 0.0))
    number, excess_s = worst_windows(sent.begin_s, sent.end_s, sent.excess_s, (0.0, 3 * ALONE_S), ALONE_S, 5)
    # Both windows of the jam have a time alone each, and the two transfers in common.
    assert number.tolist() == [0]
    assert excess_s == pytest.approx([ALONE_S], rel=1e-6)


def test_two_transfers_into_one_egress_are_rebuilt_with_what_is_left_of_them():
    carrier = carrier_of()
    sent = sent_over(carrier, (0, 16, SIZE, 0.0), (8, 16, SIZE, 0.0), (24, 32, SIZE, 1.2 * ALONE_S))
    one = rebuilt(carrier, sent, ALONE_S, 2 * ALONE_S)
    assert one.number.tolist() == [0, 1, 2]
    np.testing.assert_allclose(one.left_bytes, [SIZE / 2, SIZE / 2, SIZE], rtol=1e-6)
    found = one.document
    assert (found["under_way"], found["starting"]) == (2, 1)
    assert found["under_way_bytes"] == pytest.approx(SIZE, rel=1e-6) and found["starting_bytes"] == SIZE
    # Left of each: half, and half a link's rate for it; the third has its links to itself.
    np.testing.assert_allclose(one.duration_s["flow"], ALONE_S, rtol=2e-3)
    np.testing.assert_allclose(one.duration_s["packet"], HEADERS * ALONE_S, rtol=3e-3)
    assert found["ratio"]["max"] == pytest.approx(HEADERS, rel=2e-3)
    assert found["pauses"] > 0 and found["ports"][0]["to"] == "leaf0"
    # Two links each from NIC to leaf to NIC, packets of 4,096 bytes; nothing is dropped, so none goes twice.
    assert found["packet_hops"] == found["packet_hops_expected"] == 2 * 2 * 8192 + 2 * 16384


def test_a_transfer_that_shares_only_the_senders_nic_is_a_victim():
    carrier = carrier_of()
    incast = [(sender, 16, SIZE, 0.0) for sender in (0, 8, 24, 32)]
    one = rebuilt(carrier, sent_over(carrier, *incast, (0, 40, SIZE, 0.0)), 0.0, ALONE_S)
    # Max-min gives the fifth 3/4 of its NIC; the pauses of the incast leave it a quarter.
    assert one.duration_s["flow"][4] == pytest.approx(ALONE_S * 4 / 3, rel=2e-3)
    assert one.duration_s["packet"][4] == pytest.approx(4 * ALONE_S, rel=0.1)
    assert one.document["victims"]["flows"] == 1 and one.document["victims"]["ratio"]["p50"] == pytest.approx(3, rel=0.1)
    assert one.victim_s[4] > 1.5 * ALONE_S and one.victim_s[:4].max() < 0.1 * ALONE_S


def test_packets_in_a_window_in_which_nothing_contends_add_their_headers():
    carrier = carrier_of()
    apart = [(server * 16, server * 16 + 8, SIZE, 1e-4 * server) for server in range(6)]
    sent = sent_over(carrier, *apart)
    assert worst_windows(sent.begin_s, sent.end_s, sent.excess_s, (0.0, 1.0), 0.1, 3)[0].tolist() == []
    one = rebuilt(carrier, sent, 0.0, 0.1)
    assert one.document["ratio"]["p50"] == pytest.approx(HEADERS, rel=2e-3)
    assert one.document["ratio"]["max"] < HEADERS * 1.002 and one.document["pauses"] == 0


def test_a_lossless_run_has_its_own_model_beside_the_two():
    carrier = carrier_of(fidelity="lossless")
    incast = [(sender, 16, SIZE, 0.0) for sender in (0, 8, 24, 32)]
    one = rebuilt(carrier, sent_over(carrier, *incast, (0, 40, SIZE, 0.0)), 0.0, ALONE_S)
    assert list(one.duration_s) == ["flow", "lossless", "packet"]
    assert one.duration_s["lossless"][4] == pytest.approx(4 * ALONE_S, rel=0.02)
    assert one.duration_s["flow"][4] == pytest.approx(ALONE_S * 4 / 3, rel=2e-3)


@pytest.mark.parametrize("most_hops, cell", [(2e5, 4096), (4e4, 16384), (9e3, 65536), (8e3, None)])
def test_packets_are_merged_before_a_window_is_refused(most_hops, cell):
    carrier = carrier_of()
    sent = sent_over(carrier, (0, 16, SIZE, 0.0), (8, 16, SIZE, 0.0), (24, 16, SIZE, 0.0), (32, 16, SIZE, 0.0))
    # Four transfers of 16,384 packets over two links.
    found = rebuilt(carrier, sent, 0.0, 1.0, most_hops).document
    if cell is None:
        assert found["why_not"] == "8,192 packet-hops even in cells of 65,536 bytes, more than 8,000"
    else:
        assert found["unit_bytes"] == cell and found["packet_hops"] == 4 * 2 * SIZE / cell <= most_hops


def test_transfers_under_way_are_found_again_after_a_moment_in_which_none_was():
    carrier = carrier_of()
    transfers = [(0, 16, SIZE, at) for at in (0.0, 0.001, 1.0, 1.001, 1.0015, 2.0)]
    sent = sent_over(carrier, *transfers)
    moments_s = [0.0, 0.0005, 0.0015, 0.5, 1.0012, 1.0020, 2.0001, 3.0]
    found = list(sent.left_at(carrier, moments_s))
    assert [numbers.tolist() for numbers, _ in found] == [[], [0], [0, 1], [], [2, 3], [3, 4], [5], []]
    # From the end of the first on the second has the link to itself.
    model = carrier.fluid()
    model.send(sent.flows)
    for (numbers, left), moment_s in zip(found, moments_s, strict=True):
        model.advance(moment_s)
        np.testing.assert_allclose(left, model.left_bytes()[numbers], rtol=1e-9)


def test_what_waits_for_its_message_start_keeps_its_own_start():
    carrier = carrier_of()
    sent = sent_over(carrier, (0, 16, SIZE, 0.0))
    waiting = replace(sent, begin_s=np.array([0.5]))
    one = rebuild(carrier, waiting, (0.25, 0.75), (np.array([0]), np.array([SIZE])), 1e7, silent)
    assert one.left_bytes.tolist() == [SIZE]
    # Posted a quarter of a second before the window, of which nothing counts.
    assert one.duration_s["flow"][0] == pytest.approx(ALONE_S - 0.25, abs=1e-5)


def brute_force(begin_s, end_s, excess_s, windows):
    """Return the excess of windows of a second, transfer by transfer."""
    found = np.zeros(windows)
    for begin, end, excess in zip(begin_s, end_s, excess_s, strict=True):
        for window in range(windows):
            found[window] += excess * max(0.0, min(end, window + 1) - max(begin, window)) / (end - begin)
    return found


@given(
    st.lists(st.tuples(st.floats(-3, 12), st.floats(1e-3, 9), st.floats(0, 5) | st.just(0.0)), max_size=12),
    st.integers(1, 5),
    st.sampled_from([1, 3, worst.AT_ONCE]),
)
def test_windows_are_those_of_a_count_transfer_by_transfer(transfers, most, at_once):
    begin, length, excess = (np.array([row[column] for row in transfers]) for column in range(3))
    expected = brute_force(begin, begin + length, excess, 10)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(worst, "AT_ONCE", at_once)
        number, found = worst_windows(begin, begin + length, excess, (0.0, 10.0), 1.0, most)
    np.testing.assert_allclose(found, expected[number], rtol=1e-9, atol=1e-12)
    assert list(found) == sorted(found, reverse=True) and len(found) <= most
    if at_once == worst.AT_ONCE and expected.max() > 1e-9:
        assert found[0] == pytest.approx(expected.max(), rel=1e-9)
    # What is left out has a transfer in common with one that is named and is no worse, or there are enough.
    held = (excess > 0) & (length > 0)
    for one in range(len(number)):
        for other in range(one):
            both = [(begin < at + 1) & (begin + length > at) & held for at in (number[one], number[other])]
            assert not (both[0] & both[1]).any()


def test_hops_are_those_of_the_mean_path():
    carrier = carrier_of(queue_pairs=2)
    routes = carrier.routing.routes(np.array([0, 0]), np.array([16, 9]))
    assert packet_hops(routes, np.array([4096.0 * 3, 1.0]), 4096) == 3 * 2 + 4
