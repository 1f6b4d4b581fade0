"""Completion times against SimGrid 3.32's CM02 model on the same explicit routes, where SimGrid is installed."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

from zcube.network.flow_model import flow_model, run_flows
from zcube.network.protocol import FlowTable

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "benchmarks"))

from flow_workloads import SMALL, event_count, one_path_routing, undelayed_fabric
from simgrid_side import compiled_replay, replayed, write_inputs

CASES = [(workload, fabric) for workload, declared in SMALL.items() for fabric in declared.fabrics]


@pytest.fixture(scope="session")
def simgrid(tmp_path_factory) -> Path:
    """SimGrid's side, compiled."""
    program = compiled_replay(tmp_path_factory.mktemp("simgrid"), "-O0")
    if program is None:
        pytest.skip("SimGrid's headers or g++ are not installed (Debian: libsimgrid-dev, g++)")
    return program


@pytest.mark.parametrize(("workload", "fabric_name"), CASES)
def test_both_programs_complete_every_flow_at_the_same_time(simgrid, tmp_path, workload, fabric_name):
    fabric = undelayed_fabric(fabric_name)
    flows = SMALL[workload].flows(fabric, seed=1)
    ours_s = run_flows(flow_model(fabric, one_path_routing(fabric, seed=1)), flows).finish_s
    write_inputs(tmp_path, fabric, flows, seed=1)
    theirs_s, _ = replayed(simgrid, tmp_path)
    np.testing.assert_allclose(ours_s, theirs_s, rtol=1e-6, atol=0)
    # A transfer's own time is the harder measure where it starts late: SimGrid ends a flow within 1e-12 s.
    np.testing.assert_allclose(ours_s - flows.start_s, theirs_s - flows.start_s, rtol=1e-6, atol=1e-11)


def test_simgrid_is_given_plain_max_min_sharing(simgrid, tmp_path):
    """Two of three flows out of one 400G NIC start late; by hand: 50 GB/s, then 25 each, then 50/3 each, and back."""
    fabric = undelayed_fabric("roft-256")
    source, target = np.array([0, 0, 0]), np.array([8, 16, 24])
    flows = FlowTable(source, target, np.full(3, 50e9), np.array([0.0, 0.5, 1.0]))
    write_inputs(tmp_path, fabric, flows, seed=0)
    theirs_s, _ = replayed(simgrid, tmp_path)
    # Of a NIC-second, 1/4, 3/4 and 1 are left at 1 s.
    np.testing.assert_allclose(theirs_s, [1.75, 2.75, 3.0], rtol=1e-9)


def test_events_are_distinct_moments():
    start_s, finish_s = np.array([0.0, 0.0, 1.0]), np.array([1.0, 2.0, 2.0 + 1e-12])
    assert event_count(start_s, finish_s) == 3
    assert event_count(start_s, finish_s, apart_s=0.0) == 4
