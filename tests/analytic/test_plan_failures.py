"""What failures take away, counted by hand, and slow-downs as the run of one failure gives them."""

from __future__ import annotations

import numpy as np
import pytest

from zcube.errors import InputError
from zcube.fabric.catalog import load_fabric
from zcube.network.degradation import degradation, intact_times_s
from zcube.plan.failures import failure_report, single_failures
from zcube.routing.catalog import routing_for


def route(fabric):
    return routing_for(fabric, fall_back="nvlink-relay")


def rows(report):
    return {(row.kind, row.like): row for row in report.rows}


@pytest.fixture(scope="module")
def zcube():
    return load_fabric("zcube-n16", changes={"gpus": 64, "gpus_per_switch": 8})


@pytest.fixture(scope="module")
def report(zcube):
    return failure_report(zcube, route, simulated=1, doubles=6)


def test_every_single_failure_is_judged(zcube, report):
    """ZCube(8,2): 16 switches, 128 NIC links and 64 between switches, 64 NICs."""
    count = {}
    for failure in single_failures(zcube):
        count[failure.kind] = count.get(failure.kind, 0) + 1
    assert count == {"switch": 16, "link": 192, "nic": 64}
    found = rows(report)
    assert sum(row.count for row in report.rows if row.kind != "two") == 16 + 192 + 64
    assert found["two", "drawn pairs"].count == found["two", "drawn pairs"].simulated == 6


def test_what_a_zcube_loses(report):
    """A switch takes one of 16 groups of NIC ports and one of 8 rows of links; nobody is cut off but by the loss of a NIC."""
    found = rows(report)
    for group in "AB":
        row = found["switch", f"{group} with 8 cables to GPUs and 8 to switches"]
        assert (row.cut_off_worst, row.cut_off_which) == (0, "")
        assert row.nic_lost_mean == row.nic_lost_worst == pytest.approx(1 / 16)
        assert row.trunk_lost_mean == pytest.approx(1 / 8)
        link = found["link", f"GPU to {group}, 200G"]
        assert (link.cut_off_worst, link.nic_lost_worst) == (0, pytest.approx(1 / 128))
    assert found["link", "A to B, 200G"].trunk_lost_worst == pytest.approx(1 / 64)
    nic = found["nic", "every NIC"]
    assert (nic.cut_off_mean, nic.cut_off_worst) == (1, 1)
    assert nic.nic_lost_worst == pytest.approx(1 / 64)


def test_a_leaf_cuts_off_its_gpus():
    fabric = load_fabric("roft-256")
    found = {row.like: row for row in failure_report(fabric, route, simulated=0, doubles=0).rows}
    leaf = next(row for like, row in found.items() if like.startswith("leaf with 32 cables to GPUs"))
    spine = next(row for like, row in found.items() if like.startswith("spine"))
    assert (leaf.count, leaf.cut_off_mean, leaf.nic_lost_mean) == (8, 32, pytest.approx(1 / 8))
    assert (spine.cut_off_worst, spine.nic_lost_worst) == (0, 0)
    assert spine.trunk_lost_worst == pytest.approx(1 / spine.count)
    assert all(row.slower_mean is None and row.simulated == 0 for row in found.values())


def test_slow_downs_are_those_of_the_failure_alone(zcube, report):
    row = rows(report)["switch", "A with 8 cables to GPUs and 8 to switches"]
    broken = load_fabric(f"zcube-n16@{row.slower_which}", changes={"gpus": 64, "gpus_per_switch": 8})
    assert row.slower_worst == pytest.approx(degradation(broken, route, report.partners, 0).slower)


def test_a_shared_run_gives_the_same_figures():
    broken = load_fabric("zcube-n16@switch:A3")
    before_s = intact_times_s(broken, route, 2, 5)
    assert degradation(broken, route, 2, 5, before_s=before_s) == degradation(broken, route, 2, 5)


def test_a_seed_draws_the_same_again(zcube, report):
    again = failure_report(zcube, route, simulated=1, doubles=6)
    assert again == report
    pairs = failure_report(zcube, route, simulated=0, doubles=6, seed=1)
    assert pairs.rows[:-1] != ()
    assert np.isclose(pairs.rows[0].nic_lost_mean, report.rows[0].nic_lost_mean)


def test_numbers_out_of_range_are_refused_at_once():
    broken = load_fabric("zcube-n16@switch:A3")
    with pytest.raises(InputError) as caught:
        failure_report(broken, route, simulated=-1, doubles=-1, partners=0)
    assert len(caught.value.faults) == 4
