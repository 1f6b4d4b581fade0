"""The engine of plain networks against that of all: what they leave in memory and return, byte for byte."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import pytest
from test_as_written import assert_equal_packets, run_packets
from test_packet_twin import draw_settings

from zcube.network.packet import engine, model, postings, steady
from zcube.network.packet.engine_choice import has_plain_engine
from zcube.network.packet.layout import TABLES
from zcube.network.packet.plain import is_plain
from zcube.network.packet.settings import PacketSettings
from zcube.network.packet.skip_settings import Skip
from zcube.network.packet.state import NONE
from zcube.network.packet.switch_settings import LinkFailure


def is_drawn_plain(seed):
    draw = np.random.default_rng(seed)
    draw.random()
    return has_plain_engine(draw_settings(draw))


PLAIN_DRAWS = [seed for seed in range(180) if is_drawn_plain(seed)]


@pytest.mark.parametrize("seed", PLAIN_DRAWS)
def test_plain_networks_move_alike_by_either_engine(monkeypatch, seed):
    more = [{}, {"cell_bytes": 20_000}][seed % 2]
    plain = run_packets(np.random.default_rng(seed), **more)
    assert plain[0]._engine is engine.advance_plain
    # Still, now that all has moved.
    assert is_plain(plain[0]._tables.net)
    monkeypatch.setattr(model, "is_plain", lambda net: False)
    full = run_packets(np.random.default_rng(seed), **more)
    assert full[0]._engine is engine.advance
    assert_equal_packets(plain, full)


@pytest.mark.parametrize(
    "settings",
    [
        {"acknowledgements": "packets"},
        {"congestion_control": "hpcc"},
        {"path_choice": "spray"},
        {"path_choice": "adaptive"},
        {"pfc_watchdog_s": 1e-3},
        {"pause_quanta": 100},
        {"priorities": 2},
        {"traffic_classes": 2},
        {"pfc": False, "recovery": "go-back-n"},
        {"pfc": False, "recovery": "selective", "trimming": True},
        {"link_failures": (LinkFailure(link="*", down_s=0.0),), "recovery": "go-back-n"},
        {"skip": Skip(mode="steady")},
    ],
    ids=str,
)
def test_what_is_not_plain_has_the_engine_of_all(settings):
    assert has_plain_engine(PacketSettings())
    assert not has_plain_engine(PacketSettings(**settings))


def test_skipping_goes_by_its_own_engine():
    draw = np.random.default_rng(PLAIN_DRAWS[0])
    assert run_packets(draw, skip={"mode": "steady"})[0]._engine is steady.advance


@pytest.mark.parametrize("seed", range(8))
def test_no_two_tables_share_memory(seed):
    """As kernels are compiled to believe, so that a write to one leaves what has been read of another."""
    more = [{}, {"skip": {"mode": "reuse"}, "pfc": True, "path_choice": "static"}][seed % 2]
    tables = run_packets(np.random.default_rng(seed), **more)[0]._tables
    spans = [(int(tables.net[f"{name}_at"][0]), tables[name].nbytes) for name in TABLES]
    spans.append((tables.net.ctypes.data, tables.net.nbytes))
    spans.sort()
    assert all(first + size <= after for (first, size), (after, _) in pairwise(spans))


@pytest.mark.parametrize("seed", range(12))
def test_what_is_fetched_ahead_changes_nothing(monkeypatch, seed):
    """Nor how many buckets are taken in hand together for it."""
    runs = []
    for from_bytes in (0, 1 << 62):
        monkeypatch.setattr(postings, "FETCHED_FROM_BYTES", from_bytes)
        runs.append(run_packets(np.random.default_rng(seed), **[{}, {"acknowledgements": "packets"}][seed % 2]))
    (one, told), (other, also_told) = runs
    assert (one._tables.net["fetching"][0], other._tables.net["fetching"][0]) == (1, 0)
    # A bound on what comes next may be closer with more in hand.
    assert [told[1], told[3]] == [also_told[1], also_told[3]]
    assert one.counts == other.counts
    for name in ("links", "queues", "switches", "pairs", "flows"):
        for field in set(one._tables[name].dtype.names) - {"head", "tail", "relay_tail"}:
            assert (one._tables[name][field] == other._tables[name][field]).all(), (name, field)


def test_where_parts_are_skipped_nothing_queues_in_lanes():
    draw = np.random.default_rng(PLAIN_DRAWS[0])
    tables = run_packets(draw, skip={"mode": "steady"})[0]._tables
    assert tables.net["lanes"][0] == 0
    for lane in ("end_lane", "arrival_lane"):
        assert (tables["links"][lane] == NONE).all()
