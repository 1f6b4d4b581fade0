"""Ports over time: which are chosen, what is known between arrivals, which thresholds hold."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from packet_networks import flows, run, star

from zcube.report import packet_ports
from zcube.report.packet_ports import PortHistory, port_history, ports_that_matter


def incast(bin_s: float = 1e-6, size_bytes: int = 1_000_000, **settings: Any) -> Any:
    """Eight hosts send to one, beside two that are in nobody's way."""
    model = star(11).model(bin_s=bin_s, **settings)
    run(model, flows(*((host, 0, size_bytes) for host in range(1, 9)), (9, 10, 100_000)))
    return model


def history_of(model: Any, most: int = 16) -> PortHistory:
    tables = model.queue_table(), model.depth_bins(), model.pause_bins_s()
    return port_history(*tables, 1e-6, model.link_table(), model.settings, most)


def test_the_ports_that_matter_were_paused_longest_or_are_deepest() -> None:
    paused_s = np.array([0.0, 10.0, 5.0, 0.0, 8.0, 0.01, 9.0])
    peak = np.array([100, 0, 40, 90, 0, 0, 0])
    host = np.array([False, True, False, False, True, False, True])
    assert ports_that_matter(paused_s, peak, host, 7).tolist() == [0, 1, 3, 6, 4, 2]
    # Half of four places are the switches', though two NICs were paused longer than port 2.
    assert sorted(ports_that_matter(paused_s, peak, host, 5).tolist()) == [0, 1, 2, 3, 6]
    assert ports_that_matter(paused_s, np.zeros(7, dtype=int), host, 4).tolist() == [1, 6, 4, 2]
    assert ports_that_matter(np.zeros(3), np.zeros(3, dtype=int), host[:3], 4).tolist() == []


@pytest.mark.parametrize("hosts", [3, 4, 8])
def test_there_are_no_bins_before_anything_has_happened(hosts: int) -> None:
    """Also where rows of as many queues would fit a table that is still empty."""
    model = star(hosts).model(bin_s=1e-6)
    model.send(flows((0, 1, 1000, 1e-3)))
    model.advance(1e-6)
    assert model.depth_bins().shape == model.pause_bins_s().shape == (0, 2 * hosts)
    model.advance(2e-3)
    assert model.depth_bins().shape[0] > 1000


def test_a_queue_that_nothing_joins_is_as_deep_as_what_is_left() -> None:
    """Two hosts send 100 packets each at line rate to one; half of them wait, and leave one by one once no more come."""
    model = star(3).model(bin_s=1e-6, pfc_threshold="static", xoff_bytes=1 << 20, congestion_control="none")
    run(model, flows((1, 0, 100 * 4096), (2, 0, 100 * 4096)))
    depth = model.depth_bins()
    queue = next(row for row, (a, b) in enumerate(zip(model.link_set.source, model.link_set.target)) if (a, b) == ("s", "h0"))
    packet_s = (4096 + 82) * 8 / 400e9
    first_s = packet_s + model.link_set.latency_s[0]
    joined = int(np.ceil(100 * packet_s / 1e-6)) + 1
    for number in range(joined, int(199 * packet_s / 1e-6)):
        left = 200 - (number * 1e-6 - first_s) / packet_s
        assert depth[number, queue] == pytest.approx(left * (4096 + 82), abs=2 * (4096 + 82))


def test_a_queue_that_stands_still_keeps_its_depth() -> None:
    model = incast(pfc_threshold="static", xoff_bytes=100_000)
    queues, depth = model.queue_table(), model.depth_bins()
    row = int(np.argmax(queues.peak_bytes))
    filled = np.flatnonzero(depth[:, row])
    assert len(filled) == filled[-1] - filled[0] + 1


def test_an_incast_is_drawn_with_its_port_deepest_and_its_senders_paused() -> None:
    model = incast(pfc_threshold="static", xoff_bytes=100_000)
    found = history_of(model)
    names = [f"{a}>{b}" for a, b in zip(found.source, found.target)]
    assert names[0] == "s>h0" or found.peak_bytes[names.index("s>h0")] == found.peak_bytes.max()
    assert {f"h{host}>s" for host in range(1, 9)} <= set(names)
    assert not {"h9>s", "s>h10"} & set(names)
    assert found.xoff_bytes.tolist() == [100_000] * len(names)
    assert np.isnan(found.kmin_bytes).all()
    # Nothing is paused any more, so the bins hold all of the paused time.
    np.testing.assert_allclose(found.paused_s.sum(axis=0), found.total_paused_s, atol=1e-12)
    deep = names.index("s>h0")
    assert found.depth_bytes[:, deep].max() == found.peak_bytes[deep]
    # The link never stands idle, so there is a queue until all 8 MB have left.
    busy_s = found.bin_s * (found.depth_bytes[:, deep] > 0).sum()
    assert busy_s == pytest.approx(8e6 * (4096 + 82) / 4096 * 8 / 400e9, rel=0.03)


@pytest.mark.parametrize(("control", "pfc", "kmin", "xoff"), [("dcqcn", True, 800_000, None), ("none", False, None, None)])
def test_thresholds_that_do_not_hold_are_unknown(control: str, pfc: bool, kmin: int | None, xoff: int | None) -> None:
    found = history_of(incast(congestion_control=control, pfc=pfc, size_bytes=100_000))
    assert len(found.source)
    for value, expected in ((found.kmin_bytes, kmin), (found.xoff_bytes, xoff)):
        assert np.isnan(value).all() if expected is None else (value == expected).all()


def test_bins_are_joined_without_losing_depth_or_pause() -> None:
    model = incast(bin_s=20e-9, pfc_threshold="static", xoff_bytes=100_000)
    queues, depth, paused_s = model.queue_table(), model.depth_bins(), model.pause_bins_s()
    assert np.ptp(np.flatnonzero(depth.any(axis=1))) > 2 * packet_ports.MOST_COLUMNS
    found = port_history(queues, depth, paused_s, 20e-9, model.link_table(), model.settings)
    assert len(found.depth_bytes) <= 2 * packet_ports.MOST_COLUMNS
    assert found.bin_s >= 40e-9
    np.testing.assert_allclose(found.paused_s.sum(axis=0), found.total_paused_s, atol=1e-12)
    np.testing.assert_array_equal(found.depth_bytes.max(axis=0), found.peak_bytes)


def test_a_run_without_queues_has_no_ports_and_no_bins() -> None:
    model = star(3).model()
    queues = model.queue_table()
    for bins in (0, 64):
        nothing = np.zeros((bins, len(queues.pauses)))
        found = port_history(queues, nothing, nothing, 1e-6, model.link_table(), model.settings)
        assert (found.source, found.depth_bytes.size, found.left_out) == ((), 0, 0)
